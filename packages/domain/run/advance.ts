/**
 * The step's and the run's tables: what the end of an attempt means for its step, a step's end for the others, and all of
 * them for the run. Every change of a run goes through `advance`, which returns what to write and what to tell.
 *
 * The bug this prevents: a run that ends twice, or never, since three places each thought that another would notice.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { StepName } from "@longshore/contract/ids.ts";
import { retryCause } from "./due.ts";
import type { AttemptInput } from "./input.ts";
import { moveAttempt } from "./lifecycle.ts";
import type { Context, News } from "./moves.ts";
import { outcomeOfOutputs } from "./outputs.ts";
import type { Attempt, AttemptOutcome, Cancel, Run, RunRecord, Step, StepOutcome, Stray, Told } from "./record.ts";
import { beginAttempt, type Names } from "./begin.ts";
import { jobOf, newsOf, terminalOf } from "./story.ts";

export type RunInput =
  | { readonly kind: "attempt"; readonly step: StepName; readonly n: number; readonly input: AttemptInput }
  | { readonly kind: "cancel"; readonly cancel: Cancel }
  | { readonly kind: "abandon" };

export interface Advanced {
  readonly record: RunRecord;
  readonly told: readonly Told[];
  readonly strays: readonly Stray[];
  readonly illegal: boolean;
}

export interface Advancing extends Names {
  readonly nowMs: number;
  readonly epoch: number;
}

/** A record being worked on inside one call of a pure function: nothing of it is seen from outside before it returns. */
class Draft {
  run: Run;
  attempts: readonly Attempt[];
  readonly told: Told[] = [];
  readonly strays: Stray[] = [];
  illegal = false;
  readonly at: Advancing;

  constructor({ run, attempts }: RunRecord, at: Advancing) {
    this.run = run;
    this.attempts = attempts;
    this.at = at;
  }

  get context(): Context {
    return { nowMs: this.at.nowMs, limits: this.run.plan.limits };
  }
  step(name: StepName): Step {
    const step = this.run.steps[name];
    if (step === undefined) throw new Error(`the run ${this.run.id} has no step "${name}"`);
    return step;
  }
  setStep(name: StepName, step: Step): void {
    this.run = { ...this.run, steps: { ...this.run.steps, [name]: step } };
  }
  attempt(step: StepName, n: number): Attempt | undefined {
    return this.attempts.find((it) => it.step === step && it.n === n);
  }
  tell(...told: readonly Told[]): void {
    this.told.push(...told);
  }
}

export function advance(record: RunRecord, input: RunInput, at: Advancing): Advanced {
  const draft = new Draft(record, at);
  switch (input.kind) {
    case "attempt":
      applyToAttempt(draft, input.step, input.n, input.input);
      break;
    case "cancel":
      cancelRun(draft, input.cancel);
      break;
    case "abandon":
      abandonRun(draft);
      break;
  }
  return finished(draft);
}

/** Opens what can be opened: for a run that was just accepted or restarted. */
export function openFirst(record: RunRecord, at: Advancing): Advanced {
  const draft = new Draft(record, at);
  openSteps(draft);
  return finished(draft);
}

function finished(draft: Draft): Advanced {
  const { run, attempts, told, strays, illegal } = draft;
  return { record: { run: { ...run, seq: run.seq + told.length }, attempts }, told, strays, illegal };
}

// ── Attempt → step ──────────────────────────────────────────────────────────────────────────────────────────────────

function applyToAttempt(draft: Draft, stepName: StepName, n: number, input: AttemptInput): void {
  const before = draft.attempt(stepName, n);
  if (before === undefined) return;
  const { attempt, news, strays, illegal } = moveAttempt(before, input, draft.context);
  draft.strays.push(...strays);
  draft.illegal ||= illegal;
  if (attempt === before) return;
  draft.attempts = draft.attempts.map((it) => (it === before ? attempt : it));
  if (attempt.group !== undefined) draft.run = { ...draft.run, group: attempt.group };

  // A finished run's story is closed: what is still heard of its Jobs is only their cleaning up.
  if (draft.run.state === "ended") return;
  tellNews(draft, attempt, news);
  if (before.outcome === undefined && attempt.outcome !== undefined) attemptEnded(draft, attempt, attempt.outcome);
}

