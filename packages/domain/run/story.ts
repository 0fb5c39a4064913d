/** The words of a run's events, made from its record, in one place, so that `runs show` and the published events agree. */
import { diagnose, type Diagnosis, withoutBlanks } from "@longshore/contract/messages/diagnosis.ts";
import type { EventData } from "@longshore/contract/messages/event.ts";
import type { DefinitionName } from "@longshore/contract/ids.ts";
import { renderedOutputs, type Values } from "@longshore/contract/expressions/rendering.ts";
import { embeddedHint } from "../diagnosis/embedded-hints.ts";
import type { News } from "../attempt/moves/move.ts";
import type { ReadOutputs } from "./outputs.ts";
import { type Attempt, finishedAt, type GivenUp, type Run, type StepOutcome, type Told } from "./record.ts";

type About = Pick<EventData<"run.started">, "run" | "step" | "attempt" | "job">;

/** Names the run, step and attempt, and the Job if its create was ever claimed. */
export function jobOf(run: Run, { step, n, name, group, uid, claimNo, notes }: Attempt): About {
  const about = { run: run.id, step, attempt: n };
  if (claimNo === 0 || group === undefined) return about;
  return { ...about, job: { namespace: notes.namespace ?? "", name, ...(uid !== undefined && { uid }) } };
}

type End = Pick<EventData<"run.step.failed">, "exitCode" | "log" | "finishedAt">;

/** How and when the attempt's program ended, as far as that was seen. */
export function endOf({ outcome }: Pick<Attempt, "outcome">): End {
  const { exitCode, log, finishedAt: at } = outcome?.evidence ?? {};
  return { ...(exitCode !== undefined && { exitCode }), ...(log && { log }), ...(at !== undefined && { finishedAt: at }) };
}

/** How its slices ended, without what only the outputs need. */
export function slicesOf({ outcome }: Pick<Attempt, "outcome">): Pick<EventData<"run.step.failed">, "slices"> {
  if (outcome?.evidence?.slices === undefined) return {};
  const { count, succeeded, failed, told } = outcome.evidence.slices;
  return { slices: { count, succeeded, failed, ...(told && { told }) } };
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
        ...(news.reason === "ConcurrencyLimit" && concurrencyOf(run)),
      };
      return { type: "run.waiting", group, data };
    }
    case "launched":
      return {
        type: "run.launched",
        group,
        data: {
          ...about,
          considered: [...(attempt.notes.considered ?? [])],
          ...(news.adopted && { adopted: true }),
          ...(attempt.notes.hold === false && { weaker: ["one-job-per-attempt", "every-end-is-told"] }),
          ...(attempt.slots !== undefined && { parallelism: attempt.slots }),
        },
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
    case "progressed":
      return { type: "run.progressed", group, data: { ...about, slices: news.slices } };
  }
}

function concurrencyOf({ plan: { concurrency } }: Run): Pick<EventData<"run.waiting">, "concurrency"> {
  return concurrency === undefined ? {} : { concurrency: { key: concurrency.key, limit: concurrency.limit } };
}

/** Makes the hint one that its reader can follow: without blanks, and without the tools of a cluster for the embedded one. */
export function withHintFilled(told: Told, attempts: readonly Attempt[]): Told {
  const { group } = told;
  const { run, step, attempt, job, diagnosis }: About & Pick<EventData<"run.waiting">, "diagnosis"> = told.data;
  if (diagnosis === undefined) return told;
  const of = attempts.find((it) => it.step === step && it.n === attempt);
  const filled = withoutBlanks(diagnosisFor(of, diagnosis), { run, group, job: job?.name, namespace: job?.namespace });
  return { ...told, data: { ...told.data, diagnosis: filled } } as Told;
}

/** The diagnosis as the reader of this attempt can use it. */
export const diagnosisFor = (attempt: Attempt | undefined, diagnosis: Diagnosis): Diagnosis =>
  attempt?.notes.embedded === true ? { ...diagnosis, hint: embeddedHint(diagnosis.code, diagnosis.hint) } : diagnosis;

