/**
 * The tables of the step and the run: when an attempt, a step and a run end, and which events are told of it, in which order.
 */
import { Uid } from "@longshore/contract/ids.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { EVENTS } from "@longshore/contract/messages/event.ts";
import t from "tap";
import {
  elsewhere,
  ends,
  input,
  launched,
  newRun,
  NOW,
  passed,
  planOf,
  played,
  runOf,
  SECOND,
  step,
  toAttempt,
  toStep,
} from "../attempt/testing/examples.ts";
import { problemsOf } from "../attempt/testing/invariants.ts";
import type { RunInput } from "./advance.ts";
import type { Plan, PlannedStep, RunRecord, StepOutcome } from "./record.ts";

const cancel: RunInput = { kind: "cancel", cancel: { reason: "not needed" } };
const abandon: RunInput = { kind: "abandon" };
const types = (told: readonly { readonly type: string }[]): readonly string[] => told.map(({ type }) => type.replace("run.", ""));
const outcomes = ({ run }: RunRecord): readonly (StepOutcome | undefined)[] =>
  run.plan.steps.map(({ name }) => run.steps[name]?.outcome);
const simple = (limits: Partial<Plan["limits"]> = {}): RunRecord => runOf(planOf([step("main")], limits, true));

interface Case {
  readonly name: string;
  readonly steps?: Plan["steps"];
  readonly limits?: Partial<Plan["limits"]>;
  readonly inputs: readonly RunInput[];
  readonly atMs?: number;
  readonly told: readonly string[];
  readonly state: string;
}

const unstarted = [
  ...toStep("main", input.placed, input.claimDue, input.created, {
    ...input.failed,
    evidence: { started: "no", diagnosis: diagnose("NodeLost", "The node vanished.") },
  }),
];

const unstartable = [
  ...toStep("main", input.placed, input.claimDue, input.created, {
    ...input.failed,
    evidence: { started: "no", diagnosis: diagnose("StartError", "The image has no such program.", [], "", true) },
  }),
];

const stuck = [
  ...toStep("main", input.placed, input.claimDue, input.created, {
    ...input.stalled,
    diagnosis: diagnose("Unschedulable", "No node has room."),
  }),
];

