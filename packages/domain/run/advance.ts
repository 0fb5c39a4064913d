/**
 * The step's and the run's tables: how the end of an attempt changes its step, how a step's end changes the other steps, and
 * how all of them end the run. Every change of a run goes through `advance`, which returns the rows to write and the events to
 * tell.
 *
 * The bug this prevents: a run that ends twice, or never, because three places each thought that another would notice.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { StepName } from "@longshore/contract/ids.ts";
import type { AnchorInput } from "../anchor/lifecycle.ts";
import { attemptMoved, heardOfAnchor, underAnchor } from "../anchor/of-run.ts";
import type { AttemptInput } from "../attempt/input.ts";
import { moveAttempt } from "../attempt/lifecycle.ts";
import type { Context } from "../attempt/moves/move.ts";
import { bytesOf } from "@longshore/contract/expressions/template.ts";
import { outputsOfStep, type ReadOutputs } from "./outputs.ts";
import { limitsFor } from "./plan.ts";
import type { Attempt, AttemptOutcome, Cancel, GivenUp, RunRecord, Step, StepOutcome } from "./record.ts";
import { attemptIn, isOver } from "./record.ts";
import type { Advanced, Advancing, Draft } from "./steps.ts";
import { advancedOf, draftOf, endRun, openAttempt, openSteps, retryAtMs, setStep, skip, stepIn, untried } from "./steps.ts";
import { endOf, jobOf, newsOf, slicesOf } from "./story.ts";

export type { Advanced, Advancing };

export type RunInput =
  | { readonly kind: "attempt"; readonly step: StepName; readonly n: number; readonly input: AttemptInput }
  | { readonly kind: "anchor"; readonly number: number; readonly input: AnchorInput }
  | { readonly kind: "cancel"; readonly cancel: Cancel }
  | ({ readonly kind: "abandon" } & GivenUp);

export function advance(record: RunRecord, input: RunInput, at: Advancing): Advanced {
  const draft = draftOf(record, at);
  switch (input.kind) {
    case "attempt":
      applyToAttempt(draft, input.step, input.n, input.input);
      break;
    case "anchor":
      applyToAnchor(draft, input.number, input.input);
      break;
    case "cancel":
      cancelRun(draft, input.cancel);
      break;
    case "abandon":
      abandonRun(draft, input);
      break;
  }
  return advancedOf(draft);
}

/** Opens every step that can be opened: for a run that was just accepted or restarted. */
export function openFirst(record: RunRecord, at: Advancing): Advanced {
  const draft = draftOf(record, at);
  openSteps(draft);
  return advancedOf(draft);
}

/**
 * For a run whose cancel came before its request: the run is accepted and cancelled at once, so that none of its attempts is
 * ever placed.
 */
export function cancelOnArrival(record: RunRecord, cancel: Cancel, at: Advancing): Advanced {
  const draft = draftOf(record, at);
  draft.run = { ...draft.run, state: "cancelling", cancel };
  openSteps(draft);
  return advancedOf(draft);
}

// ── Attempt → step ───────────────────────────────────────────────────────────────────────────────────────────────────

function applyToAttempt(draft: Draft, stepName: StepName, n: number, input: AttemptInput): void {
  const before = attemptIn(draft, stepName, n);
  if (before === undefined) return;
  const context = contextOf(draft, stepName);
  const { attempt: moved, news, strays, illegal } = moveAttempt(before, input, context);
  draft.strays.push(...strays);
  draft.illegal ||= illegal;
  const attempt = moved === before ? moved : underAnchor(draft, moved);
  if (attempt !== before) draft.attempts = draft.attempts.map((it) => (it === before ? attempt : it));
  attemptMoved(draft, before, attempt, input.kind === "unanswered");
  if (attempt === before) return;
  if (attempt.group !== undefined && attempt.group !== before.group) draft.run = { ...draft.run, group: attempt.group };

  // A finished run's story is closed: later news of its Jobs is only about their cleaning up.
  if (draft.run.state === "ended") return;
  for (const it of news) draft.told.push(newsOf(draft.run, attempt, it));
  if (!isOver(before) && isOver(attempt) && attempt.outcome !== undefined) attemptEnded(draft, attempt, attempt.outcome);
}

