/**
 * The run's table for commands: the effect of each command in each state of a run, and the run that a restart makes of an old
 * one.
 */
import t from "tap";
import { DefinitionName } from "@longshore/contract/ids.ts";
import type { Corrections } from "@longshore/contract/messages/command.ts";
import { Duration, Quantity } from "@longshore/contract/units.ts";
import { admit, type Admission } from "./admit.ts";
import { limitsFor } from "./plan.ts";
import {
  at,
  ends,
  launched,
  newRun,
  NOW,
  HOUR,
  planOf,
  played,
  runOf,
  step,
  toStep,
  input,
} from "../attempt/testing/examples.ts";
import { problemsOf } from "../attempt/testing/invariants.ts";
import type { Run, RunRecord } from "./record.ts";

const plan = planOf([step("a"), step("b", ["a"]), step("c")]);
const active = played(runOf(plan), launched("a")).record;
const cancelling = played(active, [{ kind: "cancel", cancel: {} }]).record;
const failed = played(runOf(plan), [...launched("a"), ...ends("a", "failed"), ...launched("c"), ...ends("c", "complete")]).record;
const tombstone: RunRecord = {
  run: { ...active.run, state: "tombstone", cancel: { reason: "too late" }, seq: 0, steps: {}, group: undefined } satisfies Run,
  attempts: [],
};
const short = played(runOf(), [...launched("main"), ...ends("main", "failed")]).record;
const states = { none: undefined, tombstone, active, cancelling, ended: failed };

const run = { kind: "run", run: newRun(plan), told: {} } as const;
const cancel = { kind: "cancel", generation: undefined, cancel: { reason: "not needed" } } as const;
const restart = { kind: "restart", generation: undefined, from: "failed", with: undefined, actor: undefined } as const;

// biome-ignore format: a table is read down its columns
const TABLE: readonly { readonly name: string; readonly said: Admission; readonly want: readonly string[] }[] = [
  // `want` holds one answer for each of `states`, in this order: none, tombstone, active, cancelling, ended.
  { name: "a request", said: run,                                                           want: ["active: accepted", "ended: accepted, step.skipped, step.skipped, step.skipped, cancelled", "duplicate", "duplicate", "duplicate"] },
  { name: "a request with the same id and other content", said: { ...run, run: { ...run.run, digest: "other" } }, want: ["active: accepted", "ended: accepted, step.skipped, step.skipped, step.skipped, cancelled", "IdempotencyConflict", "IdempotencyConflict", "IdempotencyConflict"] },
  { name: "a refused command", said: { kind: "invalid", problems: [{ path: "/data/image", code: "RequestInvalid", message: "No image." }] }, want: ["RequestInvalid", "RequestInvalid", "RequestInvalid", "RequestInvalid", "RequestInvalid"] },
  { name: "a cancel", said: cancel,                                                         want: ["tombstone", "duplicate", "cancelling: cancelling, step.failed, step.skipped", "duplicate", "AlreadyEnded"] },
  { name: "a cancel of this generation", said: { ...cancel, generation: 1 },                want: ["tombstone", "duplicate", "cancelling: cancelling, step.failed, step.skipped", "duplicate", "AlreadyEnded"] },
  { name: "a cancel of another generation", said: { ...cancel, generation: 2 },             want: ["RunUnknown", "RequestInvalid", "RequestInvalid", "RequestInvalid", "RequestInvalid"] },
  { name: "a restart", said: restart,                                                       want: ["RunUnknown", "RunUnknown", "NotEnded", "NotEnded", "active: restarted"] },
  { name: "a restart of another generation", said: { ...restart, generation: 2 },           want: ["RunUnknown", "RunUnknown", "RequestInvalid", "RequestInvalid", "RequestInvalid"] },
  { name: "a restart from a step that it does not have", said: { ...restart, from: step("x").name }, want: ["RunUnknown", "RunUnknown", "NotEnded", "NotEnded", "RequestInvalid"] },
  { name: "giving it up", said: { kind: "abandon" },                                        want: ["RunUnknown", "RunUnknown", "ended: step.skipped, step.failed, step.failed, lost", "ended: step.failed, lost", "AlreadyEnded"] },
];

for (const { name, said, want } of TABLE)
  t.test(`${name} means for a run in each state what this table says`, async (t) => {
    for (const [index, [state, existing]] of Object.entries(states).entries())
      t.equal(wordsOf(existing, said), want[index], state);
  });

/** A person reads the problem beside those of the schema. */
const SENTENCE = /^[A-Z].*\.$/;