const cases: readonly Case[] = [
  { name: "a simple run that goes well", inputs: [...toStep("main", input.placed, input.claimDue, input.created, input.started, input.complete)], told: ["launched", "started", "succeeded"], state: "succeeded" },
  { name: "a run that fails by its program", inputs: toStep("main", input.placed, input.claimDue, input.created, input.started, input.failed), told: ["launched", "started", "failed"], state: "failed" },
  { name: "a run whose end was all that anybody saw", inputs: toStep("main", input.placed, input.claimDue, input.complete), told: ["launched", "started", "succeeded"], state: "succeeded" },
  { name: "nothing is told of a Job after its run ended", inputs: toStep("main", input.placed, input.claimDue, input.complete, input.started, input.stalled, input.failed, input.deleting, input.created, input.released), told: ["launched", "started", "succeeded"], state: "succeeded" },
  { name: "a run whose wait is over", inputs: toStep("main", input.noPlace, input.waitExpired), told: ["waiting", "failed"], state: "failed" },
  { name: "the same reason to wait is told once", inputs: toStep("main", input.noPlace, input.noPlace, { ...input.noPlace, reason: "GroupsPaused" }), told: ["waiting", "waiting"], state: "active" },
  { name: "an attempt that never started is tried again", inputs: unstarted, told: ["launched", "attempt.failed"], state: "active" },
  { name: "an attempt that failed by itself is not tried again, unless the request asks for it", inputs: toStep("main", input.placed, input.claimDue, input.failed), limits: { retriesOn: ["failure"] }, told: ["launched", "started", "attempt.failed"], state: "active" },
  { name: "nothing is tried again that the catalogue calls hopeless", inputs: toStep("main", input.placed, input.claimDue, input.refused), told: ["failed"], state: "failed" },
  { name: "nothing is tried again whose cause does not pass by itself", inputs: unstartable, told: ["launched", "failed"], state: "failed" },
  { name: "nothing is tried more often than allowed", inputs: unstarted, limits: { retriesMax: 0 }, told: ["launched", "failed"], state: "failed" },
  { name: "what waits for a node is tried elsewhere, and that is no retry", limits: { retriesMax: 0 }, inputs: [...stuck, ...toStep("main", input.elsewhere, input.unstarted, input.lookedDeleted)], told: ["launched", "stalled", "attempt.failed"], state: "active" },
  { name: "what may have run is not done again elsewhere unasked", limits: { retriesMax: 0 }, inputs: [...stuck, ...toStep("main", input.elsewhere, { ...input.lookedDeleted, evidence: { started: "unknown" } })], told: ["launched", "stalled", "failed"], state: "failed" },
  { name: "a cancelled run goes to no other group", inputs: [...stuck, ...toStep("main", input.elsewhere, input.unstarted), cancel, ...toStep("main", input.lookedDeleted)], told: ["launched", "stalled", "cancelling", "cancelled"], state: "cancelled" },
  { name: "a cancelled run is never tried again", inputs: [...toStep("main", input.placed, input.claimDue, input.created), cancel, ...unstarted.slice(-1)], told: ["launched", "cancelling", "cancelled"], state: "cancelled" },
  { name: "a cancel before anything was sent", inputs: [cancel], told: ["cancelling", "cancelled"], state: "cancelled" },
  { name: "a cancel is told once", inputs: [...launched("main"), cancel, cancel], told: ["launched", "cancelling"], state: "cancelling" },
  { name: "a cancel while a create is on the wire, that lands and is deleted", inputs: [...toStep("main", input.placed, input.claimDue), cancel, ...toStep("main", input.created, input.deleting, input.lookedDeleted)], told: ["cancelling", "launched", "cancelled"], state: "cancelled" },
  { name: "a cancel loses to a Job that completed", inputs: [...toStep("main", input.placed, input.claimDue, input.created), cancel, ...toStep("main", input.complete)], told: ["launched", "cancelling", "started", "succeeded"], state: "succeeded" },
  { name: "a cancel does not lose to the exit code that it caused", inputs: [...toStep("main", input.placed, input.claimDue, input.created, input.started), cancel, ...toStep("main", input.failed)], told: ["launched", "started", "cancelling", "cancelled"], state: "cancelled" },
  { name: "a Job that vanished", inputs: toStep("main", input.placed, input.claimDue, input.created, input.gone), told: ["launched", "lost"], state: "lost" },
  { name: "a Job that others deleted", inputs: toStep("main", input.placed, input.claimDue, input.created, input.deleting, input.lookedDeleted), told: ["launched", "failed"], state: "failed" },
  { name: "a run that an operator gave up", inputs: [...launched("main"), abandon], told: ["launched", "lost"], state: "lost" },
  { name: "a run that was given up while it was being cancelled is lost: its pods may still run", inputs: [...launched("main"), cancel, abandon], told: ["launched", "cancelling", "lost"], state: "lost" },
  { name: "an ended run hears no commands", inputs: [cancel, cancel, abandon], told: ["cancelling", "cancelled"], state: "cancelled" },
  { name: "a claim that nobody answered and nothing came of", inputs: toStep("main", input.placed, input.claimDue, { ...input.fencePassed, begunAtMs: passed }), atMs: passed, told: ["waiting"], state: "active" },
]; // biome-ignore format: a table is read down its columns

for (const { name, limits, inputs, atMs = NOW, told, state } of cases)
  t.test(name, async (t) => {
    const after = played(simple(limits), inputs, atMs);
    t.same(types(after.told), told);
    t.equal(after.record.run.outcome ?? after.record.run.state, state);
    t.same(problemsOf(after.record), []);
    t.equal(after.record.run.seq, 1 + told.length, "the sequence is dense");
  });

t.test("a program that failed by itself says why it is not tried again, if the request asked for retries", async (t) => {
  const inputs = toStep("main", input.placed, input.claimDue, input.failed);
  const sentence = (more: Partial<PlannedStep>): string | undefined =>
    played(runOf(planOf([step("main", [], more)], {}, true)), inputs).record.run.steps["main"]?.diagnosis?.sentence;
  t.match(sentence({ retriesAsked: true }), /not tried again, since `retries\.on` does not name `failure`/);
  t.notMatch(sentence({}), /not tried again/);
  const limits = { retriesOn: ["failure"] as const, retriesMax: 0 };
  t.notMatch(sentence({ retriesAsked: true, limits }), /not tried again/);
});

