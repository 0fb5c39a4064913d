/** Whose log `runs logs` prints. */
import { COMPLETION_INDEX } from "../run/marks.ts";
import { pod } from "./testing/fixtures.ts";
import t from "tap";
import { podToPrint } from "./pod-to-print.ts";

const of = (name: string, second: number, phase: string, index?: number) =>
  pod({
    metadata: {
      name,
      uid: `uid-${name}`,
      creationTimestamp: `2026-03-01T10:00:0${second}Z`,
      ...(index !== undefined && { annotations: { [COMPLETION_INDEX]: String(index) } }),
    },
    status: { phase },
  });

const slices = [
  of("zero", 1, "Succeeded", 0),
  of("two-again", 5, "Failed", 2),
  of("one", 2, "Failed", 1),
  of("one-again", 4, "Failed", 1),
  of("two", 3, "Failed", 2),
];

t.equal(podToPrint(slices, undefined)?.name, "one-again", "the last try of the first slice that failed");
t.equal(podToPrint(slices, 2)?.name, "two-again", "the last try of the slice that was asked for");
t.equal(podToPrint(slices, 0)?.name, "zero");
t.equal(podToPrint(slices, 7), undefined, "no pod of that slice is there");
t.equal(podToPrint([of("a", 1, "Failed"), of("b", 2, "Running")], undefined)?.name, "b", "without slices: the newest");
