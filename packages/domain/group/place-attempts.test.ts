/** Many attempts placed at once: each sees the slots, the room and the line that the ones before it left. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { RunId, Uid } from "@longshore/contract/ids.ts";
import t from "tap";
import {
  at, CLAIM, group as east, elsewhere as west, HOUR, input, main, MINUTE, NOW, played, SECOND, toAttempt, toStep,
} from "../attempt/testing/examples.ts"; // biome-ignore format: a list of names
import type { AttemptInput } from "../attempt/input.ts";
import type { Attempt, RunRecord } from "../run/record.ts";
import { type Group, UNSERVED_MS } from "./group.ts";
import { type Claiming, lineOf, placeAttempts } from "./place-attempts.ts";
import { open, placer, simple, taking } from "./testing/placing.ts";

/**
 * A run whose first attempt's Job did not start and was deleted. The attempt is not released yet, and a retry waits for that.
 */
const retried = (limits: object = {}): RunRecord =>
  played(simple(limits), [
    ...toStep("main", input.placed, input.claimDue, input.created),
    ...toStep("main", input.stalled, input.startExpired, { ...input.lookedDeleted, evidence: { started: "no" } }),
  ]).record;

const one = Uid.parse("uid-1");
const two = Uid.parse("uid-2");
const looked = { ...input.kept, uid: one };
const vanished = { ...input.deleting, uid: one, vanished: true } as const;
const retries = { retriesMax: 5, retriesOn: ["failure" as const] };
/** A run whose first attempt failed while a create of it may still land. */
const unanswered = (...more: readonly AttemptInput[]): RunRecord =>
  played(simple(retries), toStep("main", input.placed, input.claimDue, { ...input.failed, uid: one }, ...more)).record;
/** The same run, whose first attempt was parked, so that its second attempt ran and failed. */
const failedTwice = (...more: readonly AttemptInput[]): RunRecord =>
  played(unanswered(looked), [
    ...toAttempt("main", 2, input.placed, input.claimDue, { ...input.created, uid: two }, { ...input.failed, uid: two }, input.released),
    ...toStep("main", ...more),
  ]).record; // biome-ignore format: a list of inputs

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
    dueInMs: 10 * SECOND,
  },
  {
    name: "a retry that waits for the attempt before it longer than its backoff and a moment is told why",
    runs: [retried()],
    groups: [open(east), open(west)],
    n: 2,
    nowMs: NOW + 20 * SECOND,
    want: ["waiting"],
    told: 1,
    dueInMs: 30 * SECOND,
  },
  {
    name: "a retry is placed once the attempt before it is parked, though a create of that one may still land",
    runs: [unanswered(looked)],
    groups: [open(east), open(west)],
    n: 2,
    nowMs: NOW + 10 * SECOND,
    want: ["ready prod-b"],
    placed: 1,
  },
  {
    name: "a retry is not placed while the name of the attempt before it is in doubt",
    runs: [unanswered(), unanswered(looked, vanished)],
    groups: [open(east), open(west)],
    n: 2,
    nowMs: NOW + 10 * SECOND,
    want: ["waiting", "waiting"],
  },
  {
    name: "a retry is not placed while the attempt before it is parked in a group that moved",
    runs: [unanswered(looked)],
    groups: [open(east, { health: "unhealthy", diagnosis: diagnose("GroupMoved", "Another cluster answers.") }), open(west)],
    n: 2,
    nowMs: NOW + 10 * SECOND,
    want: ["waiting"],
  },
  {
    name: "a retry waits for all attempts before it: the last one is done, and a create of an earlier one may land",
    runs: [failedTwice(), failedTwice(vanished)],
    groups: [open(east)],
    n: 3,
    nowMs: NOW + 20 * SECOND,
    want: ["ready prod-a", "waiting"],
    placed: 1,
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
    const lines = [lineOf("due", ids.map((run, accepted) => ({ run, step: main, n, priority: 0, accepted })), 100)]; // biome-ignore format: one call
    const claiming = claim && { by: "me", forMs: CLAIM, room: claim };
    const done = placeAttempts({ lines, records, groups, entering: new Set(), placer, most: 100, claiming }, { ...at, nowMs });
    const after = ids.map((id, index): Attempt | undefined => (done.changes.get(id)?.after ?? runs[index])?.attempts.at(-1));
    t.same(
      after.map((it) => [it?.state, it?.group].filter((word) => word !== undefined).join(" ")),
      want,
    );
    t.match(done, { placed, told });
    t.equal(done.claimed.length, want.filter((it) => it.startsWith("claimed")).length);
    if (dueInMs !== undefined) t.equal((after.at(-1)?.dueMs ?? 0) - nowMs, dueInMs);
  });