t.test("the hint of an event names the run, its Job and the namespace, so that nobody has to look for them", async (t) => {
  const exited = { ...input.failed, evidence: { started: "yes" as const, diagnosis: diagnose("ExitCode", "It ended with 1.") } };
  const inputs = toStep("main", input.placed, input.claimDue, input.created, input.started, exited);
  const { told, record } = played(simple(), inputs);
  const [end] = told.flatMap((it) => (it.type === "run.failed" ? [it.data] : []));
  const job = `job/${record.attempts[0]?.name ?? ""}`;
  const { id } = record.run;
  t.equal(
    end?.diagnosis.hint,
    `Read the program's log: \`kubectl -n jobs logs ${job}\`; \`longshore runs show ${id}\` names both.`,
  );
});

const pipeline = (...steps: Plan["steps"]): RunRecord => runOf(planOf(steps));
const NO = { given: "${{ parameters.go }}", known: false };
const YES = { given: true, known: true };
const BY_OUTPUT = { given: "${{ steps.a.outputs.go }}" };
const completes = (name: string, message: string): readonly RunInput[] =>
  toStep(name, { ...input.complete, uid: Uid.parse(`uid-${name}-1`), evidence: { started: "yes", exitCode: 0, message } });
const handled = [
  step("a"),
  step("b", ["a"]),
  step("undo", ["a"], { when: "failure" }),
  step("tell", ["a", "b"], { when: "always" }),
];

const pipelines: readonly (Omit<Case, "told"> & { readonly steps: Plan["steps"]; readonly want: readonly (StepOutcome | undefined)[] })[] = [
  { name: "a step opens when what it needs succeeded", steps: handled, inputs: [...launched("a"), ...ends("a", "complete")], want: ["succeeded", undefined, "skipped", undefined], state: "active" },
  { name: "a failure skips steps that need success and opens steps that need failure", steps: handled, inputs: [...launched("a"), ...ends("a", "failed")], want: ["failed", "skipped", undefined, undefined], state: "active" },
  { name: "a failure that was handled is no failure of the run", steps: handled, inputs: [...launched("a"), ...ends("a", "failed"), ...launched("undo"), ...ends("undo", "complete"), ...launched("tell"), ...ends("tell", "complete")], want: ["failed", "skipped", "succeeded", "succeeded"], state: "succeeded" },
  { name: "a failure whose handling failed is a failure of the run", steps: [step("a"), step("undo", ["a"], { when: "failure" })], inputs: [...launched("a"), ...ends("a", "failed"), ...launched("undo"), ...ends("undo", "failed")], want: ["failed", "failed"], state: "failed" },
  { name: "a step that needs a skipped step is skipped as well", steps: [step("a"), step("b", ["a"]), step("c", ["b"])], inputs: [...launched("a"), ...ends("a", "failed")], want: ["failed", "skipped", "skipped"], state: "failed" },
  { name: "a cancel skips what has not begun, also what runs always", steps: handled, inputs: [...launched("a"), cancel], want: [undefined, "skipped", "skipped", "skipped"], state: "cancelling" },
  { name: "a cancel that skipped a step cancels the run, even if the rest completed", steps: handled, inputs: [...launched("a"), cancel, ...ends("a", "complete")], want: ["succeeded", "skipped", "skipped", "skipped"], state: "cancelled" },
  { name: "a step that its needs skipped was not skipped by the cancel: all that was to run completed", steps: [step("a"), step("undo", ["a"], { when: "failure" }), step("b")], inputs: [...launched("a"), ...launched("b"), ...ends("a", "complete"), cancel, ...ends("b", "complete")], want: ["succeeded", "skipped", "succeeded"], state: "succeeded" },
  { name: "giving a run up opens nothing, not even what runs always", steps: handled, inputs: [...launched("a"), abandon], want: ["lost", "lost", "lost", "lost"], state: "lost" },
  { name: "a lost step opens steps that need failure", steps: [step("a"), step("undo", ["a"], { when: "failure" })], inputs: [...launched("a"), ...toStep("a", { ...input.gone, uid: launchedUid() })], want: ["lost", undefined], state: "active" },
  { name: "a step whose own `if` is false counts as done, so what needs it runs", steps: [step("a", [], { if: NO }), step("b", ["a"]), step("undo", ["a"], { when: "failure" })], inputs: [...launched("b"), ...ends("b", "complete")], want: ["skipped", "succeeded", "skipped"], state: "succeeded" },
  { name: "a run whose every step was skipped by its own `if` has succeeded", steps: [step("a"), step("b", ["a"], { if: NO }), step("c", ["b"], { if: NO })], inputs: [...launched("a"), ...ends("a", "complete")], want: ["succeeded", "skipped", "skipped"], state: "succeeded" },
  { name: "an `if` opens nothing that the needs do not allow", steps: [step("a"), step("b", ["a"], { if: YES })], inputs: [...launched("a"), ...ends("a", "failed")], want: ["failed", "skipped"], state: "failed" },
  { name: "an `if` by an output that is true", steps: [step("a", [], { outputs: ["go"] }), step("b", ["a"], { if: BY_OUTPUT })], inputs: [...launched("a"), ...completes("a", '{"go":true}')], want: ["succeeded", undefined], state: "active" },
  { name: "an `if` by an output that is false", steps: [step("a", [], { outputs: ["go"] }), step("b", ["a"], { if: BY_OUTPUT })], inputs: [...launched("a"), ...completes("a", '{"go":false}')], want: ["succeeded", "skipped"], state: "succeeded" },
  { name: "an `if` by an output of a step that its own `if` skipped", steps: [step("a", [], { if: NO, outputs: ["go"] }), step("b", ["a"], { if: BY_OUTPUT })], inputs: [], want: ["skipped", "skipped"], state: "succeeded" },
  { name: "an `if` by an output that is no boolean fails its step", steps: [step("a", [], { outputs: ["go"] }), step("b", ["a"], { if: BY_OUTPUT }), step("undo", ["b"], { when: "failure" })], inputs: [...launched("a"), ...completes("a", '{"go":"true"}')], want: ["succeeded", "failed", undefined], state: "active" },
  { name: "an output that was promised and not written fails the step", steps: [step("a", [], { outputs: ["sum"] })], inputs: [...launched("a"), ...ends("a", "complete")], want: ["failed"], state: "failed" },
]; // biome-ignore format: a table is read down its columns

