/**
 * The effect of a command on the run that it names, which may or may not exist: the rows to write, or why it is refused.
 *
 * The bugs this prevents: one tenant who learns of another's runs, or changes them; and a cancel that came before its run, and
 * is forgotten.
 */
import { type CommandData, correctedFields, type Corrections } from "@longshore/contract/messages/command.ts";
import type { EventData } from "@longshore/contract/messages/event.ts";
import type { RunId, TenantName } from "@longshore/contract/ids.ts";
import { type CommandProblem, OTHER_CONTENT, type ProblemCode } from "@longshore/contract/problems/problem-codes.ts";
import { MAIN, type RunRequest } from "@longshore/contract/request/request.ts";
import { hasStood, newestAnchor, pinnedTo } from "../anchor/of-run.ts";
import { secretsWith, unknownSecrets } from "../anchor/secrets.ts";
import { storageWith } from "../anchor/storage.ts";
import { advance, type Advanced, type Advancing, cancelOnArrival, openFirst } from "./advance.ts";
import { isFullFor } from "./concurrency.ts";
import { beginRun, type NewRun, restartedSteps, restartRun } from "./begin.ts";
import { andThen, type Change, turnNext } from "./change.ts";
import { NO_PLAN } from "./plan.ts";
import type { Cancel, GivenUp, Plan, Run, RunRecord, Told } from "./record.ts";
import { judgeCorrected } from "./resolve.ts";
import { definitionOf } from "./story.ts";

/**
 * How long a tombstone (a cancel that came before its run) is kept: a request that comes later within this time is cancelled on
 * arrival.
 */
export const TOMBSTONE_MS = 24 * 3_600_000;

export type Admission =
  | {
      readonly kind: "run";
      readonly run: NewRun;
      readonly told: { readonly actor?: Cancel["actor"] };
      /** Why its definition refuses it, now. A run that was accepted earlier with the same content is still a duplicate. */
      readonly problems?: readonly CommandProblem[];
    }
  | { readonly kind: "cancel"; readonly generation: number | undefined; readonly cancel: Cancel }
  | {
      readonly kind: "restart";
      readonly generation: number | undefined;
      readonly from: CommandData<"run.restart">["from"];
      /** Secret values are not among these: only their names are, in `secretNames`. */
      readonly with: Omit<Corrections, "secretValues"> | undefined;
      readonly secretNames?: readonly string[] | undefined;
      readonly actor: Cancel["actor"];
    }
  | { readonly kind: "free" }
  /** The caller has checked that the sender is an operator. */
  | ({ readonly kind: "abandon" } & GivenUp)
  /** A command that could be read but not accepted: the answer is a refusal like any other, and the run's id stays free. */
  | { readonly kind: "invalid"; readonly problems: readonly CommandProblem[] };

export type Verdict =
  /** Write the record (a tombstone's row becomes the run's) and tell the events. */
  | ({ readonly kind: "write" } & Advanced)
  /** The run does not exist and a cancel came: keep the cancel for a day. */
  | { readonly kind: "tombstone"; readonly cancel: Cancel }
  | { readonly kind: "duplicate" }
  | { readonly kind: "refuse"; readonly problems: readonly CommandProblem[] };

const refuse = (code: ProblemCode, message: string): Verdict => ({
  kind: "refuse",
  problems: [{ path: "/data/run", code, message }],
});

export interface Admitting extends Advancing {
  /** How many runs of the new run's tenant and concurrency key have not ended. The caller holds the lock of that key. */
  readonly unfinished?: (run: NewRun) => number;
}

/**
 * `existing`: the run under its lock; `undefined` also if the caller hides the run from this sender, who then gets RunUnknown.
 */
export function admit(existing: RunRecord | undefined, admission: Admission, at: Admitting): Verdict {
  switch (admission.kind) {
    case "run":
      return requested(existing, admission, at);
    case "cancel":
      return cancelled(existing, admission, at);
    case "restart":
      return restarted(existing, admission, at);
    case "invalid":
      return { kind: "refuse", problems: admission.problems };
    case "free":
      return freed(existing, at);
    case "abandon":
      if (existing === undefined || existing.run.state === "tombstone") return refuse("RunUnknown", "No run has this id.");
      if (existing.run.state === "ended") return refuse("AlreadyEnded", "The run is over already.");
      return {
        kind: "write",
        ...advance(existing, { kind: "abandon", reason: admission.reason, actor: admission.actor }, at),
      };
  }
}