function tellNews(draft: Draft, attempt: Attempt, news: readonly News[]): void {
  for (const it of news) draft.tell(newsOf(draft.run, attempt, it));
}

function attemptEnded(draft: Draft, attempt: Attempt, outcome: AttemptOutcome): void {
  const step = draft.step(attempt.step);
  if (step.state !== "open" || step.n !== attempt.n) return;
  switch (outcome.result) {
    case "succeeded": {
      const planned = draft.run.plan.steps.find(({ name }) => name === attempt.step);
      const read = outcomeOfOutputs(outcome.evidence?.message, planned?.outputs ?? []);
      if (read.kind === "outputs") endStep(draft, attempt, "succeeded", { outputs: read.outputs });
      else endStep(draft, attempt, "failed", { diagnosis: read.diagnosis });
      break;
    }
    case "failed":
    case "refused":
    case "deleted": {
      const diagnosis = outcome.diagnosis ?? diagnose("Unknown", "Nothing that was seen says why.");
      if (!retry(draft, attempt, diagnosis)) endStep(draft, attempt, "failed", { diagnosis });
      break;
    }
    case "cancelled":
    case "lost":
      endStep(draft, attempt, outcome.result, outcome.diagnosis ? { diagnosis: outcome.diagnosis } : {});
      break;
  }
  openSteps(draft);
}

/** A new attempt of the same step, where the request's rules and the cause allow one. A cancelled run is never retried. */
function retry(draft: Draft, attempt: Attempt, diagnosis: Diagnosis): boolean {
  const step = draft.step(attempt.step);
  const { retriesMax, retriesOn, backoffFirstMs, backoffMostMs } = draft.run.plan.limits;
  const cause = retryCause(diagnosis, attempt.started);
  if (draft.run.state !== "active" || cause === undefined || !retriesOn.includes(cause) || step.retries >= retriesMax)
    return false;
  const nextAtMs = draft.at.nowMs + Math.min(backoffMostMs, backoffFirstMs * 2 ** step.retries);
  const data = { ...jobOf(draft.run, attempt), diagnosis, nextAttemptAt: new Date(nextAtMs).toISOString() };
  draft.tell({ type: "run.attempt.failed", group: attempt.group, data });
  openAttempt(draft, attempt.step, { ...step, n: step.n + 1, retries: step.retries + 1 }, nextAtMs, attempt);
  return true;
}

function endStep(draft: Draft, attempt: Attempt, outcome: StepOutcome, found: Pick<Step, "outputs" | "diagnosis">): void {
  const { outputs: _, diagnosis: __, ...step } = draft.step(attempt.step);
  draft.setStep(attempt.step, { ...step, state: "ended", outcome, ...found });
  if (draft.run.plan.simple) return;
  const about = { group: attempt.group, data: jobOf(draft.run, attempt) };
  if (outcome === "succeeded")
    draft.tell({ ...about, type: "run.step.succeeded", data: { ...about.data, outputs: found.outputs ?? {} } });
  else
    draft.tell({
      ...about,
      type: "run.step.failed",
      data: { ...about.data, diagnosis: found.diagnosis ?? diagnose("Unknown", "Nothing that was seen says why.") },
    });
}

