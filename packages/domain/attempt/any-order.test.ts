/**
 * Any inputs to a run, in any order and any number of times: nothing throws, every invariant holds, and the facts of one Job's
 * life lead to the same end and the same story.
 */
import { type Considered, EVENTS } from "@longshore/contract/messages/event.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupName, Uid } from "@longshore/contract/ids.ts";
import fc from "fast-check";
import t from "tap";
import { admit } from "../run/admit.ts";
import { advance, type Advanced, type RunInput } from "../run/advance.ts";
import {
  at,
  claimed,
  context,
  ends,
  input,
  live,
  MINUTE,
  NOW,
  planOf,
  played,
  runOf,
  SECOND,
  step,
  toAttempt,
  toStep,
} from "./testing/examples.ts";
import type { AttemptInput } from "./input.ts";
import { problemsOf, problemsOfChange, problemsOfStory } from "./testing/invariants.ts";
import { moveAttempt } from "./lifecycle.ts";
import type { Attempt, RunRecord, Told } from "../run/record.ts";

const uid = fc.constantFrom("u1", "u2", "u3").map((it) => Uid.parse(it));
const rv = fc.integer({ min: 1, max: 120 }).map(String);
const group = fc.constantFrom("prod-a", "prod-a", "prod-a", "prod-b").map((it) => GroupName.parse(it));
const claimNo = fc.integer({ min: 1, max: 5 });
const begunAtMs = fc.constantFrom(-MINUTE, 0, 11 * MINUTE, 40 * MINUTE).map((it) => NOW + it);
const evidence = fc.constantFrom("yes" as const, "no" as const, "unknown" as const).map((started) => ({ started }));
const diagnosis = fc
  .constantFrom("ImageNotFound" as const, "QuotaExceeded" as const, "NodeLost" as const, "ExitCode" as const)
  .map((code) => diagnose(code, code));
const slices = fc.record({
  count: fc.constant(9),
  succeeded: fc.integer({ min: 0, max: 5 }),
  failed: fc.constantFrom("", "6,8"),
});
const job = { uid, rv, group };
const as = <K extends AttemptInput["kind"]>(kind: K) => fc.constant(kind);

const anything: fc.Arbitrary<AttemptInput> = fc.oneof(
  fc.record({ kind: as("placed"), group, namespace: fc.constant("jobs"), considered: fc.constant<Considered[]>([]) }),
  fc.record({
    kind: as("noPlace"),
    reason: fc.constantFrom("GroupsFull" as const, "GroupsPaused" as const),
    considered: fc.constant<Considered[]>([]),
    retryAtMs: begunAtMs,
  }),
  fc.record({ kind: as("claimDue"), by: fc.constantFrom("l1", "l2"), untilMs: begunAtMs }),
  fc.record({ kind: as("created"), claimNo, adopted: fc.boolean(), ...job }),
  fc.record({ kind: as("refused"), claimNo, diagnosis }),
  fc.record({ kind: as("deferred"), claimNo, diagnosis, retryAtMs: begunAtMs }),
  fc.record({ kind: as("nameTaken"), claimNo, diagnosis }),
  fc.record({ kind: as("unanswered"), claimNo }),
  fc.record({ kind: as("started"), evidence, ...job }),
  fc.record({ kind: as("stalled"), diagnosis, ...job }),
  fc.record({ kind: as("resumed"), ...job }),
  fc.record({ kind: as("progressed"), slices, ...job }),
  fc.record({ kind: as("complete"), evidence, ...job }),
  fc.record({ kind: as("failed"), evidence, ...job }),
  fc.record({ kind: as("deleting"), ...job }),
  fc.record({ kind: as("lookedDeleted"), evidence, ...job }),
  fc.record({ kind: as("gone"), uid }),
  fc.record({ kind: as("occupied"), uid: fc.constantFrom("o1", "o2").map((it) => Uid.parse(it)) }),
  fc.record({ kind: as("kept"), uid: fc.constantFrom("u1", "u2", "o1").map((it) => Uid.parse(it)), begunAtMs }),
  fc.record({ kind: as("inDoubt") }),
  fc.record({ kind: as("fencePassed"), claimNo, begunAtMs, found: fc.constantFrom("nothing" as const, "foreign" as const) }),
  fc.record({
    kind: as("released"),
    found: fc.constantFrom("released" as const, "missing" as const, "foreign" as const),
    begunAtMs,
  }),
  fc.record({ kind: as("cancel"), diagnosis }),
  fc.record({ kind: as("waitExpired") }),
  fc.record({ kind: as("hopeless"), diagnosis }),
  fc.record({ kind: as("unstarted"), ...job }),
  fc.record({ kind: as("startExpired"), diagnosis }),
  fc.record({ kind: as("elsewhere"), diagnosis }),
  fc.record({ kind: as("goesOn") }),
  fc.record({ kind: as("anchorGone"), diagnosis: fc.constant(input.anchorGone.diagnosis) }),
  fc.record({ kind: as("deadline") }),
);