function requested(
  existing: RunRecord | undefined,
  { run, told, problems = [] }: Extract<Admission, { kind: "run" }>,
  at: Admitting,
): Verdict {
  if (existing !== undefined && existing.run.state !== "tombstone") {
    if (existing.run.digest === run.digest && existing.run.tenant === run.tenant) return { kind: "duplicate" };
    return refuse("IdempotencyConflict", OTHER_CONTENT);
  }
  if (problems.length > 0) return { kind: "refuse", problems };
  if (existing === undefined && isFullFor(run.plan, at.unfinished?.(run) ?? 0))
    return refuse(
      "ConcurrencyLimit",
      `as many runs with the key "${run.plan.concurrency?.key}" go on or wait as its limit allows`,
    );
  const record = beginRun(run);
  const accepted: Told = {
    type: "run.accepted",
    group: undefined,
    data: {
      run: run.id,
      ...definitionOf(record.run),
      steps: run.plan.steps.map(({ name }) => name),
      ...(told.actor && { actor: told.actor }),
    },
  };
  const begun: RunRecord = { ...record, run: { ...record.run, seq: 1 } };
  const opened = existing === undefined ? openFirst(begun, at) : cancelOnArrival(begun, existing.run.cancel ?? {}, at);
  return { kind: "write", ...opened, told: [accepted, ...opened.told] };
}

function cancelled(
  existing: RunRecord | undefined,
  { generation, cancel }: Extract<Admission, { kind: "cancel" }>,
  at: Advancing,
): Verdict {
  if (existing === undefined) {
    if (generation !== undefined && generation !== 1)
      return refuse("RunUnknown", `No run has this id, so there is no generation ${generation} of it.`);
    return { kind: "tombstone", cancel };
  }
  if (generation !== undefined && generation !== existing.run.generation)
    return otherGeneration(generation, existing.run.generation);
  if (existing.run.state === "tombstone") return { kind: "duplicate" };
  if (existing.run.state === "ended") return refuse("AlreadyEnded", "The run is over already; there is nothing to cancel.");
  if (existing.run.state === "cancelling") return { kind: "duplicate" };
  return { kind: "write", ...advance(existing, { kind: "cancel", cancel }, at) };
}

function restarted(
  existing: RunRecord | undefined,
  { generation, from, with: corrections, secretNames, actor }: Extract<Admission, { kind: "restart" }>,
  at: Advancing,
): Verdict {
  if (existing === undefined || existing.run.state === "tombstone") return refuse("RunUnknown", "No run has this id.");
  if (generation !== undefined && generation !== existing.run.generation)
    return otherGeneration(generation, existing.run.generation);
  if (existing.run.state !== "ended") return refuse("NotEnded", "The run is not over; cancel it first, or wait.");
  if (from !== "failed" && from !== "start" && existing.run.steps[from] === undefined) {
    const message = `The run has no step "${from}"; it has ${Object.keys(existing.run.steps).join(", ")}.`;
    return { kind: "refuse", problems: [{ path: "/data/from", code: "RequestInvalid", message }] };
  }
  const judged = judgeCorrected(existing.run.plan, corrections?.parameters);
  const problems = [
    ...(judged.kind === "invalid" ? judged.problems : []),
    ...correctionProblems(existing.run, from, corrections),
    ...unknownSecrets(existing.run.plan, corrections),
  ];
  if (problems.length > 0 || judged.kind === "invalid") return { kind: "refuse", problems };
  const parameters = corrections?.parameters && judged.value;
  const kept = withVolumes(existing, from, at);
  if (kept === undefined)
    return refuse("VolumesGone", 'The volumes of the run are no longer kept: say `from: "start"`, which makes new ones.');
  const storage = storageWith(existing.run, parameters, pinnedTo(kept) !== undefined);
  if ("problems" in storage) return { kind: "refuse", problems: storage.problems };
  const secrets = secretsWith(existing, storage.storage, secretNames, at.nowMs);
  if ("problems" in secrets) return { kind: "refuse", problems: secrets.problems };
  const begun = restartRun(kept, from, {
    with: byStep(existing.run.plan, corrections),
    ...(parameters && { withParameters: parameters }),
    ...secrets,
  });
  if (Object.values(begun.run.steps).every(({ state }) => state === "ended")) {
    return {
      kind: "refuse",
      problems: [
        { path: "/data/from", code: "AlreadyEnded", message: 'Every step succeeded: say `from: "start"` to run them all again.' },
      ],
    };
  }
  const corrected = [...correctedFields(corrections ?? {}), ...(secretNames ?? []).map((name) => `secretValues.${name}`)];
  const told: Told = {
    type: "run.restarted",
    group: undefined,
    data: { run: begun.run.id, from, ...(corrected.length > 0 && { corrected }), ...(actor && { actor }) },
  };
  const opened = openFirst({ ...begun, run: { ...begun.run, seq: begun.run.seq + 1 } }, at);
  return { kind: "write", ...opened, told: [told, ...opened.told] };
}

