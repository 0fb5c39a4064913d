/**
 * The part of a step's Job that makes it an Indexed Job, and the part of its pods by which a program knows its slice.
 *
 * The bug this prevents: a slice that fails and ends the whole Job, or is counted twice, because the Job retries as a whole.
 */
import { countOf, type RenderedSlices } from "@longshore/contract/request/slices.ts";
import { COMPLETION_INDEX, ANNOTATIONS } from "../run/marks.ts";

/** Each index has its own retries, so the Job as a whole has no limit. */
export interface IndexedSpec {
  readonly parallelism: number;
  readonly completions: number;
  readonly completionMode: "Indexed";
  readonly backoffLimitPerIndex: number;
  readonly maxFailedIndexes: number;
}

export function indexedSpec(slices: RenderedSlices, slots: number): IndexedSpec {
  const completions = countOf(slices) ?? 0;
  return {
    parallelism: Math.min(slots, Math.max(1, completions)),
    completions,
    completionMode: "Indexed",
    backoffLimitPerIndex: slices.retriesPerSlice ?? 0,
    maxFailedIndexes: Math.min(slices.failedMax ?? 0, completions),
  };
}

const ITEMS = { volume: "longshore-items", folder: "/longshore", file: "items.json" } as const;

/** What a program of a slice finds: its index, the number of slices, and the items. */
export function envOfSlice(slices: RenderedSlices | undefined): readonly SliceVariable[] {
  if (slices === undefined) return [];
  return [
    { name: "LONGSHORE_SLICE", valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${COMPLETION_INDEX}']` } } },
    { name: "LONGSHORE_SLICES", value: String(countOf(slices) ?? 0) },
    ...(slices.over === undefined ? [] : [{ name: "LONGSHORE_ITEMS", value: `${ITEMS.folder}/${ITEMS.file}` }]),
  ];
}

type SliceVariable =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly valueFrom: { readonly fieldRef: { readonly fieldPath: string } } };

export const itemsAnnotation = ({ over }: RenderedSlices = {}): Readonly<Record<string, string>> =>
  over === undefined ? {} : { [ANNOTATIONS.items]: JSON.stringify(over) };

/** The items are an annotation of the pod that is mounted as a file: no object has to be made for them, and none is left. */
export const itemsMounted = ({ over }: RenderedSlices = {}) =>
  over === undefined
    ? []
    : [
        {
          volume: {
            name: ITEMS.volume,
            downwardAPI: {
              items: [{ path: ITEMS.file, fieldRef: { fieldPath: `metadata.annotations['${ANNOTATIONS.items}']` } }],
            },
          },
          mount: { name: ITEMS.volume, mountPath: ITEMS.folder, readOnly: true as const },
        },
      ];
