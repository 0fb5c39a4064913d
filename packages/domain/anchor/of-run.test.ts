/** A run's anchors, as inputs to the run move them. */
import t from "tap";
import { advance } from "../run/advance.ts";
import { GroupName } from "@longshore/contract/ids.ts";
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import {
  at, ends, HOUR, input, launched, MINUTE, NOW, planOf, played, runOf, step, toStep,
} from "../attempt/testing/examples.ts"; // biome-ignore format: a list of names
import { judgeAttempt } from "../group/choose-group.ts";
import type { RunRecord } from "../run/record.ts";
import type { AnchorInput } from "./lifecycle.ts";

const withVolumes = (...steps: readonly string[]): RunRecord =>
  runOf({
    ...planOf(steps.map((name) => step(name))),
    storage: { claims: [], classes: [""], anchor: { bytes: 2 ** 30, keepSucceededMs: 0, keepFailedMs: HOUR } },
  });

const open = {
  namespace: "jobs", settings: GroupSettings.parse({}), slotsUsed: 0, paused: false, health: "healthy" as const, everHealthy: true, servedAtMs: NOW,
}; // biome-ignore format: a value read as one
const placer = { serves: new Set<GroupName>(), quiet: new Map<GroupName, string>(), placeAgainMs: MINUTE };

const told = (record: RunRecord, number: number, of: AnchorInput): RunRecord =>
  advance(record, { kind: "anchor", number, input: of }, at).record;

t.test("volumes that found no room are tried in another group next, and there again if that has none either", async (t) => {
  const groups = ["prod-a", "prod-b"].map((name) => ({ ...open, name: GroupName.parse(name) }));
  let record = withVolumes("left", "right");
  const went: (string | undefined)[] = [];
  for (let number = 1; number <= 3; number++) {
    for (const name of ["right", "left"]) {
      const attempt = record.attempts.find(({ step: of }) => of === name);
      const found = attempt && judgeAttempt(attempt, record, groups, placer, NOW);
      if (found?.kind !== "placed") throw new TypeError("each group takes it, as far as is known");
      record = played(record, toStep(name, found)).record;
    }
    went.push(...record.attempts.map(({ group }) => group));
    record = played(record, toStep("left", input.claimDue, { ...input.deferred, claimNo: number, retryAtMs: NOW })).record;
    record = told(record, number, { kind: "noRoom" });
    t.match(record.attempts, [{ state: "waiting" }, { state: "waiting" }]);
  }
  t.same(went, ["prod-a", "prod-a", "prod-b", "prod-b", "prod-a", "prod-a"]);
});

t.test("a run that ended under a launcher that knew no anchors keeps its volumes from when that is seen", async (t) => {
  const { record } = played(withVolumes("only"), [...launched("only"), ...ends("only", "failed")]);
  const untold = { ...record, anchors: (record.anchors ?? []).map((it) => ({ ...it, state: "standing" as const })) };
  t.match(told(untold, 1, { kind: "due" }).anchors, [{ state: "kept", dueMs: NOW + HOUR }]);
  t.match(told(record, 1, { kind: "due" }).anchors, [{ state: "sweeping" }], "its time is over");
});