function wordsOf(existing: RunRecord | undefined, said: Admission): string {
  const verdict = admit(existing, said, at);
  if (verdict.kind === "refuse") {
    for (const { message } of verdict.problems) t.match(message, SENTENCE);
    return verdict.problems.map(({ code }) => code).join(", ");
  }
  if (verdict.kind !== "write") return verdict.kind;
  const problems = problemsOf(verdict.record);
  if (problems.length > 0) return problems.join("; ");
  return `${verdict.record.run.state}: ${verdict.told.map(({ type }) => type.replace("run.", "")).join(", ")}`;
}

t.test("a run whose cancel came first has no attempt, so nothing of it can be launched", async (t) => {
  const verdict = admit(tombstone, run, at);
  t.match(verdict, { kind: "write", record: { run: { outcome: "cancelled", cancel: { reason: "too late" } }, attempts: [] } });
});

const again = (record: RunRecord, from: Extract<Admission, { kind: "restart" }>["from"], more: object = {}): RunRecord => {
  const verdict = admit(record, { ...restart, from, ...more }, at);
  if (verdict.kind !== "write") throw new TypeError(`the restart was answered ${verdict.kind}`);
  t.same(problemsOf(verdict.record), []);
  return verdict.record;
};
const attemptsOf = ({ run, attempts }: RunRecord) =>
  attempts.filter(({ generation }) => generation === run.generation).map((it) => `${it.step}/${it.n}`);

t.test("a restart from the failed steps runs them and their dependents again, and keeps the rest", async (t) => {
  const record = again(failed, "failed");
  t.same(attemptsOf(record), ["a/2"]);
  t.match(record.run, { state: "active", outcome: undefined, endedAtMs: undefined, generation: 2, seq: failed.run.seq + 1 });
  t.match(record.run.steps, {
    a: { state: "open", retries: 0 },
    b: { state: "blocked" },
    c: { state: "ended", outcome: "succeeded" },
  });
});

t.test("a restart from the start runs all again, under new numbers", async (t) => {
  t.same(attemptsOf(again(failed, "start")), ["a/2", "c/2"]);
});

t.test("a restart from a step runs that step and its dependents", async (t) => {
  t.same(attemptsOf(again(failed, step("c").name)), ["c/2"]);
  const record = again(failed, step("b").name);
  t.same(attemptsOf(record), [], "what b needs did not succeed");
  t.match(record.run, { state: "ended", outcome: "failed" });
});

t.test("a restart from the failed steps is refused if none failed", async (t) => {
  const well = played(runOf(), [...launched("main"), ...ends("main", "complete")]).record;
  t.match(admit(well, restart, at), { kind: "refuse", problems: [{ code: "AlreadyEnded" }] });
});

t.test("a restart corrects one step of a pipeline, or the only step of a short request", async (t) => {
  const pipeline = again(failed, "failed", { with: { steps: { a: { deadline: "1h" } } } });
  t.same(pipeline.run.plan.with, { a: { deadline: "1h" } });
  t.equal(limitsFor(pipeline.run.plan, step("a").name).deadlineMs, HOUR);
  const short = again(played(runOf(), [...launched("main"), ...ends("main", "failed")]).record, "failed", {
    with: { deadline: "1h", image: "app:2" },
  });
  t.same(short.run.plan.with, { main: { deadline: "1h", image: "app:2" } });
  t.equal(limitsFor(short.run.plan, step("main").name).deadlineMs, HOUR);
});

t.test("the story of a restart names what was corrected, without its value", async (t) => {
  const told = (record: RunRecord, given: Corrections) => {
    const verdict = admit(record, { ...restart, with: given }, at);
    return verdict.kind === "write" ? verdict.told[0]?.data : verdict;
  };
  const resources = { limits: { memory: Quantity.parse("2Gi") } };
  const env = { A: "hunter2", NODE: { field: "spec.nodeName" as const } };
  t.same(told(short, { image: "app:2", env, resources }), {
    run: short.run.id,
    from: "failed",
    corrected: ["image", "env.A", "env.NODE", "resources.limits.memory"],
  });
  const steps = { a: { deadline: Duration.parse("1h"), env: { A: "hunter2" } } };
  t.match(told(failed, { steps }), { corrected: ["steps.a.deadline", "steps.a.env.A"] });
  t.notOk(Object.hasOwn(told(short, {}) ?? {}, "corrected"));
});