/** Makes the one terminal event of a generation. */
export function terminalOf(run: Run, attempts: readonly Attempt[], { reason, actor }: GivenUp = {}): Told {
  const { group } = run;
  switch (run.outcome) {
    case "succeeded": {
      const read = outputsOf(run);
      const outputs = read.kind === "outputs" ? read.outputs : {};
      const of = run.plan.simple ? attemptOf(run, attempts, "succeeded") : undefined;
      const { log } = of === undefined ? {} : endOf(of);
      const ignored = of && run.steps[of.step]?.outputsIgnored;
      const at = finishedAt({ run, attempts });
      const data = {
        ...aboutEnd(run, of),
        outputs: { ...outputs },
        ...(ignored !== undefined && { outputsIgnored: ignored }),
        ...(of && slicesOf(of)),
        seconds: secondsOf(newest(run, attempts)),
        ...(log && { log }),
        ...(at !== undefined && { finishedAt: at }),
      };
      return { type: "run.succeeded", group, data };
    }
    case "cancelled":
      return cancelledOf(run, attempts);
    case "lost": {
      const of = attemptOf(run, attempts, "lost");
      const diagnosis = of?.outcome?.diagnosis ?? diagnose("Gone", "Its outcome is unknown.");
      const who = { ...(reason !== undefined && { reason }), ...(actor && { actor }) };
      return { type: "run.lost", group, data: { ...aboutEnd(run, of), ...who, diagnosis } };
    }
    case "failed":
    case undefined:
      return failedOf(run, attempts);
  }
}

function cancelledOf(run: Run, attempts: readonly Attempt[]): Told {
  const { reason, actor } = run.cancel ?? {};
  // `podGoneAt` is told only if a Job existed.
  const ran = newest(run, attempts).some(({ uid }) => uid !== undefined);
  const podGoneAt = ran && run.endedAtMs !== undefined ? new Date(run.endedAtMs).toISOString() : undefined;
  const cancelled = attemptOf(run, attempts, "cancelled");
  const { log } = cancelled === undefined ? {} : endOf(cancelled);
  const data = {
    run: run.id,
    ...(reason !== undefined && { reason }),
    ...(actor && { actor }),
    ...(podGoneAt !== undefined && { podGoneAt }),
    ...(log && { log }),
  };
  return { type: "run.cancelled", group: run.group, data };
}

function failedOf(run: Run, attempts: readonly Attempt[]): Told {
  const culprit = attemptOf(run, attempts, "failed") ?? attemptOf(run, attempts, "cancelled");
  const diagnosis = diagnosisOf(run, culprit) ?? diagnose("Unknown", "Nothing that was seen says why.");
  const data = {
    ...aboutEnd(run, culprit),
    diagnosis,
    ...definitionOf(run),
    ...(run.plan.definition?.owner && { owner: run.plan.definition.owner }),
    started: culprit?.started ?? ("unknown" as const),
    seconds: secondsOf(culprit ? [culprit] : []),
    ...(culprit && { ...endOf(culprit), ...slicesOf(culprit) }),
  };
  return { type: "run.failed", group: run.group, data };
}

/** The definition's name, for events of a run that was made of one. */
export const definitionOf = ({ plan: { definition } }: Run): { readonly definition?: DefinitionName } =>
  definition === undefined ? {} : { definition: definition.name };

/** A step whose `if` cannot be read has no attempt, and the run's own outputs belong to no step. */
function diagnosisOf(run: Run, culprit: Attempt | undefined): Diagnosis | undefined {
  if (culprit !== undefined) return run.steps[culprit.step]?.diagnosis;
  const read = outputsOf(run);
  return (
    Object.values(run.steps).find(({ outcome }) => outcome === "failed")?.diagnosis ??
    (read.kind === "failed" ? read.diagnosis : undefined)
  );
}

