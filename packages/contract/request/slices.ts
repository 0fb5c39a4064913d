/**
 * The slices of a step: pods that share its work, each with an index, as an Indexed Job of Kubernetes.
 *
 * The failure this prevents: a thousand runs, each with a row, a Job and a story of its own, for what is one piece of work.
 */
import { z } from "zod";
import { orExpression } from "../expressions/template.ts";

/** Their results fit into one fact, and Kubernetes needs no more than a page to list their pods. */
export const SLICES_MAX = 1000;
/** The items are an annotation of each pod, and all annotations together have 256 KiB. */
export const ITEM_BYTES_MAX = 64 * 1024;
/** Each try leaves a pod, and all pods of a Job are listed before it is called over. */
const RETRIES_MAX = 5;
/** Where a program finds the list. */
export const ITEMS_PATH = "/longshore/items.json";
export const PARALLELISM_DEFAULT = 10;

const Count = z.int().min(1).max(SLICES_MAX);
const Items = z.array(z.unknown()).max(SLICES_MAX);

const others = {
  parallelism: z
    .int()
    .min(1)
    .max(SLICES_MAX)
    .meta({
      description:
        "How many of them run at the same time at most. The step takes as many slots of its group as are free, up to this number, and at least one.",
      default: PARALLELISM_DEFAULT,
    })
    .optional(),
  retriesPerSlice: z
    .int()
    .min(0)
    .max(RETRIES_MAX)
    .meta({ description: "How often Kubernetes tries a slice again that failed, before the slice counts as failed.", default: 0 })
    .optional(),
  failedMax: z
    .int()
    .min(0)
    .max(SLICES_MAX)
    .meta({
      description: "How many slices may fail, and the step still succeeds. If one more fails, the others are ended.",
      default: 0,
    })
    .optional(),
};

export const Slices = z.strictObject({
  count: orExpression(Count, "a whole number").meta({ description: "How many slices there are." }).optional(),
  over: orExpression(Items, "a list")
    .meta({
      description:
        "A list, or one expression with such a value: one slice for each item. The program finds the list in the file that `LONGSHORE_ITEMS` names, and its item at the index `LONGSHORE_SLICE`.",
    })
    .optional(),
  ...others,
});
export type Slices = z.infer<typeof Slices>;

/** With the values of its expressions. */
export const RenderedSlices = z.strictObject({ count: Count.optional(), over: Items.optional(), ...others });
export type RenderedSlices = z.infer<typeof RenderedSlices>;

/** Returns the number of slices; `undefined` while an expression stands in its place. */
export const countOf = ({ count, over }: Slices): number | undefined =>
  Array.isArray(over) ? over.length : typeof count === "number" ? count : undefined;

type Problem = readonly [path: string, message: string];

/** Problems between the fields of a step with slices. */
export function slicesProblems(
  { slices, outputs }: { readonly slices?: Slices | undefined; readonly outputs?: unknown },
  at: string,
): readonly Problem[] {
  if (slices === undefined) return [];
  const said = [slices.count, slices.over].filter((it) => it !== undefined).length;
  const annotations = typeof outputs === "object" && outputs !== null && Object.hasOwn(outputs, "annotations");
  return [
    ...(said === 1 ? [] : [[`${at}/slices`, ONE_OF] as const]),
    ...(failsNever(slices)
      ? [[`${at}/slices/failedMax`, "Not all slices may fail: the step would succeed whatever happens."] as const]
      : []),
    ...(annotations
      ? [[`${at}/outputs/annotations`, "A slice's outputs come from its message: annotations are not read."] as const]
      : []),
  ];
}

const ONE_OF = "A step has as many slices as `count` says, or one for each item of `over`: exactly one of the two is needed.";

/** The number of a list that an expression makes is not known: `failedMax` may be greater then. */
const failsNever = (slices: Slices): boolean => (slices.failedMax ?? 0) >= Math.max(1, countOf(slices) ?? SLICES_MAX + 1);

// ── Indexes, as Kubernetes writes them: "0,2,5-9" ────────────────────────────────────────────────────────────────────

/** Reads them without trust: at most `SLICES_MAX`, whatever the text says. */
export function indexesIn(text: string): readonly number[] {
  const found: number[] = [];
  for (const part of text.split(",")) {
    const [, first, last = first] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part.trim()) ?? [];
    if (first === undefined) continue;
    for (let at = Number(first); at <= Number(last) && found.length < SLICES_MAX; at++) found.push(at);
  }
  return found;
}