/** Half of the inputs come after a placing and a claim: chance alone seldom makes this sequence. */
const towardsAJob: readonly AttemptInput[] = [input.placed, input.claimDue];
const steps = [
  step("a"),
  step("b", ["a"]),
  step("undo", ["a"], { when: "failure" }),
  step("tell", ["a", "b"], { when: "always" }),
  step("never", ["a"], { if: { given: false, known: false } }),
  step("unreadable", ["never"], { if: { given: "${{ steps.a.outputs.go }}" } }),
];
const said: fc.Arbitrary<readonly RunInput[]> = fc
  .record({ name: fc.constantFrom("a", "b", "undo", "tell"), n: fc.constantFrom(1, 1, 2, 3), it: anything, first: fc.boolean() })
  .map(({ name, n, it, first }) => toAttempt(name, n, ...(first ? towardsAJob : []), it));
const command: fc.Arbitrary<readonly RunInput[]> = fc.constantFrom([{ kind: "cancel", cancel: {} }], [{ kind: "abandon" }]);
const moment = fc.record({
  inputs: fc.oneof({ weight: 30, arbitrary: said }, { weight: 1, arbitrary: command }),
  laterMs: fc.constantFrom(0, SECOND, MINUTE, 11 * MINUTE),
  restart: fc.boolean(),
});

/** Returns the invariants that one input broke, and the new events that do not fit their schema. */
function problemsAfter(before: RunRecord, { record, told }: Advanced): readonly string[] {
  const unlike = told.flatMap(({ type, data }) => {
    const read = EVENTS[type].strict().safeParse(data);
    return read.success ? [] : [`${type} is not as its schema says: ${read.error.message}`];
  });
  return [...problemsOf(record), ...problemsOfChange(before, record, told.length), ...unlike];
}

t.test("every input in every state, in any order: nothing throws, and every invariant holds", async (t) => {
  fc.assert(
    fc.property(fc.array(moment, { maxLength: 60, size: "max" }), (moments) => {
      let record = runOf(planOf(steps, { retriesOn: ["never-started", "infrastructure", "failure"] }));
      let nowMs = NOW;
      const story = [{ type: "run.accepted", sequence: 1, generation: 1 }];
      const tell = (told: readonly Told[]) => {
        for (const { type } of told) story.push({ type, sequence: story.length + 1, generation: record.run.generation });
      };
      for (const { inputs, laterMs, restart } of moments) {
        nowMs += laterMs;
        for (const it of inputs) {
          const advanced = advance(record, it, { ...at, nowMs });
          const problems = problemsAfter(record, advanced);
          if (problems.length > 0) throw new Error(`after ${JSON.stringify(it)}: ${problems.join("; ")}`);
          record = advanced.record;
          tell(advanced.told);
        }
        if (!restart || record.run.state !== "ended") continue;
        const again = admit(
          record,
          { kind: "restart", generation: undefined, from: "failed", with: undefined, actor: undefined },
          { ...at, nowMs },
        );
        if (again.kind !== "write") continue;
        record = again.record;
        tell(again.told);
      }
      const problems = problemsOfStory(story);
      if (problems.length > 0) throw new Error(problems.join("; "));
    }),
    { numRuns: 1500 },
  );
  t.pass();
});

