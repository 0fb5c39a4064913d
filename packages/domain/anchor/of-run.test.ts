/** A run's anchors, as inputs to the run move them. */
import t from "tap";
import { advance } from "../run/advance.ts";
import { at, ends, HOUR, launched, NOW, planOf, played, runOf, step } from "../attempt/testing/examples.ts";
import type { RunRecord } from "../run/record.ts";
import type { AnchorInput } from "./lifecycle.ts";

const withVolumes = (...steps: readonly string[]): RunRecord =>
  runOf({
    ...planOf(steps.map((name) => step(name))),
    storage: { claims: [], classes: [""], anchor: { bytes: 2 ** 30, keepSucceededMs: 0, keepFailedMs: HOUR } },
  });

const told = (record: RunRecord, number: number, of: AnchorInput): RunRecord =>
  advance(record, { kind: "anchor", number, input: of }, at).record;

t.test("a run that ended under a launcher that knew no anchors keeps its volumes from when that is seen", async (t) => {
  const { record } = played(withVolumes("only"), [...launched("only"), ...ends("only", "failed")]);
  const untold = { ...record, anchors: (record.anchors ?? []).map((it) => ({ ...it, state: "standing" as const })) };
  t.match(told(untold, 1, { kind: "due" }).anchors, [{ state: "kept", dueMs: NOW + HOUR }]);
  t.match(told(record, 1, { kind: "due" }).anchors, [{ state: "sweeping" }], "its time is over");
});
