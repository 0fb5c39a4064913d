/**
 * Facts, from the watcher to the launcher: what one Kubernetes Job was seen to do.
 *
 * Facts may be late, repeated and reordered: each carries all that is needed to understand it alone. A fact may gain fields at
 * any time, since old and new versions run together. Unknown fields are therefore ignored here, unlike in commands.
 */
import { z } from "zod";
import { Diagnosis } from "./diagnosis.ts";
import { GroupName, Installation, RunId, StepName, Uid } from "../ids.ts";

/** The Job and its attempt, as the Job's labels and annotations name them; `proof` makes them believable. */
export const About = z.object({
  installation: Installation,
  group: GroupName,
  namespace: z.string(),
  name: z.string(),
  uid: Uid,
  /** The highest resource version among the Job and its pods, as they were seen; decimal text. */
  resourceVersion: z.string(),
  proof: z.string(),
  run: RunId,
  step: StepName,
  attempt: z.int().min(1),
  occupant: z.boolean().optional(),
});
export type About = z.infer<typeof About>;

/** Facts and events carry at most this much of a log, so that a broker can keep many of them. */
export const TAIL_BYTES_MAX = 16 * 1024;

export const LogTail = z.object({
  state: z.enum(["complete", "truncated", "unavailable"]),
  lines: z.int().min(0),
  tail: z.string(),
});
export type LogTail = z.infer<typeof LogTail>;

/** "yes" once a container ran; "no" only if it is certain that none ran. */
export const Started = z.enum(["no", "yes", "unknown"]);
export type Started = z.infer<typeof Started>;

/** More logs and causes than these are not told of a step's slices, the failed ones first. */
export const SLICES_TOLD_MAX = 8;
/** The longest tail of one slice's log. All tails together are no longer than the log of a step without slices. */
export const SLICE_TAIL_BYTES_MAX = 2 * 1024;
/** The messages of all slices together. */
export const SLICE_MESSAGES_BYTES_MAX = 64 * 1024;

export const SliceTold = z.object({
  index: z.int().min(0).describe("Which slice, from 0."),
  pod: z.string().describe("The name of its last pod.").optional(),
  exitCode: z.int().describe("The program's exit code.").optional(),
  sentence: z.string().describe("Why it failed.").optional(),
  log: LogTail.describe("The end of what it printed, at most 2 KiB.").optional(),
});
export type SliceTold = z.infer<typeof SliceTold>;

export const SliceCounts = z.object({
  count: z.int().min(0).describe("How many slices the step has."),
  succeeded: z.int().min(0).describe("How many have succeeded."),
  failed: z.string().describe("The indexes of those that failed, as Kubernetes writes them, such as `3,7-9`; empty if none."),
});
export type SliceCounts = z.infer<typeof SliceCounts>;

/** How the slices of a step ended. */
const SlicesSeen = SliceCounts.extend({
  /** The reason of the Job's condition, if it is Failed. */
  reason: z.string().optional(),
  told: z.array(SliceTold).optional(),
  /** The termination messages of those that succeeded, by index. */
  messages: z.record(z.string(), z.string()).optional(),
  /** There were more messages than a fact carries. */
  cut: z.literal(true).optional(),
});

/** How the pods ran, as far as was seen. Times are ISO; a value that nobody saw is absent. */
export const Evidence = z.object({
  started: Started,
  pod: z.string().optional(),
  node: z.string().optional(),
  imageDigest: z.string().optional(),
  scheduledAt: z.string().optional(),
  startedAt: z.string().optional(),
  finishedAt: z.string().optional(),
  exitCode: z.int().optional(),
  /** The termination message as the container wrote it. */
  message: z.string().optional(),
  /** The annotations of the pod that the step declares as outputs. */
  annotations: z.record(z.string(), z.string()).optional(),
  log: LogTail.optional(),
  diagnosis: Diagnosis.optional(),
  slices: SlicesSeen.optional(),
});
export type Evidence = z.infer<typeof Evidence>;

/** A Job or CronJob in a group's namespace that somebody prepared for people to run. */
const PreparedKind = z.enum(["Job", "CronJob"]);
export type PreparedKind = z.infer<typeof PreparedKind>;

const ofPrepared = {
  installation: Installation,
  group: GroupName,
  kind: PreparedKind,
  /** Decimal text: of two facts about prepared objects of a group, the one with the higher version is newer. */
  resourceVersion: z.string().regex(/^\d{1,32}$/),
};

const Prepared = z.object({
  ...ofPrepared,
  name: z.string().min(1).max(253),
  uid: Uid,
  /** Its annotations `longshore.dev/…`, without the prefix, as they were written. */
  words: z.record(z.string(), z.string()),
  /** Labels and annotations that a Job made from it gets. */
  labels: z.record(z.string(), z.string()),
  annotations: z.record(z.string(), z.string()),
  /** The Job's spec without what Kubernetes or a schedule adds to it. Absent: it cannot be told, and `unread` says why. */
  runs: z.record(z.string(), z.unknown()).optional(),
  unread: z.string().optional(),
  schedule: z.string().optional(),
  suspended: z.boolean(),
  /** The number of the Job's running pods, or of the schedule's running Jobs. They are not Longshore's. */
  active: z.int().min(0),
  lastStartedAt: z.string().optional(),
  lastSucceededAt: z.string().optional(),
});
export type Prepared = z.infer<typeof Prepared>;

export const FACTS = {
  "job.started": z.object({ about: About, evidence: Evidence }),
  "job.stalled": z.object({ about: About, diagnosis: Diagnosis }),
  "job.resumed": z.object({ about: About }),
  "job.progressed": z.object({ about: About, slices: SliceCounts }),
  "job.ended": z.object({ about: About, condition: z.enum(["Complete", "Failed"]), evidence: Evidence }),
  /** `log`: what the program had printed when the deletion was seen. Its pod may be gone a second later. */
  "job.deleting": z.object({ about: About, log: LogTail.optional() }),
  "job.deleted": z.object({ about: About }),
  /** A watcher's heartbeat: how fresh its view of the group is. */
  "group.watched": z.object({
    group: GroupName,
    watcher: z.string(),
    syncedAt: z.string().optional(),
    staleSeconds: z.number().min(0),
  }),
  "definition.seen": Prepared,
  "definition.gone": z.object({ ...ofPrepared, uid: Uid }),
  /** After a whole listing: all others of this kind in the group are gone. */
  "definitions.listed": z.object({ ...ofPrepared, uids: z.array(Uid).max(10_000) }),
} as const;

export type FactType = keyof typeof FACTS;
export type FactData<T extends FactType> = z.infer<(typeof FACTS)[T]>;
export type Fact = {
  readonly [T in FactType]: { readonly type: T; readonly id: string; readonly source: string; readonly data: FactData<T> };
}[FactType];
