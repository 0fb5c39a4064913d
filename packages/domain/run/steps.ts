/**
 * The step's table for steps that depend on each other, and the run's end: which steps one step's end opens or skips, and which
 * outcome all of them give the run.
 *
 * The bugs this prevents: a run that waits for ever on a step that nobody will open; "cancelled" said of a run whose work
 * completed before the cancel reached it; and "succeeded" said of a run with a step left undone.
 */
import type { Outcome } from "@longshore/contract/event.ts";
import type { StepName } from "@longshore/contract/ids.ts";
import { type Draft, openAttempt, setStep, stepIn } from "./draft.ts";
import type { GivenUp, PlannedStep, Run, Step } from "./record.ts";
import { terminalOf } from "./story.ts";

/** Opens or skips blocked steps until none changes, then ends the run if every step has ended. */
export function openSteps(draft: Draft): void {
  for (let changed = true; changed; ) {
    changed = false;
    for (const planned of draft.run.plan.steps) changed = openOrSkip(draft, planned) || changed;
  }
  const steps = Object.values(draft.run.steps);
  if (draft.run.state !== "ended" && steps.every(({ state }) => state === "ended")) endRun(draft, outcomeOf(draft.run));
}

function openOrSkip(draft: Draft, { name, needs, when }: PlannedStep): boolean {
  const step = stepIn(draft, name);
  if (step.state !== "blocked") return false;
  if (draft.run.state === "cancelling") {
    skip(draft, name, "the run was cancelled", { outcome: "skipped", skippedBy: "cancel" });
    return true;
  }
  const needed = needs.map((need) => stepIn(draft, need));
  if (needed.some(({ state }) => state !== "ended")) return false;
  if (mayRun(when, needed)) openAttempt(draft, name, { state: "open", n: step.n + 1, retries: 0 });
  else
    skip(draft, name, when === "success" ? "a step that it needs did not succeed" : "no step that it needs failed", {
      outcome: "skipped",
    });
  return true;
}

function mayRun(when: PlannedStep["when"], needed: readonly Step[]): boolean {
  switch (when) {
    case "success":
      return needed.every(({ outcome }) => outcome === "succeeded");
    case "failure":
      return needed.some(({ outcome }) => outcome === "failed" || outcome === "lost");
    case "always":
      return true;
  }
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
  draft.told.push(terminalOf(draft.run, draft.attempts, by));
}

function outcomeOf({ state, steps, plan }: Run): Outcome {
  const all = Object.values(steps);
  const isUndone = ({ outcome, skippedBy }: Step): boolean => outcome === "cancelled" || skippedBy === "cancel";
  if (state === "cancelling" && all.some(isUndone)) return "cancelled";
  if (all.some(({ outcome }) => outcome === "lost")) return "lost";
  const isHandled = (failed: StepName): boolean =>
    plan.steps.some(
      ({ name, needs, when }) => when !== "success" && needs.includes(failed) && steps[name]?.outcome === "succeeded",
    );
  if (plan.steps.some(({ name }) => steps[name]?.outcome === "failed" && !isHandled(name))) return "failed";
  // An earlier generation's cancel left the step undone, and the restart did not name it.
  return all.some(isUndone) ? "failed" : "succeeded";
}
