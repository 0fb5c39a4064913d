/**
 * The part of a step's Job that makes it an Indexed Job, and the part of its pods by which a program knows its slice.
 *
 * The bug this prevents: a slice that fails and ends the whole Job, or is counted twice, because the Job retries as a whole.
 */
import type { RenderedStep } from "@longshore/contract/request/request.ts";
import { countOf, ITEMS_PATH, type RenderedSlices } from "@longshore/contract/request/slices.ts";
import { COMPLETION_INDEX } from "../run/marks.ts";

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

/** The variables by which a slice's program knows its index, the number of slices, and the file with the items. */
export function envOfSlice(slices: RenderedSlices | undefined): readonly SliceVariable[] {
  if (slices === undefined) return [];
  return [
    { name: "LONGSHORE_SLICE", valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${COMPLETION_INDEX}']` } } },
    { name: "LONGSHORE_SLICES", value: String(countOf(slices) ?? 0) },
    ...(slices.over === undefined ? [] : [{ name: "LONGSHORE_ITEMS", value: ITEMS_PATH }]),
  ];
}

type SliceVariable =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly valueFrom: { readonly fieldRef: { readonly fieldPath: string } } };

/** The items are one more file of the step. */
export const withItems = (step: RenderedStep): RenderedStep =>
  step.slices?.over === undefined
    ? step
    : {
        ...step,
        files: [...(step.files ?? []), { path: ITEMS_PATH, content: JSON.stringify(step.slices.over), isLarge: false }],
      };