const contextOf = ({ at, run: { plan } }: Draft, step: StepName): Context => ({
  nowMs: at.nowMs,
  limits: limitsFor(plan, step),
  hasToken: plan.steps.some(({ name, uses }) => name === step && uses?.token === true),
  failedMax: plan.steps.find(({ name }) => name === step)?.slices?.failedMax,
});

/** If the anchor is given up, attempts that were placed in its group and not claimed may go to another group. */
function applyToAnchor(draft: Draft, number: number, input: AnchorInput): void {
  for (const { step, n } of heardOfAnchor(draft, number, input)) {
    applyToAttempt(draft, step, n, { kind: "noPlace", reason: "QuotaExceeded", considered: [], retryAtMs: draft.at.nowMs });
  }
}

function attemptEnded(draft: Draft, attempt: Attempt, outcome: AttemptOutcome): void {
  const step = stepIn(draft, attempt.step);
  if (step.state !== "open" || step.n !== attempt.n) return;
  switch (outcome.result) {
    case "succeeded": {
      const planned = draft.run.plan.steps.find(({ name }) => name === attempt.step);
      const read = outputsOfStep(outcome.evidence, planned ?? { outputs: [] }, outputBytes(draft, attempt.step));
      if (read.kind === "outputs") endStep(draft, attempt, "succeeded", withIgnored(read));
      else endStep(draft, attempt, "failed", { diagnosis: read.diagnosis });
      break;
    }
    case "failed":
    case "refused":
    case "deleted": {
      const diagnosis = diagnosisOf(outcome);
      if (!retry(draft, attempt, diagnosis))
        endStep(draft, attempt, "failed", { diagnosis: untried(draft.run, attempt, diagnosis) });
      break;
    }
    case "moved":
      if (draft.run.state === "active") again(draft, attempt, diagnosisOf(outcome));
      else endStep(draft, attempt, "cancelled", {});
      break;
    case "cancelled":
    case "lost":
      endStep(draft, attempt, outcome.result, outcome.diagnosis ? { diagnosis: outcome.diagnosis } : {});
      break;
  }
  openSteps(draft);
}

/** The bytes of all outputs that the run has besides those of this step. */
const outputBytes = ({ run }: Draft, step: StepName): number =>
  Object.entries(run.steps)
    .filter(([name, { outputs }]) => name !== step && outputs !== undefined)
    .reduce((sum, [, { outputs }]) => sum + bytesOf(outputs), 0);
/** Without a word, the author would look for a lost output in every other place. */
const withIgnored = ({
  outputs,
  ignored,
}: Extract<ReadOutputs, { kind: "outputs" }>): Pick<Step, "outputs" | "outputsIgnored"> => ({
  outputs,
  ...(ignored !== undefined && { outputsIgnored: ignored }),
});

const diagnosisOf = ({ diagnosis }: AttemptOutcome): Diagnosis =>
  diagnosis ?? diagnose("Unknown", "Nothing that was seen says why.");

/**
 * Makes the next attempt at once, in another group. This is no retry: nothing was tried. The next attempt waits no longer than
 * this one would have.
 */
function again(draft: Draft, attempt: Attempt, diagnosis: Diagnosis): void {
  const step = stepIn(draft, attempt.step);
  const nextAttemptAt = new Date(draft.at.nowMs).toISOString();
  const data = { ...jobOf(draft.run, attempt), diagnosis, ...endOf(attempt), ...slicesOf(attempt), nextAttemptAt };
  draft.told.push({ type: "run.attempt.failed", group: attempt.group, data });
  openAttempt(draft, attempt.step, { ...step, n: step.n + 1 }, { after: attempt, waitUntilMs: attempt.notes.waitUntilMs });
}