/** Returns each step's newest attempt of this generation, in the plan's order. */
const newest = ({ plan, steps, generation }: Run, attempts: readonly Attempt[]): readonly Attempt[] =>
  plan.steps.flatMap(({ name }) =>
    attempts.filter((it) => it.generation === generation && it.step === name && it.n === steps[name]?.n),
  );

/** Returns the newest attempt of the first step with this outcome. */
function attemptOf({ plan, steps }: Run, attempts: readonly Attempt[], outcome: StepOutcome): Attempt | undefined {
  const name = plan.steps.map((it) => it.name).find((it) => steps[it]?.outcome === outcome && steps[it].skippedBy === undefined);
  return name === undefined ? undefined : attempts.find(({ step, n }) => step === name && n === steps[name]?.n);
}

/** The end of a simple run names its attempt. The end of a pipeline names only the attempt to blame, if there is one. */
const aboutEnd = (run: Run, attempt: Attempt | undefined): About =>
  attempt === undefined ? { run: run.id } : jobOf(run, attempt);

/** The values that expressions can name once steps have run, without the request's own parameters. */
export const valuesOf = ({ id, plan, steps }: Pick<Run, "id" | "plan" | "steps">): Values => ({
  run: { id },
  parameters: plan.withParameters,
  steps: Object.fromEntries(Object.entries(steps).map(([name, { outputs = null }]) => [name, { outputs }])),
});

/** Returns a simple run's outputs as they are, and a pipeline's as it declares them, else under the names of its steps. */
export function outputsOf(run: Run): ReadOutputs {
  const { plan, steps } = run;
  if (plan.outputs !== undefined) {
    const read = renderedOutputs(plan.outputs, valuesOf(run));
    if ("outputs" in read) return { kind: "outputs", outputs: read.outputs };
    return { kind: "failed", diagnosis: diagnose("OutputsTooLarge", read.problem) };
  }
  const written = plan.steps.flatMap(({ name }) =>
    steps[name]?.outputs === undefined ? [] : [[name, steps[name].outputs] as const],
  );
  const outputs = plan.simple
    ? { ...written[0]?.[1] }
    : Object.fromEntries(written.filter(([, outputs]) => Object.keys(outputs).length > 0));
  return { kind: "outputs", outputs };
}

type Seconds = EventData<"run.succeeded">["seconds"];

/** How long each phase took, added up over a pipeline's steps; a phase that nobody saw is absent. */
function secondsOf(attempts: readonly Attempt[]): Seconds {
  const all = attempts.map(msOfPhases);
  const total: Seconds = {};
  for (const phase of ["waiting", "scheduling", "pulling", "running"] as const) {
    const seen = all.flatMap((it) => it[phase] ?? []);
    // Added as milliseconds: of seconds, 1.2 and 0.12 are 1.3199999999999998.
    if (seen.length > 0) total[phase] = Math.round(seen.reduce((sum, ms) => sum + ms)) / 1000;
  }
  return total;
}

/** Pulling and running lie between two times of the cluster's clock; scheduling lies between our clock and the cluster's. */
function msOfPhases({ outcome, notes }: Attempt): { readonly [K in keyof Seconds]: number | undefined } {
  const { scheduledAt, startedAt, finishedAt } = outcome?.evidence ?? {};
  return {
    waiting: between(notes.waitsSinceMs, notes.launchedAtMs),
    scheduling: between(notes.launchedAtMs, msOf(scheduledAt)),
    pulling: between(msOf(scheduledAt), msOf(startedAt)),
    running: between(msOf(startedAt), msOf(finishedAt)),
  };
}

const msOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text));

const between = (fromMs: number | undefined, toMs: number | undefined): number | undefined =>
  fromMs === undefined || toMs === undefined || Number.isNaN(toMs - fromMs) ? undefined : Math.max(0, toMs - fromMs);
