/**
 * The step's table: which steps one step's end opens or skips, when a failed step is tried again, and which outcome all of them
 * give the run.
 *
 * The bugs this prevents: a run that waits for ever on a step that nobody will open; a run that is called "cancelled" although
 * its work completed before the cancel reached it, or "succeeded" although a step was left undone; and work that may have run
 * and is run again without being asked for.
 */
import { diagnose, DIAGNOSES, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { GroupName, StepName } from "@longshore/contract/ids.ts";
import { renderedIf } from "@longshore/contract/expressions/rendering.ts";
import type { RetryCause } from "@longshore/contract/request/request.ts";
import { parametersIn } from "@longshore/contract/expressions/template.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import { runEnded } from "../anchor/of-run.ts";
import type { InputOf } from "../attempt/input.ts";
import type { Group } from "../group/group.ts";
import { beginAttempt, type Names } from "./begin.ts";
import { limitsFor } from "./plan.ts";
import type { Anchor, Attempt, GivenUp, PlannedStep, Run, RunRecord, Step, Stray, Told } from "./record.ts";
import { isParked, isSatisfied } from "./record.ts";
import { outputsOf, terminalOf, valuesOf, withHintFilled } from "./story.ts";

/** Opens or skips blocked steps until none changes, then ends the run if every step has ended. */
export function openSteps(draft: Draft): void {
  for (let changed = true; changed; ) {
    changed = false;
    for (const planned of draft.run.plan.steps) changed = openOrSkip(draft, planned) || changed;
  }
  const steps = Object.values(draft.run.steps);
  if (draft.run.state !== "ended" && steps.every(({ state }) => state === "ended")) endRun(draft, outcomeOf(draft.run));
}

function openOrSkip(draft: Draft, planned: PlannedStep): boolean {
  const { name, needs, when } = planned;
  const step = stepIn(draft, name);
  if (step.state !== "blocked") return false;
  if (draft.run.state === "cancelling") {
    skip(draft, name, "the run was cancelled", { outcome: "skipped", skippedBy: "cancel" });
    return true;
  }
  const needed = needs.map((need) => stepIn(draft, need));
  if (needed.some(({ state }) => state !== "ended")) return false;
  if (mayRun(when, needed)) openIf(draft, planned, step);
  else
    skip(draft, name, when === "success" ? "a step that it needs did not succeed" : "no step that it needs failed", {
      outcome: "skipped",
    });
  return true;
}

function mayRun(when: PlannedStep["when"], needed: readonly Step[]): boolean {
  switch (when) {
    case "success":
      return needed.every(isSatisfied);
    case "failure":
      return needed.some(({ outcome }) => outcome === "failed" || outcome === "lost");
    case "always":
      return true;
  }
}

/** Opens a step whose turn has come, unless its own `if` says no. */
function openIf(draft: Draft, planned: PlannedStep, step: Step): void {
  const { name } = planned;
  const runs = runsBy(draft.run, planned);
  if (runs === true) return openAttempt(draft, name, { state: "open", n: step.n + 1, retries: 0 });
  if (runs === false) return skip(draft, name, "its own `if` is false", { outcome: "skipped", skippedBy: "if" });
  const diagnosis = diagnose("OutputsInvalid", runs.problem, [], "Let the step write true, false or null as this output.");
  setStep(draft, name, { state: "ended", n: step.n, retries: step.retries, outcome: "failed", skippedBy: "if", diagnosis });
  draft.told.push({ type: "run.step.failed", group: undefined, data: { run: draft.run.id, step: name, diagnosis } });
}

/** A restart may have corrected the parameter that `if` names. */
function runsBy(run: Run, { if: condition }: PlannedStep): boolean | { readonly problem: string } {
  if (condition === undefined) return true;
  const { given, known } = condition;
  const isCorrected = parametersIn(given).some((name) => Object.hasOwn(run.plan.withParameters ?? {}, name));
  return known !== undefined && !isCorrected ? known : renderedIf(given, valuesOf(run));
}

/** Ends a step that had no attempt in this generation. */
export function skip(draft: Draft, name: StepName, why: string, as: Pick<Step, "outcome" | "skippedBy">): void {
  const { n, retries } = stepIn(draft, name);
  setStep(draft, name, { state: "ended", n, retries, ...as });
  if (!draft.run.plan.simple)
    draft.told.push({ type: "run.step.skipped", group: undefined, data: { run: draft.run.id, step: name, why } });
}

export function endRun(draft: Draft, outcome: Outcome, by: GivenUp = {}): void {
  draft.run = { ...draft.run, state: "ended", outcome, endedAtMs: draft.at.nowMs };
  runEnded(draft, outcome);
  draft.told.push(terminalOf(draft.run, draft.attempts, by));
}

function outcomeOf(run: Run): Outcome {
  const { state, steps, plan } = run;
  const all = Object.values(steps);
  const isUndone = ({ outcome, skippedBy }: Step): boolean => outcome === "cancelled" || skippedBy === "cancel";
  if (state === "cancelling" && all.some(isUndone)) return "cancelled";
  if (all.some(({ outcome }) => outcome === "lost")) return "lost";
  const isHandled = (failed: StepName): boolean =>
    plan.steps.some(
      ({ name, needs, when }) => when !== "success" && needs.includes(failed) && steps[name]?.outcome === "succeeded",
    );
  if (plan.steps.some(({ name }) => steps[name]?.outcome === "failed" && !isHandled(name))) return "failed";
  if (outputsOf(run).kind === "failed") return "failed";
  // If an earlier generation's cancel left a step undone and the restart did not name that step, the run fails.
  return all.some(isUndone) ? "failed" : "succeeded";
}

// ── The draft: one call works on it, and nothing outside sees it before the call returns ─────────────────────────────

/** `record` stays the same object if nothing of it changed, and only then. */
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

export interface Draft {
  readonly before: RunRecord;
  readonly at: Advancing;
  run: Run;
  attempts: readonly Attempt[];
  anchors: readonly Anchor[];
  readonly told: Told[];
  readonly strays: Stray[];
  illegal: boolean;
}

const NO_ANCHORS: readonly Anchor[] = [];

export const draftOf = (record: RunRecord, at: Advancing): Draft => ({
  before: record,
  at,
  run: record.run,
  attempts: record.attempts,
  anchors: record.anchors ?? NO_ANCHORS,
  told: [],
  strays: [],
  illegal: false,
});

export function advancedOf({ before, run, attempts, anchors, told, strays, illegal }: Draft): Advanced {
  const sameAnchors = anchors === (before.anchors ?? NO_ANCHORS);
  const same = run === before.run && attempts === before.attempts && sameAnchors && told.length === 0;
  const counted = told.length === 0 ? run : { ...run, seq: run.seq + told.length };
  const record = same ? before : { run: counted, attempts, ...(anchors.length > 0 && { anchors }) };
  return { record, told: told.map((it) => withHintFilled(it, attempts)), strays, illegal };
}

export function stepIn({ run }: Draft, name: StepName): Step {
  const step = run.steps[name];
  if (step === undefined) throw new TypeError(`the run ${run.id} has no step "${name}"`);
  return step;
}

export function setStep(draft: Draft, name: StepName, step: Step): void {
  draft.run = { ...draft.run, steps: { ...draft.run.steps, [name]: step } };
}

/**
 * Opens the step's next attempt, which then waits. A retry waits until `notBeforeMs` and prefers another group than that of
 * `after`.
 */
export function openAttempt(
  draft: Draft,
  name: StepName,
  step: Step,
  {
    notBeforeMs,
    after,
    waitUntilMs,
  }: { readonly notBeforeMs?: number; readonly after?: Attempt; readonly waitUntilMs?: number } = {},
): void {
  setStep(draft, name, step);
  draft.attempts = [...draft.attempts, beginAttempt(draft.run, name, step.n, { ...draft.at, notBeforeMs, after, waitUntilMs })];
}

// ── Retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Returns the cause that `retries.on` must name for this failure to be tried again; `undefined`: no cause allows a retry. */
export function retryCause(diagnosis: Diagnosis, started: Attempt["started"]): RetryCause | undefined {
  const { retry } = DIAGNOSES[diagnosis.code];
  if (retry === "never" || !diagnosis.retryable) return undefined;
  if (started === "no") return "never-started";
  return retry === "never-started" ? "infrastructure" : retry;
}

/** By default no program is run again that failed by itself. Whoever asked for retries and gets none is told why. */
export function untried({ plan }: Run, { step, started }: Attempt, diagnosis: Diagnosis): Diagnosis {
  const isAsked = plan.steps.some((it) => it.name === step && it.retriesAsked === true);
  const isExpected = isAsked && retryCause(diagnosis, started) === "failure";
  if (!isExpected || limitsFor(plan, step).retriesOn.includes("failure")) return diagnosis;
  const why = "It was not tried again, since `retries.on` does not name `failure`: a program's own failure.";
  return { ...diagnosis, sentence: `${diagnosis.sentence} ${why}` };
}

/** Returns when the step's next attempt may be placed; `undefined`: there is none. A cancelled run is never retried. */
export function retryAtMs(run: Run, attempt: Attempt, diagnosis: Diagnosis, nowMs: number): number | undefined {
  if (run.state !== "active" || retriesLeft(run, attempt, diagnosis) <= 0) return undefined;
  const { backoffFirstMs, backoffMostMs } = limitsFor(run.plan, attempt.step);
  return nowMs + Math.min(backoffMostMs, backoffFirstMs * 2 ** retriesOf(run, attempt.step));
}

/** How often the step is tried again at most, if this attempt fails with this diagnosis. */
export function retriesLeft(run: Run, { step, started }: Pick<Attempt, "step" | "started">, diagnosis: Diagnosis): number {
  const { retriesMax, retriesOn } = limitsFor(run.plan, step);
  const cause = retryCause(diagnosis, started);
  return cause !== undefined && retriesOn.includes(cause) ? retriesMax - retriesOf(run, step) : 0;
}

const retriesOf = ({ steps }: Run, step: StepName): number => steps[step]?.retries ?? 0;

/** An attempt that waits for an earlier one is woken by `turnNext`. If the wake-up was missed, it is judged after this time. */
const EARLIER_CHECK_MS = 30_000;
/** An earlier attempt is usually out of the way within a second or two. Only a longer wait is worth an event. */
const EARLIER_QUIET_MS = 10_000;

/** The reason to wait that `run.waiting` tells. */
export const EARLIER = "EarlierAttempt" satisfies WaitWord;

/** True if nothing of an earlier attempt runs or can start, so that the step's next attempt may start. */
export const isOutOfTheWay = (earlier: Attempt): boolean => earlier.state === "done" || isParked(earlier);

export type HeldBack = { readonly kind: "heldBack"; readonly untilMs: number };

/**
 * Returns why an attempt may not be placed yet: an earlier attempt of its step is not out of the way. `undefined`: it may be
 * placed, or its time is over. All earlier attempts count, because a create of each may still land. Earlier looks at a group
 * that moved show nothing.
 */
export function heldBack(
  { attempts }: RunRecord,
  { step, n, notes }: Attempt,
  groups: readonly Group[],
  nowMs: number,
): HeldBack | InputOf<"noPlace"> | undefined {
  const isMoved = (name: GroupName | undefined): boolean =>
    groups.some((it) => it.name === name && it.diagnosis?.code === "GroupMoved");
  const earlier = attempts.find(
    (it) => it.step === step && it.n < n && (!isOutOfTheWay(it) || (it.state !== "done" && isMoved(it.group))),
  );
  if (earlier === undefined || nowMs >= notes.waitUntilMs) return undefined;
  const quietMs = Math.min(notes.waitUntilMs, notes.waitsSinceMs + EARLIER_QUIET_MS);
  if (nowMs < quietMs) return { kind: "heldBack", untilMs: quietMs };
  const { group } = earlier;
  const why = `The Job of attempt ${earlier.n} may still run there, or come to run.`;
  const considered = group === undefined ? [] : [{ group, verdict: "skipped" as const, why }];
  return { kind: "noPlace", reason: EARLIER, considered, retryAtMs: nowMs + EARLIER_CHECK_MS };
}