/** Gives up what an ended run keeps. If it keeps nothing any more, the command changes nothing. */
function freed(existing: RunRecord | undefined, at: Advancing): Verdict {
  if (existing === undefined || existing.run.state === "tombstone") return refuse("RunUnknown", "No run has this id.");
  if (existing.run.state !== "ended")
    return refuse("NotEnded", "The run is not over and needs its volumes; cancel it first, or wait.");
  const kept = newestAnchor(existing);
  if (kept?.state !== "kept") return { kind: "duplicate" };
  return { kind: "write", ...advance(existing, { kind: "anchor", number: kept.number, input: { kind: "freed" } }, at) };
}

/** Returns the run with the volumes for its next generation: the same ones, or new ones for a run that begins anew. */
function withVolumes(record: RunRecord, from: CommandData<"run.restart">["from"], at: Advancing): RunRecord | undefined {
  const newest = newestAnchor(record);
  if (newest === undefined) return record;
  // Without volumes, all that an anchor owns can be made again.
  const isUnused = newest.state !== "kept" && (!hasStood(record, newest) || record.run.plan.storage?.anchor?.bytes === 0);
  if (newest.state !== "kept" && from !== "start" && !isUnused) return undefined;
  const input = { kind: from === "start" ? "freed" : "restarted" } as const;
  return newest.state === "kept" ? advance(record, { kind: "anchor", number: newest.number, input }, at).record : record;
}

/** A correction that changes nothing would be found out only by the run's next failure. */
function correctionProblems(
  run: Run,
  from: CommandData<"run.restart">["from"],
  given: Corrections = {},
): readonly CommandProblem[] {
  const { steps, parameters = {}, ...flat } = given;
  const names = run.plan.steps.map(({ name }) => name);
  const again = restartedSteps(run, from);
  const problem = (path: string, message: string): CommandProblem => ({
    path: `/data/with/${path}`,
    code: "RequestInvalid",
    message,
  });
  const used = run.plan.parameters ?? [];
  const unused = Object.keys(parameters).flatMap((name) =>
    used.includes(name)
      ? []
      : [
          problem(
            `parameters/${name}`,
            `No expression of this run uses the parameter "${name}"; ${used.length === 0 ? "it uses none." : `it uses ${used.join(", ")}.`}`,
          ),
        ],
  );
  if (run.plan.simple)
    return steps === undefined
      ? unused
      : [...unused, problem("steps", "This run has no named steps: write the fields of `with` without `steps`.")];
  return [
    ...unused,
    ...Object.keys(flat).map((field) =>
      problem(field, `This run has several steps: say which one, as in {"steps": {"${names[0] ?? ""}": {"${field}": …}}}.`),
    ),
    ...Object.keys(steps ?? {}).flatMap((name) => {
      if (!names.some((it) => it === name))
        return problem(`steps/${name}`, `The run has no step "${name}"; it has ${names.join(", ")}.`);
      return again.some((it) => it === name)
        ? []
        : problem(`steps/${name}`, `This restart does not run the step "${name}" again.`);
    }),
  ];
}

function byStep({ simple }: Plan, given: Corrections | undefined): Plan["with"] {
  if (given === undefined || !simple) return given?.steps;
  const { steps: _, parameters: _parameters, ...flat } = given;
  return Object.keys(flat).length === 0 ? undefined : { [MAIN]: flat };
}

const otherGeneration = (asked: number, now: number): Verdict => ({
  kind: "refuse",
  problems: [
    {
      path: "/data/generation",
      code: "RequestInvalid",
      message: `This is about generation ${asked}, and the run is in generation ${now}.`,
    },
  ],
});