function launchedUid() {
  const [, , created] = launched("a");
  if (created?.kind !== "attempt" || created.input.kind !== "created")
    throw new TypeError("launched ends with a create's answer");
  return created.input.uid;
}

for (const { name, steps, inputs, want, state } of pipelines)
  t.test(name, async (t) => {
    const { record } = played(pipeline(...steps), inputs);
    t.same(outcomes(record), want);
    t.equal(record.run.outcome ?? record.run.state, state);
    t.same(problemsOf(record), []);
  });

t.test("a step's own limits go before its run's, and leave the other steps alone", async (t) => {
  const limits = { retriesMax: 1, retriesOn: ["failure"] as const, backoffFirstMs: 7 * SECOND, startWithinMs: 3 * SECOND };
  const fails = (name: string) => toStep(name, input.placed, input.claimDue, input.created, input.failed);
  const { record, told } = played(pipeline(step("a", [], { limits }), step("b")), [...fails("a"), ...fails("b")]);
  t.same(types(told), ["launched", "started", "attempt.failed", "launched", "started", "step.failed"]);
  t.equal(record.attempts.find((it) => it.step === "a" && it.n === 2)?.dueMs, NOW + 7 * SECOND);
  const live = played(pipeline(step("a", [], { limits }), step("b")), [...launched("a"), ...launched("b")]).record;
  t.same(
    live.attempts.map(({ dueMs }) => (dueMs ?? 0) - NOW),
    [3 * SECOND, planOf([]).limits.startWithinMs],
  );
});