t.test("an input that is repeated decides nothing and tells nothing", async (t) => {
  fc.assert(
    fc.property(fc.array(anything, { maxLength: 12, size: "max" }), anything, (before, it) => {
      if (it.kind === "claimDue" || it.kind === "placed" || it.kind === "noPlace") return; // a repeat of one of these is a new decision
      const then = before.reduce((attempt, next) => moveAttempt(attempt, next, context()).attempt, claimed);
      const once = moveAttempt(then, it, context()).attempt;
      const twice = moveAttempt(once, it, context());
      const differ =
        (twice.attempt.state !== once.state && once.state !== "ended") ||
        twice.attempt.outcome !== once.outcome ||
        twice.news.length > 0;
      if (differ)
        throw new Error(
          `${it.kind}: ${once.state} and then ${twice.attempt.state}, telling ${twice.news.map(({ kind }) => kind).join()}`,
        );
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

// ── One Job's life, in any order ─────────────────────────────────────────────────────────────────────────────────────

const { created, started, stalled, resumed, complete, failed } = input;
const MORE = { count: 9, succeeded: 5, failed: "4,6" };
const LIVES: Readonly<Record<string, readonly AttemptInput[]>> = {
  "goes well": [created, started, complete],
  "is slow to start": [created, stalled, resumed, started, complete],
  "has slices that go well": [created, started, input.progressed, { ...input.progressed, slices: MORE, rv: "24" }, complete],
  fails: [created, started, failed],
  "fails before it starts": [
    created,
    stalled,
    { ...failed, evidence: { started: "no", diagnosis: diagnose("NodeLost", "It is gone.") } },
  ],
  "completes while somebody deletes it": [created, started, input.deleting, complete],
  "has its create refused late": [{ ...input.refused, claimNo: 2 }, started, complete],
};

/** The parts of an attempt that must be equal in any order. The times and the newest version may differ. */
const core = ({ state, uid, outcome, started }: Attempt) => ({
  state,
  uid,
  started,
  result: outcome?.result,
  code: outcome?.diagnosis?.code,
});
/** If the end comes before the progress that led to it, the progress need not be told. */
const OPTIONAL: readonly string[] = ["run.stalled", "run.resumed", "run.progressed"];
const needed = (told: readonly Told[]): readonly string[] => told.map(({ type }) => type).filter((it) => !OPTIONAL.includes(it));

for (const [name, life] of Object.entries(LIVES))
  t.test(`a Job that ${name} comes to one end and one story, in any order and with any repetition`, async (t) => {
    const begin = toStep("main", input.placed, input.claimDue);
    const run = runOf(planOf([step("main")], { retriesMax: 0 }, true));
    const inOrder = played(run, [...begin, ...toStep("main", ...life)]);
    const shuffled = fc
      .array(fc.constantFrom(...life), { maxLength: 6 })
      .chain((more) => fc.shuffledSubarray([...life, ...more], { minLength: life.length + more.length }));
    fc.assert(
      fc.property(shuffled, (inputs) => {
        const other = played(run, [...begin, ...toStep("main", ...inputs)]);
        t.equal(JSON.stringify(other.record.attempts.map(core)), JSON.stringify(inOrder.record.attempts.map(core)));
        t.equal(JSON.stringify(needed(other.told)), JSON.stringify(needed(inOrder.told)));
        t.same(problemsOf(other.record), []);
      }),
      { numRuns: 60 },
    );
  });

t.test("a stall is told by the newest view, in whatever order the views come", async (t) => {
  const views = [
    { ...stalled, rv: "15" },
    { ...resumed, rv: "17" },
    { ...stalled, rv: "19", diagnosis: diagnose("ConfigMissing", "No such Secret.") },
  ];
  fc.assert(
    fc.property(fc.shuffledSubarray([...views, ...views], { minLength: 6 }), (inputs) => {
      const seen = inputs.reduce<Attempt>((attempt, it) => moveAttempt(attempt, it, context()).attempt, live);
      return seen.notes.stall?.code === "ConfigMissing";
    }),
  );
  t.pass();
});

t.test("a run tells one end, whatever comes after it", async (t) => {
  const over = played(runOf(), toStep("main", input.placed, input.claimDue, complete)).record;
  fc.assert(fc.property(anything, (it) => played(over, [...toStep("main", it), ...ends("main", "failed")]).told.length === 0));
  t.pass();
});