export interface Intake {
  /** Absent only for an "invalid" command whose run could not be read. */
  readonly run: RunId | undefined;
  readonly tenant: TenantName;
  readonly source: string;
  /** The command's id. With tenant and source, the id tells that a cancel or a restart is "the same command again". */
  readonly command: string;
  readonly admission: Admission;
  /** The request, kept for the manifest; for `run` admissions only. It has no secret values. */
  readonly request?: RunRequest | undefined;
  /** The secret values of a request, or of a restart that gives others: sealed. */
  readonly sealed?: string | undefined;
  readonly replyTo?: string;
  readonly correlationId?: string;
}

export type Answer =
  | { readonly kind: "write"; readonly change: Change }
  | { readonly kind: "duplicate" }
  | { readonly kind: "refuse"; readonly problems: readonly CommandProblem[] };

/** True if this admission can create a run's row. */
export const isBeginning = ({ admission }: Intake): boolean =>
  admission.kind === "run" || (admission.kind === "cancel" && (admission.generation === undefined || admission.generation === 1));

/** Commands that are recognised by their own id when they come again. A request is recognised by its run's id and content. */
export const isRemembered = ({ admission: { kind } }: Intake): boolean =>
  kind === "cancel" || kind === "restart" || kind === "free" || kind === "abandon";

/** `existing`: the run under its lock, of any tenant. */
export function answerCommand(existing: Change | undefined, intake: Intake, at: Admitting): Answer {
  if (intake.admission.kind === "invalid") return { kind: "refuse", problems: intake.admission.problems };
  const found = existing?.after;
  const foreign = found !== undefined && isForeign(found.run, intake);
  const isStone = found?.run.state === "tombstone";
  const worn = isStone && at.nowMs - found.run.acceptedAtMs >= TOMBSTONE_MS;
  if (foreign && !worn && !(isStone && intake.admission.kind === "run")) return ofAnother(intake);

  const visible = worn || foreign ? undefined : found;
  const admission =
    intake.admission.kind === "run"
      ? { ...intake.admission, run: { ...intake.admission.run, nowMs: at.nowMs } }
      : intake.admission;
  return answerOf(admit(visible, admission, at), existing, intake, at);
}

/**
 * Returns the answer to a duplicate; `undefined` if the command names nobody to answer, or no run that its sender may see.
 */
export function duplicateOf(existing: Change | undefined, intake: Intake): EventData<"command.duplicate"> | undefined {
  const found = existing?.after.run;
  if (found === undefined || intake.replyTo === undefined || isForeign(found, intake) || found.state === "tombstone")
    return undefined;
  const { id: run, state, outcome } = found;
  return { run, command: intake.command, state, ...(outcome !== undefined && { outcome }) };
}

/** Operators may send commands for every tenant's runs. */
const isForeign = ({ tenant }: Run, intake: Intake): boolean => tenant !== intake.tenant && intake.admission.kind !== "abandon";

function answerOf(verdict: Verdict, existing: Change | undefined, intake: Intake, at: Advancing): Answer {
  switch (verdict.kind) {
    case "duplicate":
    case "refuse":
      return verdict;
    case "tombstone": {
      const record = { run: tombstone(intake, verdict.cancel, at.nowMs), attempts: [] };
      return { kind: "write", change: { before: existing?.before, after: record, told: [], strays: [] } };
    }
    case "write": {
      const change = andThen(existing ?? { before: undefined, after: verdict.record, told: [], strays: [] }, verdict);
      return { kind: "write", change: turnNext(change, at) };
    }
  }
}

/**
 * The answer says as little as possible about another tenant's run: the sender of a cancel or restart reads that there is no
 * such run.
 */
function ofAnother({ admission }: Intake): Answer {
  const [code, message] =
    admission.kind === "run"
      ? (["IdempotencyConflict", "This id is taken; use another one, for example with a prefix of your own."] as const)
      : (["RunUnknown", "No run has this id."] as const);
  return { kind: "refuse", problems: [{ path: "/data/run", code, message }] };
}

function tombstone({ run, tenant, source }: Intake, cancel: Cancel, nowMs: number): Run {
  if (run === undefined) throw new TypeError("a cancel without a run's id is not an admission");
  return {
    id: run, tenant, source, digest: "", state: "tombstone", outcome: undefined, generation: 1, seq: 0, group: undefined, cancel,
    plan: NO_PLAN, steps: {}, acceptedAtMs: nowMs, endedAtMs: undefined,
  }; // biome-ignore format: a value read as one
}