t.test("each retry waits twice as long as the one before, up to the longest wait, and prefers another group", async (t) => {
  const limits = { retriesMax: 9, backoffFirstMs: 10 * SECOND, backoffMostMs: 25 * SECOND };
  let record = simple(limits);
  const delays: number[] = [];
  for (const n of [1, 2, 3]) {
    record = played(record, toAttempt("main", n, input.placed, input.claimDue, { ...input.nameTaken })).record;
    const next = record.attempts.find((it) => it.n === n + 1);
    t.match(next, { state: "waiting", notes: { avoid: input.placed.group } });
    delays.push((next?.dueMs ?? 0) - NOW);
  }
  t.same(delays, [10 * SECOND, 20 * SECOND, 25 * SECOND]);
});

t.test("a run's end says whose end it was, how it ended and how long each phase took", async (t) => {
  const iso = (seconds: number) => new Date(NOW + seconds * SECOND).toISOString();
  const evidence = {
    started: "yes" as const,
    scheduledAt: iso(1),
    startedAt: iso(3),
    finishedAt: iso(8),
    exitCode: 3,
    diagnosis: diagnose("ExitCode", "It ended with exit code 3."),
  };
  const { told } = played(simple(), toStep("main", input.placed, input.claimDue, input.created, { ...input.failed, evidence }));
  t.match(told.at(-1), {
    type: "run.failed",
    group: input.placed.group,
    data: {
      run: newRun().id,
      step: "main",
      attempt: 1,
      started: "yes",
      exitCode: 3,
      diagnosis: { code: "ExitCode" },
      job: { namespace: "jobs", uid: input.created.uid },
      seconds: { waiting: 0, scheduling: 1, pulling: 2, running: 5 },
    },
  });
});

t.test("the seconds of a pipeline's steps are added up to whole milliseconds", async (t) => {
  const ran = (name: string, ms: number) => {
    const times = { startedAt: new Date(NOW).toISOString(), finishedAt: new Date(NOW + ms).toISOString() };
    const complete = { ...input.complete, uid: Uid.parse(`uid-${name}-1`), evidence: { started: "yes" as const, ...times } };
    return [...launched(name), ...toStep(name, complete)];
  };
  const { told } = played(pipeline(step("a"), step("b", ["a"])), [...ran("a", 1_200), ...ran("b", 120)]);
  t.match(told.at(-1), { type: "run.succeeded", data: { seconds: { running: 1.32 } } });
});

const FINISHED = { log: { state: "complete", lines: 1, tail: "no such order" }, finishedAt: "2030-01-31T11:59:30Z" } as const;
const failing = { ...input.failed, evidence: { ...input.failed.evidence, ...FINISHED } };

t.test(
  "a failure that does not end the run says with what it ended, when and what it printed, as the run's end does",
  async (t) => {
    const want = { exitCode: 3, ...FINISHED };
    const ended = [input.placed, input.claimDue, input.created, failing] as const;
    const retried = played(simple({ retriesMax: 1, retriesOn: ["failure"] }), [
      ...toAttempt("main", 1, ...ended),
      ...toAttempt("main", 2, ...ended),
    ]);
    const { told } = played(runOf(planOf([step("load"), step("tidy", ["load"], { when: "always" })])), toStep("load", ...ended));
    for (const [type, all] of [
      ["run.attempt.failed", retried.told],
      ["run.failed", retried.told],
      ["run.step.failed", told],
    ] as const)
      t.match(all.find((it) => it.type === type)?.data, want, type);
  },
);

t.test("a run that succeeds says when its last program ended, however late that is told", async (t) => {
  const at = (finishedAt: string) => ({ ...input.complete, evidence: { ...input.complete.evidence, finishedAt } });
  const started = [input.placed, input.claimDue, input.created] as const;
  const inputs = [
    ...toStep("load", ...started, at("2030-01-31T11:59:30Z")),
    ...toStep("other", ...started, at("2030-01-31T11:59:20Z")),
  ];
  const { told } = played(runOf(planOf([step("load"), step("other")])), inputs);
  t.match(told.at(-1), { type: "run.succeeded", data: { finishedAt: "2030-01-31T11:59:30Z" } });
});

