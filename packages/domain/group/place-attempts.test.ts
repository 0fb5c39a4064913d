/** Many attempts placed at once: each sees the slots, the room and the line that the ones before it left. */
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName, RunId } from "@longshore/contract/ids.ts";
import t from "tap";
import {
  at, CLAIM, group as east, elsewhere as west, HOUR, input, main, MINUTE, NOW, planOf, played, runOf, SECOND, step, toAttempt, toStep,
} from "../attempt/testing/examples.ts"; // biome-ignore format: a list of names
import type { Attempt, RunRecord } from "../run/record.ts";
import { type Group, UNSERVED_MS } from "./group.ts";
import { type Claiming, placeAttempts } from "./place-attempts.ts";

const taking = (jobs: number, createsPerSecond?: number): Pick<Group, "settings"> => ({
  settings: GroupSettings.parse({ limits: { jobs, ...(createsPerSecond !== undefined && { createsPerSecond }) } }),
});
const open = (name: GroupName, more: Partial<Group> = {}): Group => ({
  name, namespace: "jobs", ...taking(10), slotsUsed: 0, paused: false, health: "healthy", everHealthy: true, servedAtMs: NOW, ...more,
}); // biome-ignore format: a value read as one

const simple = (limits: object = {}): RunRecord => runOf(planOf([step("main")], limits, true));
/**
 * A run whose first attempt's Job did not start and was deleted. The attempt is not released yet, and a retry waits for that.
 */
const retried = (limits: object = {}): RunRecord =>
  played(simple(limits), [
    ...toStep("main", input.placed, input.claimDue, input.created),
    ...toStep("main", input.stalled, input.startExpired, { ...input.lookedDeleted, evidence: { started: "no" } }),
  ]).record;

interface Case {
  readonly name: string;
  readonly runs: readonly RunRecord[];
  readonly groups: readonly Group[];
  readonly n?: number;
  readonly nowMs?: number;
  readonly claim?: Claiming["room"];
  /** True if another transaction has locked run 0. */
  readonly firstIsLocked?: boolean;
  /** The state and the group of each run's newest attempt. */
  readonly want: readonly string[];
  readonly placed?: number;
  readonly told?: number;
  readonly dueInMs?: number;
}

const three = [simple(), simple(), simple()];

const cases: readonly Case[] = [
  {
    name: "the last slot is given once, and the next attempts go to the next group",
    runs: three,
    groups: [open(east, taking(1)), open(west)],
    want: ["ready prod-a", "ready prod-b", "ready prod-b"],
    placed: 3,
  },
  {
    name: "an attempt that finds no group is told why, and placed again later",
    runs: three,
    groups: [open(east, taking(2))],
    want: ["ready prod-a", "ready prod-a", "waiting"],
    placed: 2,
    told: 1,
    dueInMs: MINUTE,
  },
  {
    name: "as many are claimed as there is room for, in order",
    runs: three,
    groups: [open(east)],
    claim: new Map([[east, 2]]),
    want: ["claimed prod-a", "claimed prod-a", "ready prod-a"],
    placed: 3,
  },
  {
    name: "a group's line is as long as its pace allows",
    runs: three,
    groups: [open(east, { ...taking(10, 0.4), inLine: 1 })],
    want: ["ready prod-a", "waiting", "waiting"],
    placed: 1,
    told: 2,
  },
  {
    name: "what is claimed at once stands in no line",
    runs: three,
    groups: [open(east, { ...taking(10, 0.4), inLine: 1 })],
    claim: new Map([[east, 3]]),
    want: ["claimed prod-a", "claimed prod-a", "claimed prod-a"],
    placed: 3,
  },
  {
    name: "a run that another transaction holds is left for the next time",
    runs: three,
    groups: [open(east, taking(1))],
    firstIsLocked: true,
    want: ["waiting", "ready prod-a", "waiting"],
    placed: 1,
    told: 1,
  },
  {
    name: "an attempt in the line of a group that was paused waits again: nothing of it was sent",
    runs: [played(simple(), toStep("main", input.placed)).record],
    groups: [open(east, { paused: true })],
    want: ["waiting"],
    told: 1,
    dueInMs: 0,
  },
  {
    name: "an attempt in the line of a group that nobody serves any more waits again",
    runs: [played(simple(), toStep("main", input.placed)).record],
    groups: [open(east, { servedAtMs: NOW - UNSERVED_MS })],
    want: ["waiting"],
    told: 1,
  },
  {
    name: "an attempt in the line of a group that is well stays there",
    runs: [played(simple(), toStep("main", input.placed)).record],
    groups: [open(east), open(west)],
    want: ["ready prod-a"],
  },
  {
    name: "a retry is not placed while the attempt before it is not done, and is looked at again soon",
    runs: [retried()],
    groups: [open(east), open(west)],
    n: 2,
    nowMs: NOW + 10 * SECOND,
    want: ["waiting"],
    dueInMs: 30 * SECOND,
  },
  {
    name: "a retry waits for the attempt before it no longer than waitFor",
    runs: [retried({ waitForMs: HOUR })],
    groups: [open(east), open(west)],
    n: 2,
    nowMs: NOW + 10 * SECOND + HOUR,
    want: ["done"],
    told: 1,
  },
  {
    name: "a retry is placed once the attempt before it is done, in another group",
    runs: [played(retried(), toAttempt("main", 1, input.released)).record],
    groups: [open(east), open(west)],
    n: 2,
    nowMs: NOW + 10 * SECOND,
    want: ["ready prod-b"],
    placed: 1,
  },
  {
    name: "an attempt whose time has not come is left alone",
    runs: [played(retried(), toAttempt("main", 1, input.released)).record],
    groups: [open(east)],
    n: 2,
    want: ["waiting"],
    dueInMs: 10 * SECOND,
  },
];

for (const { name, runs, groups, n = 1, nowMs = NOW, claim, firstIsLocked = false, want, placed = 0, told = 0, dueInMs } of cases)
  t.test(name, async (t) => {
    const ids = runs.map((_, index) => RunId.parse(`run/${index}`));
    const records = new Map(runs.flatMap((record, index) => {
      const id = ids[index];
      return id === undefined || (firstIsLocked && index === 0) ? [] : [[id, record] as const];
    })); // biome-ignore format: a table read as one
    const candidates = ids.map((run) => ({ run, step: main, n }));
    const placer = { serves: new Set<GroupName>(), quiet: new Map<GroupName, string>(), placeAgainMs: MINUTE };
    const claiming = claim && { by: "me", forMs: CLAIM, room: claim };
    const done = placeAttempts(candidates, records, groups, placer, { ...at, nowMs }, claiming);
    const after = ids.map((id, index): Attempt | undefined => (done.changes.get(id)?.after ?? runs[index])?.attempts.at(-1));
    t.same(
      after.map((it) => [it?.state, it?.group].filter((word) => word !== undefined).join(" ")),
      want,
    );
    t.match(done, { placed, told });
    t.equal(done.claimed.length, want.filter((it) => it.startsWith("claimed")).length);
    if (dueInMs !== undefined) t.equal((after.at(-1)?.dueMs ?? 0) - nowMs, dueInMs);
  });
