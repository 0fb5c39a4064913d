/** Many attempts placed at once: each sees the slots, the room and the line that the ones before it left. */
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupName, RunId, Uid } from "@longshore/contract/ids.ts";
import t from "tap";
import {
  at, CLAIM, group as east, elsewhere as west, HOUR, input, main, MINUTE, NOW, planOf, played, runOf, SECOND, step, toAttempt, toStep,
} from "../attempt/testing/examples.ts"; // biome-ignore format: a list of names
import type { AttemptInput } from "../attempt/input.ts";
import type { Attempt, RunRecord } from "../run/record.ts";
import { type Group, UNSERVED_MS } from "./group.ts";
import { type Claiming, type Line, lineOf, mostFor, openingsOf, placeAttempts } from "./place-attempts.ts";

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

const placer = { serves: new Set<GroupName>(), quiet: new Map<GroupName, string>(), placeAgainMs: MINUTE };

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

// ── Whose turn it is ─────────────────────────────────────────────────────────────────────────────────────────────────

interface Waiting {
  readonly run: string;
  readonly priority?: number;
  /** The groups in which the attempt waits for room; absent: it was not judged yet. */
  readonly waitsFor?: readonly GroupName[];
  readonly wants?: readonly GroupName[];
  readonly dueInMs?: number;
}

interface Turn {
  readonly name: string;
  /** In the order in which they were accepted. */
  readonly waiting: readonly Waiting[];
  /** The runs in each line, in any order; `most`: no more than this many were read. */
  readonly lines: readonly { readonly of: Line["of"]; readonly runs: readonly string[]; readonly most?: number }[];
  readonly groups: readonly Group[];
  readonly most?: number;
  readonly want: readonly string[];
  readonly more?: boolean;
  /** Runs about which nothing is written. */
  readonly untouched?: readonly string[];
}

const LATER = 4 * SECOND;

const turns: readonly Turn[] = [
  {
    name: "who waits for room is placed before who is due and less urgent, long before its timer",
    waiting: [{ run: "due", priority: 5 }, { run: "urgent", priority: 9, waitsFor: [east], dueInMs: LATER }],
    lines: [{ of: "due", runs: ["due"] }, { of: [east], runs: ["urgent"] }],
    groups: [open(east, taking(1))],
    want: ["urgent"],
  },
  {
    name: "of the same priority the run that was accepted first is placed, not the one that is due first",
    waiting: [{ run: "first", waitsFor: [east], dueInMs: LATER }, { run: "second", dueInMs: -HOUR }],
    lines: [{ of: "fresh", runs: ["second"] }, { of: [east], runs: ["first"] }],
    groups: [open(east, taking(1))],
    want: ["first"],
  },
  {
    name: "who comes after the last one that was read takes nothing that one of those not read could take",
    waiting: [
      { run: "a", priority: 9, waitsFor: [east, west], wants: [west] },
      { run: "unread", priority: 9, waitsFor: [east, west] },
      { run: "low", waitsFor: [east] },
    ],
    lines: [{ of: [east, west], runs: ["a"], most: 1 }, { of: [east], runs: ["low"], most: 1 }],
    groups: [open(east, taking(1)), open(west, taking(1))],
    want: ["a"],
    untouched: ["low"],
    more: true,
  },
  {
    name: "what those not read cannot take goes to the next one",
    waiting: [
      { run: "a", priority: 9, waitsFor: [west], wants: [west] },
      { run: "unread", priority: 9, waitsFor: [west], wants: [west] },
      { run: "low", waitsFor: [east] },
    ],
    lines: [{ of: [west], runs: ["a"], most: 1 }, { of: [east], runs: ["low"], most: 2 }],
    groups: [open(east, taking(2)), open(west, taking(1))],
    want: ["a", "low"],
    more: false,
  },
  {
    name: "any group may be for those who were not judged yet and not read",
    waiting: [{ run: "a", priority: 5, wants: [west] }, { run: "unread", priority: 5 }, { run: "low", waitsFor: [east] }],
    lines: [{ of: "fresh", runs: ["a"], most: 1 }, { of: [east], runs: ["low"] }],
    groups: [open(east, taking(1)), open(west, taking(1))],
    want: ["a"],
    untouched: ["low"],
    more: true,
  },
  {
    name: "those who are only to be judged again stop nobody",
    waiting: [{ run: "a", priority: 5, waitsFor: [west], wants: [west] }, { run: "low", waitsFor: [east] }],
    lines: [{ of: "due", runs: ["a"], most: 1 }, { of: [east], runs: ["low"] }],
    groups: [open(east, taking(1)), open(west, { ...taking(1), slotsUsed: 1 })],
    want: ["low"],
    more: true,
  },
  {
    name: "who is in two lines is placed once",
    waiting: [{ run: "a", waitsFor: [east] }, { run: "b", waitsFor: [east] }],
    lines: [{ of: "due", runs: ["a", "b"] }, { of: [east], runs: ["b", "a"] }],
    groups: [open(east, taking(5))],
    want: ["a", "b"],
    more: false,
  },
  {
    name: "no more are placed than were asked for",
    waiting: [{ run: "a" }, { run: "b" }, { run: "c" }],
    lines: [{ of: "fresh", runs: ["a", "b", "c"] }],
    groups: [open(east)],
    most: 2,
    want: ["a", "b"],
    untouched: ["c"],
    more: true,
  },
]; // biome-ignore format: a table

