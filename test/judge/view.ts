/**
 * The history of an installation in the form that the rules need. The simulation makes this view of its world, the chaos tests
 * make it of their five journals.
 *
 * The failure this prevents: two judges with separate rules, of which one misses what the other finds.
 */

/** A rule's name, and how it was broken. */
export interface Broken {
  readonly invariant: string;
  readonly message: string;
}

/** "taken": the run was accepted, or the command was carried out. */
export type CommandEnd = "taken" | "refused" | "quarantined";

/** A command that upstream published. */
export interface Command {
  readonly id: string;
  readonly type: string;
  readonly run: string;
  /** Canonical JSON: two commands with the same text ask for the same. */
  readonly content: string;
  /** True if the broker confirmed the command. */
  readonly confirmed: boolean;
  readonly is: Readonly<Record<CommandEnd, boolean>>;
  /** Each of these is a right end of the command. */
  readonly mayBe: readonly CommandEnd[];
}

/** An event as a listener heard it. */
export interface Heard {
  readonly id: string;
  readonly run: string;
  readonly sequence: number;
  readonly generation: number;
  readonly type: string;
}

/** An event as the ledger has it. */
export interface Told extends Omit<Heard, "id"> {
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Run {
  readonly id: string;
  readonly state: string;
  readonly outcome: string | undefined;
  readonly generation: number;
  readonly seq: number;
}

/**
 * The rules that a fault suspends. "one Job": one rule of G3. "start" and "end": G5, no false start, no false end. "behind":
 * G10, nothing runs behind an end.
 */
export type Lifted = "one Job" | "start" | "end" | "behind";

/** Our deletion of a Job, with the reason that the outcome names. `atMs` is undefined if nobody saw a deletion. */
export interface Closing {
  readonly reason: "deadline" | "no start" | "no timer";
  readonly atMs: number | undefined;
}

export interface Attempt {
  readonly run: string;
  readonly step: string;
  readonly n: number;
  readonly generation: number;
  /** The name of every Job that was ever created for the attempt. */
  readonly name: string;
  readonly state: string;
  /** The UID of the Job that the ledger knows as the attempt's own. */
  readonly uid: string | undefined;
  readonly started: string;
  readonly cause: string | undefined;
  readonly result: string | undefined;
  readonly code: string | undefined;
  readonly recordedMs: number | undefined;
  readonly deadlineMs: number | undefined;
  readonly closing: Closing | undefined;
  readonly lifted: readonly Lifted[];
  /** An exception of G3: a later attempt of the step may run beside this one, if its Job was created before this time. */
  readonly besideMs: number | undefined;
}

/** The time of something that a watch told late, so that its real time is unknown. It counts as before all other times. */
export const SOMETIME = Number.NEGATIVE_INFINITY;
export const sometimeIf = (isSo: boolean): number | undefined => (isSo ? SOMETIME : undefined);

export interface Job {
  readonly uid: string;
  readonly name: string;
  /** False for a copy, and for a Job that somebody else created under the name. */
  readonly ours: boolean;
  readonly occupant: boolean;
  readonly createdMs: number;
  readonly completeMs: number | undefined;
  readonly failedMs: number | undefined;
  readonly deletedMs: number | undefined;
  readonly othersDeletedMs: number | undefined;
  readonly goneMs: number | undefined;
  /** The time at which we took its hold off. */
  readonly releasedMs: number | undefined;
  readonly held: boolean;
  /** An outcome that is recorded after this time must agree with the Job's condition. */
  readonly bindsMs: number | undefined;
}

/** The simulation keeps only pods that ran; the journals keep all pods. */
export interface Pod {
  readonly name: string;
  /** Its Job's UID. */
  readonly job: string;
  readonly createdMs: number;
  readonly startedMs: number | undefined;
  readonly overMs: number | undefined;
  readonly exitCode: number | undefined;
}

export interface View {
  readonly commands: readonly Command[];
  readonly runs: readonly Run[];
  readonly told: readonly Told[];
  /** In the order in which they came, with repeats. */
  readonly heard: readonly Heard[];
  readonly attempts: readonly Attempt[];
  /** The names of the Jobs that we created: the API server answered 201. */
  readonly made: readonly string[];
  readonly jobs: readonly Job[];
  readonly pods: readonly Pod[];
  /** Smaller differences are ignored, because the times come from different clocks. */
  readonly slackMs: { readonly nextAttempt: number; readonly start: number; readonly deadline: number };
}

export const jobsOf = ({ jobs }: View, { name }: Attempt): readonly Job[] => jobs.filter((it) => it.ours && it.name === name);

export const ownJobOf = ({ jobs }: View, { uid }: Attempt): Job | undefined =>
  uid === undefined ? undefined : jobs.find((it) => it.uid === uid);

/** Returns the pods of all Jobs of ours that had the attempt's name. */
export function podsOf(view: View, attempt: Attempt): readonly Pod[] {
  const uids = new Set(jobsOf(view, attempt).map(({ uid }) => uid));
  return view.pods.filter(({ job }) => uids.has(job));
}

export const overMsOf = ({ overMs = Number.POSITIVE_INFINITY }: Pod): number => overMs;

export const at = (ms: number | undefined): string =>
  ms === undefined || !Number.isFinite(ms) ? "some time" : new Date(ms).toISOString().slice(11, 23);

export const nameOf = ({ name, run }: Attempt): string => `${name} of ${run}`;

/** Returns the code of an event's diagnosis. */
export function codeOf({ data: { diagnosis } }: Told): unknown {
  return typeof diagnosis === "object" && diagnosis !== null && "code" in diagnosis ? diagnosis.code : undefined;
}