/** Makes a new attempt of the same step, if the request's rules and the cause allow one. */
function retry(draft: Draft, attempt: Attempt, diagnosis: Diagnosis): boolean {
  const step = stepIn(draft, attempt.step);
  const notBeforeMs = retryAtMs(draft.run, attempt, diagnosis, draft.at.nowMs);
  if (notBeforeMs === undefined) return false;
  const nextAttemptAt = new Date(notBeforeMs).toISOString();
  const data = { ...jobOf(draft.run, attempt), diagnosis, ...endOf(attempt), ...slicesOf(attempt), nextAttemptAt };
  draft.told.push({ type: "run.attempt.failed", group: attempt.group, data });
  openAttempt(draft, attempt.step, { ...step, n: step.n + 1, retries: step.retries + 1 }, { notBeforeMs, after: attempt });
  return true;
}

function endStep(
  draft: Draft,
  attempt: Attempt,
  outcome: StepOutcome,
  found: Pick<Step, "outputs" | "outputsIgnored" | "diagnosis">,
): void {
  const { n, retries } = stepIn(draft, attempt.step);
  setStep(draft, attempt.step, { state: "ended", n, retries, outcome, ...found });
  if (draft.run.plan.simple) return;
  const { group } = attempt;
  const about = jobOf(draft.run, attempt);
  if (outcome === "succeeded") {
    // If the run has volumes, its pods go with them at once: this event alone keeps what the step printed.
    const { exitCode: _, ...end } = endOf(attempt);
    const data = { ...about, outputs: {}, ...found, ...end, ...slicesOf(attempt) };
    draft.told.push({ type: "run.step.succeeded", group, data });
  } else {
    const diagnosis = found.diagnosis ?? diagnose("Unknown", "Nothing that was seen says why.");
    draft.told.push({ type: "run.step.failed", group, data: { ...about, diagnosis, ...endOf(attempt), ...slicesOf(attempt) } });
  }
}

// ── Commands to a run that exists ────────────────────────────────────────────────────────────────────────────────────

function cancelRun(draft: Draft, cancel: Cancel): void {
  if (draft.run.state !== "active") return;
  draft.run = { ...draft.run, state: "cancelling", cancel };
  const { reason, actor } = cancel;
  draft.told.push({
    type: "run.cancelling",
    group: draft.run.group,
    data: { run: draft.run.id, ...(reason !== undefined && { reason }), ...(actor && { actor }) },
  });
  const diagnosis = diagnose("Cancelled", reason === undefined ? "It was cancelled." : `It was cancelled: ${reason}`);
  for (const { step, n, outcome } of draft.attempts)
    if (outcome === undefined) applyToAttempt(draft, step, n, { kind: "cancel", diagnosis });
  openSteps(draft);
}

/**
 * Ends the run as lost, whatever the outcomes of its steps: pods may still run. Blocked steps end first, so that no attempt's
 * end opens one.
 */
function abandonRun(draft: Draft, { reason, actor }: GivenUp): void {
  if (draft.run.state === "ended" || draft.run.state === "tombstone") return;
  for (const { name } of draft.run.plan.steps)
    if (stepIn(draft, name).state === "blocked") skip(draft, name, "the run was given up", { outcome: "lost" });
  const open = draft.attempts.filter((it) => !isOver(it));
  const diagnosis = diagnose("Abandoned", reason === undefined ? "An operator gave it up." : `An operator gave it up: ${reason}`);
  for (const { step: name, n } of open) {
    const before = attemptIn(draft, name, n);
    if (before === undefined) continue;
    const { attempt } = moveAttempt(before, { kind: "abandon", diagnosis }, contextOf(draft, name));
    draft.attempts = draft.attempts.map((it) => (it === before ? attempt : it));
    endStep(draft, attempt, "lost", { diagnosis });
  }
  endRun(draft, "lost", { reason, actor });
}