for (const { name, waiting, lines, groups, most = 100, want, more, untouched = [] } of turns)
  t.test(name, (t) => {
    const records = new Map(
      waiting.map(({ run, priority = 0, waitsFor, wants, dueInMs = 0 }) => {
        const { run: of, attempts } = runOf({ ...planOf([step("main")], {}, true), groups: wants });
        const changed = attempts.map((it): Attempt => ({ ...it, priority, waitsFor, dueMs: NOW + dueInMs }));
        return [RunId.parse(run), { run: of, attempts: changed }];
      }),
    );
    const read = lines.map(({ of, runs, most = 100 }) => {
      const candidates = waiting.flatMap(({ run, priority = 0 }, accepted) =>
        runs.includes(run) ? [{ run: RunId.parse(run), step: main, n: 1, priority, accepted }] : [],
      );
      return lineOf(of, candidates, most);
    });
    const done = placeAttempts({ lines: read, records, groups, entering: new Set(), placer, most, claiming: undefined }, at);
    const states = [...done.changes].map(([run, { after }]) => [run, after.attempts.at(-1)?.state]);
    t.same(states.flatMap(([run, state]) => (state === "ready" ? [run] : [])), want); // biome-ignore format: one call
    if (more !== undefined) t.equal(done.more, more);
    for (const run of untouched) t.notOk(done.changes.has(RunId.parse(run)), `${run} is left for the next turn`);
    t.end();
  });

t.test("an attempt waits for the groups that lack only room; asked again in vain, it is left as it is", (t) => {
  const third = GroupName.parse("prod-c");
  const groups = [
    open(west, { ...taking(1), slotsUsed: 1 }),
    open(third, { paused: true }),
    open(east, { ...taking(1), slotsUsed: 1 }),
  ];
  const run = RunId.parse("run");
  const candidate = { run, step: main, n: 1, priority: 0, accepted: 1 };
  const ask = (record: RunRecord) =>
    placeAttempts({ lines: [lineOf([east], [candidate], 5)], records: new Map([[run, record]]), groups, entering: new Set(), placer, most: 5, claiming: undefined }, at); // biome-ignore format: one call
  const after = ask(simple()).changes.get(run)?.after;
  t.match(after?.attempts, [{ state: "waiting", waitsFor: [east, west], notes: { waiting: "GroupsFull" } }]);
  t.equal(after && ask(after).changes.size, 0);
  t.end();
});

t.test("of those who wait for a group no more are read than it has free slots", (t) => {
  const groups = [open(east, { ...taking(5), slotsUsed: 2 }), open(west, { paused: true })];
  const openings = openingsOf(groups, placer, NOW);
  t.equal(mostFor([east, west], openings, 100), 3);
  t.equal(mostFor([east], openings, 2), 2);
  t.equal(mostFor([west], openings, 100), 0);
  t.end();
});

const withSlices = (parallelism: number, count?: number, more: object = {}): RunRecord =>
  runOf({
    ...planOf([step("main", [], { slices: { parallelism, failedMax: 0, ...(count !== undefined && { count }) } })]),
    ...more,
  });
const slotsOf = (records: readonly RunRecord[]) => records.map(({ attempts: [it] }) => `${it?.state} ${it?.slots ?? 1}`);

t.test(
  "a step with slices takes the slots that are free, never more than it has slices, and later runs what is left",
  async (t) => {
    const room = [open(east, { ...taking(10), slotsUsed: 3 })];
    t.same(slotsOf(placedWith([withSlices(4), simple(), withSlices(4)], room)), ["ready 4", "ready 1", "ready 2"]);
    t.same(slotsOf(placedWith([withSlices(9, 2), withSlices(20)], room)), ["ready 2", "ready 5"]);
    t.same(slotsOf(placedWith([withSlices(20), simple()], room)), ["ready 7", "waiting 1"]);
    const restarted = { withParameters: { files: [] } };
    t.same(slotsOf(placedWith([withSlices(6, 2, restarted)], room)), ["ready 6"], "other parameters may make more slices");
  },
);

const GIB = 2 ** 30;
const withVolumes = (bytes = GIB): RunRecord =>
  runOf({
    ...planOf([step("first"), step("second")]),
    storage: { claims: [], classes: [""], anchor: { bytes, keepSucceededMs: 0, keepFailedMs: HOUR } },
  });