t.test("the end of a step says why the text that it wrote is no output", async (t) => {
  const outputsIgnored = "The termination message is not one JSON object.";
  const wrote = (name: string, message: string) => {
    const complete = { ...input.complete, uid: Uid.parse(`uid-${name}-1`), evidence: { started: "yes" as const, message } };
    return [...launched(name), ...toStep(name, complete)];
  };
  t.match(played(simple(), wrote("main", "rows=12")).told.at(-1), {
    type: "run.succeeded",
    data: { outputs: {}, outputsIgnored },
  });
  const { told } = played(pipeline(step("a"), step("b", ["a"])), [...wrote("a", "rows=12"), ...wrote("b", '{"rows":12}')]);
  const [a, b] = told.flatMap((it) => (it.type === "run.step.succeeded" ? [it.data] : []));
  t.match(a, { outputs: {}, outputsIgnored });
  t.same([b?.outputs, b?.outputsIgnored], [{ rows: 12 }, undefined]);
});

t.test("each step's end keeps what it printed, since a run that succeeds gives up its pods with its volumes", async (t) => {
  const finishedAt = "2030-01-31T12:00:30Z";
  const log = { state: "complete", lines: 1, tail: "sorted\n" } as const;
  const evidence = { started: "yes" as const, exitCode: 0, finishedAt, log };
  const complete = { ...input.complete, uid: Uid.parse("uid-sort-1"), evidence };
  const { told } = played(pipeline(step("sort")), [...launched("sort"), ...toStep("sort", complete)]);
  const [end] = told.flatMap((it) => (it.type === "run.step.succeeded" ? [it.data] : []));
  t.match(end, { log, finishedAt });
  t.notOk(EVENTS["run.step.succeeded"].strict().safeParse(end).error);
});

t.test("an input that changes nothing returns the same record", async (t) => {
  const { record } = played(simple(), launched("main"));
  for (const said of [input.created, input.placed, input.unanswered, { ...input.refused, claimNo: 9 }])
    t.equal(
      played(record, toStep("main", { ...said, ...("uid" in said && { uid: record.attempts[0]?.uid ?? said.uid }) })).record,
      record,
      said.kind,
    );
});

t.test("an older attempt's clean-up does not move the run back to its group", async (t) => {
  const { record } = played(
    simple(),
    toStep("main", input.placed, input.claimDue, input.created, {
      ...input.failed,
      evidence: { started: "no", diagnosis: diagnose("NodeLost", "Gone.") },
    }),
  );
  const moved = played(record, toAttempt("main", 2, { ...input.placed, group: elsewhere })).record;
  t.equal(played(moved, toAttempt("main", 1, input.released)).record.run.group, elsewhere);
});

t.test("a run names the step whose `if` could not be read, and no attempt", async (t) => {
  const record = pipeline(step("a", [], { outputs: ["go"] }), step("b", ["a"], { if: BY_OUTPUT }));
  const { told } = played(record, [...launched("a"), ...completes("a", '{"go":[1]}')]);
  t.same(types(told).slice(-3), ["step.succeeded", "step.failed", "failed"]);
  const [end] = told.flatMap((it) => (it.type === "run.failed" ? [it.data] : []));
  t.match(end, { diagnosis: { code: "OutputsInvalid", sentence: "neither true nor false" } });
  t.equal(end?.step, undefined);
});

const wholeOutputs = (outputs: Record<string, string>, message: string) => {
  const plan = { ...planOf([step("a", [], { outputs: ["x"] }), step("b", ["a"], { if: NO, outputs: ["y"] })]), outputs };
  return played(runOf(plan), [...launched("a"), ...completes("a", message)]).told.at(-1);
};

t.test("a pipeline's end tells the outputs that the request declares, with their types", async (t) => {
  const end = wholeOutputs(
    { n: "${{ steps.a.outputs.x }}", said: "x is ${{ steps.a.outputs.x }}", none: "${{ steps.b.outputs.y }}" },
    '{"x":3}',
  );
  t.match(end, { type: "run.succeeded" });
  t.same(end?.type === "run.succeeded" && end.data.outputs, { n: 3, said: "x is 3", none: null });
});

t.test("declared outputs that are too large fail the run", async (t) => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`o${at}`, "${{ steps.a.outputs.x }}"]));
  t.match(wholeOutputs(many, JSON.stringify({ x: "x".repeat(4000) })), {
    type: "run.failed",
    data: { diagnosis: { code: "OutputsTooLarge" } },
  });
});
