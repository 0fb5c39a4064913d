/** The words of a run's events, from its record. One place, so that what the page shows and what is published agree. */
import { diagnose } from "@longshore/contract/diagnosis.ts";
import type { EventData } from "@longshore/contract/event.ts";
import type { News } from "./moves.ts";
import type { Attempt, Run, Told } from "./record.ts";

type About = Pick<EventData<"run.started">, "run" | "step" | "attempt" | "job">;

/** Which run, step and attempt, and which Job if one was ever asked for. */
export function jobOf(run: Run, attempt: Attempt): About {
  const namespace = attempt.notes.namespace ?? "";
  const job = attempt.claimNo > 0 && {
    job: { namespace, name: attempt.name, ...(attempt.uid !== undefined && { uid: attempt.uid }) },
  };
  return { run: run.id, step: attempt.step, attempt: attempt.n, ...job };
}

export function newsOf(run: Run, attempt: Attempt, news: News): Told {
  const { group } = attempt;
  const about = jobOf(run, attempt);
  switch (news.kind) {
    case "waiting": {
      const data = {
        ...about,
        reason: news.reason,
        considered: [...news.considered],
        ...(news.diagnosis && { diagnosis: news.diagnosis }),
      };
      return { type: "run.waiting", group, data };
    }
    case "launched":
      return {
        type: "run.launched",
        group,
        data: { ...about, considered: [...(attempt.notes.considered ?? [])], ...(news.adopted && { adopted: true }) },
      };
    case "started": {
      const { node, pod, imageDigest } = news.evidence;
      return {
        type: "run.started",
        group,
        data: {
          ...about,
          ...(node !== undefined && { node }),
          ...(pod !== undefined && { pod }),
          ...(imageDigest !== undefined && { imageDigest }),
        },
      };
    }
    case "stalled":
      return { type: "run.stalled", group, data: { ...about, diagnosis: news.diagnosis } };
    case "resumed":
      return { type: "run.resumed", group, data: about };
  }
}

/** The one terminal event of a generation. */
export function terminalOf(run: Run, attempts: readonly Attempt[]): Told {
  const ofRun = attempts.filter(({ generation }) => generation === run.generation);
  switch (run.outcome) {
    case "succeeded": {
      const last = ofRun.at(-1);
      const log = last?.outcome?.evidence?.log;
      const data = { ...aboutEnd(run, last), outputs: outputsOf(run), seconds: secondsOf(last), ...(log && { log }) };
      return { type: "run.succeeded", group: run.group, data };
    }
    case "cancelled": {
      const podGoneAt = run.endedAtMs === undefined ? undefined : new Date(run.endedAtMs).toISOString();
      const { reason, actor } = run.cancel ?? {};
      const data = {
        run: run.id,
        ...(reason !== undefined && { reason }),
        ...(actor && { actor }),
        ...(podGoneAt !== undefined && { podGoneAt }),
      };
      return { type: "run.cancelled", group: run.group, data };
    }
    case "lost": {
      const blind = ofRun.findLast(({ outcome }) => outcome?.result === "lost");
      const diagnosis = blind?.outcome?.diagnosis ?? diagnose("Gone", "Its outcome is unknown.");
      return { type: "run.lost", group: run.group, data: { ...aboutEnd(run, blind), diagnosis } };
    }
    case "failed":
    case undefined:
      return failedOf(run, ofRun);
  }
}

function failedOf(run: Run, attempts: readonly Attempt[]): Told {
  const failedSteps = run.plan.steps.filter(({ name }) => run.steps[name]?.outcome === "failed").map(({ name }) => name);
  const culprit = attempts.findLast(({ step, n }) => failedSteps.includes(step) && run.steps[step]?.n === n);
  const diagnosis = (culprit && run.steps[culprit.step]?.diagnosis) ?? diagnose("Unknown", "Nothing that was seen says why.");
  const { exitCode, log } = culprit?.outcome?.evidence ?? {};
  const started = culprit?.started ?? "unknown";
  const data = {
    ...aboutEnd(run, culprit),
    diagnosis,
    started,
    seconds: secondsOf(culprit),
    ...(exitCode !== undefined && { exitCode }),
    ...(log && { log }),
  };
  return { type: "run.failed", group: run.group, data };
}

/** A simple run's end names its attempt; a pipeline's names none but the one to blame. */
function aboutEnd(run: Run, attempt: Attempt | undefined): About {
  return attempt === undefined ? { run: run.id } : jobOf(run, attempt);
}

/** A simple run's outputs as they are; a pipeline's under the names of its steps. */
function outputsOf({ plan, steps }: Run): Record<string, unknown> {
  const written = plan.steps.flatMap(({ name }) =>
    steps[name]?.outputs === undefined ? [] : [[name, steps[name].outputs] as const],
  );
  return plan.simple
    ? { ...written[0]?.[1] }
    : Object.fromEntries(written.filter(([, outputs]) => Object.keys(outputs).length > 0));
}

function secondsOf(attempt: Attempt | undefined): EventData<"run.succeeded">["seconds"] {
  const { scheduledAt, startedAt, finishedAt } = attempt?.outcome?.evidence ?? {};
  const at = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text));
  const between = (from: number | undefined, to: number | undefined): number | undefined =>
    from === undefined || to === undefined || Number.isNaN(to - from) ? undefined : Math.max(0, (to - from) / 1000);
  const launched = attempt?.notes.launchedAtMs;
  const seconds = {
    waiting: between(attempt?.notes.waitsSinceMs, launched),
    scheduling: between(launched, at(scheduledAt)),
    pulling: between(at(scheduledAt), at(startedAt)),
    running: between(at(startedAt), at(finishedAt)),
  };
  return Object.fromEntries(Object.entries(seconds).filter(([, value]) => value !== undefined));
}