// ── Step → run ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Opens or skips blocked steps until none changes, then ends the run if none is left. */
function openSteps(draft: Draft): void {
  for (let changed = true; changed; ) {
    changed = false;
    for (const { name, needs, when } of draft.run.plan.steps) {
      const step = draft.step(name);
      if (step.state !== "blocked") continue;
      const needed = needs.map((need) => draft.step(need));
      if (draft.run.state === "cancelling") skip(draft, name, "the run was cancelled");
      else if (needed.some(({ state }) => state !== "ended")) continue;
      else if (mayRun(when, needed)) openAttempt(draft, name, { state: "open", n: step.n + 1, retries: 0 }, undefined, undefined);
      else skip(draft, name, when === "success" ? "a step that it needs did not succeed" : "no step that it needs failed");
      changed = true;
    }
  }
  const steps = Object.values(draft.run.steps);
  if (draft.run.state !== "ended" && steps.every(({ state }) => state === "ended")) endRun(draft);
}

function mayRun(when: "success" | "failure" | "always", needed: readonly Step[]): boolean {
  if (when === "success") return needed.every(({ outcome }) => outcome === "succeeded");
  return when === "always" || needed.some(({ outcome }) => outcome === "failed" || outcome === "lost");
}

function skip(draft: Draft, name: StepName, why: string): void {
  const { n, retries } = draft.step(name);
  draft.setStep(name, { state: "ended", n, retries, outcome: "skipped" });
  if (!draft.run.plan.simple)
    draft.tell({ type: "run.step.skipped", group: undefined, data: { run: draft.run.id, step: name, why } });
}

function openAttempt(
  draft: Draft,
  name: StepName,
  step: Step,
  notBeforeMs: number | undefined,
  after: Attempt | undefined,
): void {
  draft.setStep(name, step);
  draft.attempts = [...draft.attempts, beginAttempt(draft.run, name, step.n, { ...draft.at, notBeforeMs, after })];
}

function endRun(draft: Draft): void {
  const outcome = outcomeOf(draft.run);
  draft.run = { ...draft.run, state: "ended", outcome, endedAtMs: draft.at.nowMs };
  draft.tell(terminalOf(draft.run, draft.attempts));
}

function outcomeOf({ state, steps, plan }: Run): NonNullable<Run["outcome"]> {
  const outcomes = Object.values(steps).map(({ outcome }) => outcome);
  if (state === "cancelling" && outcomes.some((it) => it === "cancelled" || it === "skipped")) return "cancelled";
  if (outcomes.includes("lost")) return "lost";
  const handled = (failed: StepName): boolean =>
    plan.steps.some(
      ({ name, needs, when }) => when !== "success" && needs.includes(failed) && steps[name]?.outcome === "succeeded",
    );
  const unhandled = plan.steps.some(({ name }) => steps[name]?.outcome === "failed" && !handled(name));
  return unhandled ? "failed" : "succeeded";
}

// ── Commands to a run that exists ───────────────────────────────────────────────────────────────────────────────────

function cancelRun(draft: Draft, cancel: Cancel): void {
  if (draft.run.state !== "active") return;
  draft.run = { ...draft.run, state: "cancelling", cancel };
  const { reason, actor } = cancel;
  draft.tell({
    type: "run.cancelling",
    group: draft.run.group,
    data: { run: draft.run.id, ...(reason !== undefined && { reason }), ...(actor && { actor }) },
  });
  const diagnosis = diagnose("Cancelled", reason === undefined ? "It was cancelled." : `It was cancelled: ${reason}`);
  for (const { step, n, outcome } of draft.attempts)
    if (outcome === undefined) applyToAttempt(draft, step, n, { kind: "cancel", diagnosis });
  openSteps(draft);
}

function abandonRun(draft: Draft): void {
  if (draft.run.state === "ended" || draft.run.state === "tombstone") return;
  for (const { step, n, outcome } of draft.attempts)
    if (outcome === undefined) applyToAttempt(draft, step, n, { kind: "abandon" });
  for (const [name, step] of Object.entries(draft.run.steps)) {
    if (step.state !== "ended")
      draft.run = { ...draft.run, steps: { ...draft.run.steps, [name]: { ...step, state: "ended", outcome: "lost" } } };
  }
  openSteps(draft);
}
