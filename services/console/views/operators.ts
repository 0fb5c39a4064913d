/**
 * One run as operators see it: where it ran and why there, each attempt with its Job and pod, and how long each phase took.
 *
 * The failure this prevents: a chart whose bars and whose table were made of different times.
 */
import { isGone, jobCommands, namespacesOf } from "@longshore/domain/run/job-commands.ts";
import type { Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import type { StoryEvent } from "@longshore/ledger/port.ts";
import type { AttemptView, OperatorsView, Phase } from "../answers.ts";

/** `selector` selects the Jobs and pods of the run. */
export function operatorsView(record: RunRecord, story: readonly StoryEvent[], selector: string): OperatorsView {
  const { run, attempts } = record;
  const placed = attempts.filter(({ claimNo }) => claimNo > 0);
  const last = placed.at(-1);
  const group = run.group ?? last?.group;
  const job = isGone(last) ? undefined : last?.name;
  const inPocket = last?.notes.embedded === true;
  return {
    ...(group !== undefined && { group }),
    considered: attempts.at(-1)?.notes.considered ?? [],
    attempts: attempts.map((it) => attemptView(it, story)),
    commands: inPocket ? [] : jobCommands("kubectl", { namespace: last?.notes.namespace, job }, namespacesOf(record), selector),
    ...(run.plan.definition && { digest: run.plan.definition.digest }),
    source: run.source,
  };
}

function attemptView(attempt: Attempt, story: readonly StoryEvent[]): AttemptView {
  const { step, n, group, name, claimNo, outcome, notes } = attempt;
  const { pod, node } = startOf(attempt, story);
  const { exitCode } = outcome?.evidence ?? {};
  return {
    step,
    number: n,
    phases: phasesOf(attempt, story),
    ...(group !== undefined && { group }),
    ...(notes.namespace !== undefined && { namespace: notes.namespace }),
    ...(claimNo > 0 && { job: name }),
    ...(pod !== undefined && { pod }),
    ...(node !== undefined && { node }),
    ...(exitCode !== undefined && { exitCode }),
    ...(outcome && { result: outcome.result }),
    ...(outcome?.diagnosis && { code: outcome.diagnosis.code }),
  };
}

interface Started {
  readonly pod?: string | undefined;
  readonly node?: string | undefined;
}

/** While it runs, only the story names the pod; at its end the evidence does, too. */
function startOf(attempt: Attempt, story: readonly StoryEvent[]): Started {
  const { pod, node } = attempt.outcome?.evidence ?? {};
  if (pod !== undefined) return { pod, node };
  return (eventOf(attempt, "run.started", story)?.data ?? {}) as Started;
}

function eventOf({ step, n }: Attempt, type: StoryEvent["type"], story: readonly StoryEvent[]): StoryEvent | undefined {
  return story.findLast((it) => {
    const of = it.data as { readonly step?: string; readonly attempt?: number };
    return it.type === type && of.step === step && of.attempt === n;
  });
}

/** All by the ledger's clock, as the story: a cluster's may be another. */
function phasesOf(attempt: Attempt, story: readonly StoryEvent[]): readonly Phase[] {
  const launchedMs = eventOf(attempt, "run.launched", story)?.atMs;
  const startedMs = eventOf(attempt, "run.started", story)?.atMs;
  const endMs = attempt.outcome?.endedAtMs;
  const phase = (name: Phase["name"], fromMs: number | undefined, toMs: number | undefined): readonly Phase[] =>
    fromMs === undefined ? [] : [{ name, fromMs, ...(toMs !== undefined && { toMs: Math.max(fromMs, toMs) }) }];
  return [
    ...phase("waiting", attempt.notes.waitsSinceMs, launchedMs ?? endMs),
    ...phase("starting", launchedMs, startedMs ?? endMs),
    ...phase("running", startedMs, endMs),
  ];
}