for (const [what, record, corrections, path, message] of [
  ["names no step of a pipeline", failed, { image: "app:2" }, "/data/with/image", /several steps: say which one, as in \{"steps": \{"a": \{"image"/],
  ["names a step that there is not", failed, { steps: { x: { image: "app:2" } } }, "/data/with/steps/x", /no step "x"; it has a, b, c\./],
  ["names a step that succeeded", failed, { steps: { c: { image: "app:2" } } }, "/data/with/steps/c", /does not run the step "c" again/],
  ["names steps of a run that has none", short, { steps: { main: { image: "app:2" } } }, "/data/with/steps", /without `steps`/],
] as const) // biome-ignore format: a table is read down its columns
  t.test(`a restart whose correction ${what} is refused`, async (t) => {
    const verdict = admit(record, { ...restart, with: corrections as Corrections }, at);
    t.match(verdict, { kind: "refuse", problems: [{ path, code: "RequestInvalid", message }] });
    for (const problem of verdict.kind === "refuse" ? verdict.problems : []) t.match(problem.message, SENTENCE);
  });

t.test("a restarted run does not succeed over a step that a cancel left undone", async (t) => {
  const cancelled = played(cancelling, [
    ...toStep("a", { ...input.lookedDeleted, uid: active.attempts[0]?.uid ?? input.gone.uid }),
  ]).record;
  t.match(cancelled.run, { state: "ended", outcome: "cancelled" });
  const { record } = played(again(cancelled, step("c").name), [...launched("c", 2), ...ends("c", "complete", 2)]);
  t.match(record.run, { state: "ended", outcome: "failed", endedAtMs: NOW });
});

t.test("old news of an earlier generation does not touch the one that runs now", async (t) => {
  const record = again(failed, "failed");
  const { told, record: after } = played(record, [...ends("a", "complete"), ...toStep("a", input.started, input.released)]);
  t.same(told, []);
  t.match(after.run, { state: "active", seq: record.run.seq });
});

const no = { given: "${{ parameters.go }}", known: false };

t.test("a step that its own `if` skipped is not run again by a restart from the failed steps", async (t) => {
  const record = played(runOf(planOf([step("a", [], { if: no }), step("b", ["a"]), step("c", ["b"])])), [
    ...launched("b"),
    ...ends("b", "failed"),
  ]).record;
  const { steps } = again(record, "failed").run;
  t.match([steps["a"], steps["b"], steps["c"]], [{ state: "ended", skippedBy: "if" }, { state: "open" }, { state: "blocked" }]);
});

t.test("a restart may correct the parameter of an `if`, until the next restart", async (t) => {
  const plan = { ...planOf([step("a", [], { if: no }), step("b", ["a"])]), parameters: ["go"] };
  const record = played(runOf(plan), [...launched("b"), ...ends("b", "failed")]).record;
  const corrected = again(record, "start", { with: { parameters: { go: true } } });
  t.match(corrected.run, { steps: { a: { state: "open" } }, plan: { withParameters: { go: true } } });
  const ended = played(corrected, [...launched("a"), ...ends("a", "failed")]).record;
  t.match(again(ended, "start").run.steps["a"], { state: "ended", skippedBy: "if" });
});

t.test("a restart that corrects a parameter which no expression uses is refused", async (t) => {
  const record = { ...failed, run: { ...failed.run, plan: { ...failed.run.plan, parameters: ["used"] } } };
  const verdict = admit(record, { ...restart, with: { parameters: { usd: 1 } } }, at);
  t.match(verdict, { kind: "refuse", problems: [{ path: "/data/with/parameters/usd", message: "it uses used" }] });
  t.equal(admit(record, { ...restart, with: { parameters: { used: 1 } } }, at).kind, "write");
});

t.test("a restart's parameters are judged by the definition as it was when the run was made", async (t) => {
  const rows = { type: "object" as const, properties: { most: { type: "integer" as const, default: 10 } } };
  const definition = {
    name: DefinitionName.parse("export"),
    digest: "1",
    parameters: { month: { type: "string" as const }, rows },
  };
  const record = { ...failed, run: { ...failed.run, plan: { ...failed.run.plan, parameters: ["month", "rows"], definition } } };
  const withParameters = (parameters: Corrections["parameters"]) => ({ ...restart, with: { parameters } }) as const;
  t.match(admit(record, withParameters({ month: 3, rows: { most: "x" } }), at), {
    kind: "refuse",
    problems: [
      {
        path: "/data/with/parameters/month",
        code: "WrongType",
        message: "This must be a text, not a number; write it in quotes.",
      },
      { path: "/data/with/parameters/rows/most", code: "WrongType" },
    ],
  });
  const taken = again(record, "failed", { with: { parameters: { rows: {} } } });
  t.same(taken.run.plan.withParameters, { rows: { most: 10 } }, "defaults within them are filled in");
});