/** Places these attempts of runs with volumes, one after the other. */
function placedWith(records: readonly RunRecord[], groups: readonly Group[], entering: readonly RunId[] = []) {
  const named = records.map((record, at) => [RunId.parse(`run-${at}`), record] as const);
  const candidates = named.flatMap(([run, { attempts }], accepted) =>
    attempts.map(({ step: of, n }) => ({ run, step: of, n, priority: 0, accepted })),
  );
  const lines = [lineOf("fresh", candidates, 100)];
  const placing = {
    lines,
    records: new Map(named),
    groups,
    entering: new Set(entering),
    placer,
    most: 100,
    claiming: undefined,
  };
  const { changes } = placeAttempts(placing, at);
  return named.map(([run, record]) => changes.get(run)?.after ?? record);
}

t.test("a run with volumes stays in the group that has them, and says so", async (t) => {
  const [placed] = placedWith([withVolumes()], [open(east, taking(1)), open(west)]);
  t.match(placed?.anchors, [{ number: 1, state: "making", group: east, bytes: GIB }]);
  const [first, second] = placed?.attempts ?? [];
  t.match(first, { state: "ready", group: east, notes: { anchor: 1 } });
  const why = "It is full: 1 of 1 Jobs. The run's volumes are there.";
  t.match(second, { state: "waiting", notes: { waiting: "GroupsFull", considered: [{ group: east, verdict: "skipped", why }] } });
});

t.test("a run leaves the group of its volumes for another one as long as they are not there", async (t) => {
  const groups = [open(east, { paused: true }), open(west)];
  const [made] = placedWith([withVolumes()], [open(east)]);
  if (made === undefined) throw new TypeError("the run is there");
  const taken = (name: string) => toStep(name, { ...input.noPlace, retryAtMs: NOW });
  const withdrawn = played(made, [...taken("first"), ...taken("second")]).record;
  const [gone] = placedWith([withdrawn], groups);
  t.match(gone?.attempts, [{ state: "ready", group: west, notes: { anchor: 2 } }, { state: "ready", group: west, notes: { anchor: 2 } }]); // biome-ignore format: one line
  t.match(gone?.anchors, [{ number: 1, state: "sweeping", group: east }, { number: 2, state: "making", group: west }]); // biome-ignore format: one line

  const stays = { attempts: [{ state: "waiting" }, {}], anchors: [{ number: 1, group: east }] };
  const [nowhere] = placedWith([withdrawn], [open(east, { paused: true }), open(west, { paused: true })]);
  t.match(nowhere, stays, "no other group takes it either");
  const [placed] = placedWith([played(made, taken("first")).record], groups);
  t.match(placed, stays, "a create of the other step may be under way");
  const standing = { ...withdrawn, anchors: (withdrawn.anchors ?? []).map((it) => ({ ...it, state: "standing" as const })) };
  t.match(placedWith([standing], groups)[0], stays, "its volumes are there");
});

t.test("a run that is let in by its concurrency key keeps its volumes", async (t) => {
  const made = placedWith([withVolumes()], [open(east, taking(9))])[0];
  if (made === undefined) throw new TypeError("the run is there");
  const concurrency = { key: "one", limit: 1, then: "queue" } as const;
  const [third] = runOf(planOf([step("third")])).attempts;
  const waiting = { ...made, run: { ...made.run, plan: { ...made.run.plan, concurrency } }, attempts: third ? [third] : [] };
  const [entered] = placedWith([waiting], [open(west), open(east, taking(9))], [made.run.id]);
  t.match(entered?.attempts, [{ state: "ready", group: east, notes: { anchor: 1, letIn: true } }]);
  t.match(entered?.anchors, [{ number: 1, state: "making", group: east }]);
});

t.test("storage is booked with each placement, once for all steps of a run, and what ended runs keep is named", async (t) => {
  const limited = { settings: GroupSettings.parse({ limits: { jobs: 10, storage: "3Gi" } }) };
  const storage = { usedBytes: GIB, keptBytes: GIB, keptUntilMs: NOW + HOUR };
  const after = placedWith([withVolumes(), withVolumes(), withVolumes()], [open(east, { ...limited, storage })]);
  t.same(after.map(({ attempts }) => attempts.map(({ state }) => state).join()), ["ready,ready", "ready,ready", "waiting,waiting"]); // biome-ignore format: one line
  const { waiting, considered } = after[2]?.attempts[0]?.notes ?? {};
  t.equal(waiting, "StorageFull");
  t.match(
    considered?.[0]?.why,
    /Its storage is full: 3Gi of 3Gi, and 1Gi are wanted. Ended runs keep 1Gi of it, the first of them until /,
  );
});

t.test("volumes that are larger than the group allows go to another group, or fail at once", async (t) => {
  const small = { settings: GroupSettings.parse({ limits: { jobs: 10, storage: "3Gi" } }) };
  const [elsewhere] = placedWith([withVolumes(4 * GIB)], [open(east, small), open(west)]);
  t.match(elsewhere?.attempts, [{ group: west }, { group: west }]);
  const [failed] = placedWith([withVolumes(4 * GIB)], [open(east, small)]);
  t.match(failed?.attempts[0]?.outcome, {
    result: "refused",
    diagnosis: { code: "PolicyRefused", sentence: /volumes of 4Gi: its limit is 3Gi/ },
  });
});
