/** Events, from the launcher to upstream: the ordered story of one run, and notices, which belong to no story. */
import { z } from "zod";
import { Actor } from "./command.ts";
import { Diagnosis } from "./diagnosis.ts";
import { LogTail, Started } from "./fact.ts";
import { GroupName, RunId, StepName, TenantName, Uid } from "./ids.ts";

/** The ways a run ends. */
export const OUTCOMES = ["succeeded", "failed", "cancelled", "lost"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export const ProblemShape = z.object({ path: z.string(), code: z.string(), message: z.string() });

/** Why each group was or was not chosen. */
export const Considered = z.object({ group: GroupName, verdict: z.enum(["chosen", "skipped"]), why: z.string() });
export type Considered = z.infer<typeof Considered>;

/** Promises that are weaker for a Job without a hold (group setting `hold: false`), each with the harm that can then happen. */
export const WEAKER = {
  "one-job-per-attempt":
    "If the Job is deleted while another create of it is unanswered, that create may land afterwards and run the work again.",
  "every-end-is-told":
    "If the Job is deleted before its end is recorded, its outcome may stay unknown: the run is then lost, or failed with DeletedExternally.",
} as const;

const weaker = <K extends keyof typeof WEAKER>(key: K) => z.literal(key).describe(WEAKER[key]);

const of = { run: RunId, step: StepName.optional(), attempt: z.int().min(1).optional() };
const job = { job: z.object({ namespace: z.string(), name: z.string(), uid: Uid.optional() }).optional() };
const Seconds = z.object({ waiting: z.number(), scheduling: z.number(), pulling: z.number(), running: z.number() }).partial();
const Outputs = z.record(z.string(), z.unknown());
const who = { actor: Actor.optional(), reason: z.string().optional() };

export const EVENTS = {
  "run.accepted": z.object({ ...of, ...who, steps: z.array(StepName) }),
  "run.restarted": z.object({ ...of, ...who, from: z.string() }),
  "run.waiting": z.object({ ...of, reason: z.string(), considered: z.array(Considered), diagnosis: Diagnosis.optional() }),
  "run.launched": z.object({
    ...of,
    ...job,
    considered: z.array(Considered),
    adopted: z.boolean().optional(),
    /** Present if the Job carries no hold. */
    weaker: z.array(z.union([weaker("one-job-per-attempt"), weaker("every-end-is-told")])).optional(),
  }),
  "run.started": z.object({
    ...of,
    ...job,
    node: z.string().optional(),
    pod: z.string().optional(),
    imageDigest: z.string().optional(),
  }),
  "run.stalled": z.object({ ...of, ...job, diagnosis: Diagnosis }),
  "run.resumed": z.object({ ...of, ...job }),
  "run.attempt.failed": z.object({ ...of, ...job, diagnosis: Diagnosis, nextAttemptAt: z.string() }),
  "run.step.succeeded": z.object({ ...of, ...job, outputs: Outputs }),
  "run.step.failed": z.object({ ...of, ...job, diagnosis: Diagnosis }),
  "run.step.skipped": z.object({ ...of, why: z.string() }),
  "run.cancelling": z.object({ ...of, ...who }),
  "run.succeeded": z.object({ ...of, ...job, outputs: Outputs, seconds: Seconds, log: LogTail.optional() }),
  "run.failed": z.object({
    ...of,
    ...job,
    diagnosis: Diagnosis,
    exitCode: z.int().optional(),
    log: LogTail.optional(),
    started: Started,
    seconds: Seconds,
  }),
  "run.cancelled": z.object({ ...of, ...who, podGoneAt: z.string().optional() }),
  "run.lost": z.object({ ...of, ...job, ...who, diagnosis: Diagnosis }),
  "command.refused": z.object({ run: z.string().optional(), command: z.string(), problems: z.array(ProblemShape) }),
  /** Goes to the command's `reply_to` alone. */
  "command.duplicate": z.object({
    run: RunId,
    command: z.string(),
    state: z.enum(["active", "cancelling", "ended"]),
    outcome: z.enum(OUTCOMES).optional(),
  }),
  "group.healthy": z.object({ group: GroupName }),
  "group.unhealthy": z.object({ group: GroupName, diagnosis: Diagnosis }),
} as const;

/**
 * Reserved for the time when a ledger can be restored from a backup. Nothing sends this event yet, and it gets no other
 * meaning.
 */
export const RESERVED_EVENTS = ["run.restored"] as const;

export type EventType = keyof typeof EVENTS;
export type EventData<T extends EventType> = z.infer<(typeof EVENTS)[T]>;
export type RunEventType = Extract<EventType, `run.${string}`>;

/** After a terminal event, nothing follows in the same generation. */
const TERMINAL: readonly EventType[] = OUTCOMES.map((it) => `run.${it}` as const);
export const isTerminal = (type: string): boolean => TERMINAL.some((it) => it === type);

/** An event's marks beside its data: its tenant, run and group, and its place in the run's story. */
export interface StoryMark {
  readonly tenant: TenantName;
  readonly run: RunId;
  readonly sequence: number;
  readonly generation: number;
  readonly group: GroupName | undefined;
}
