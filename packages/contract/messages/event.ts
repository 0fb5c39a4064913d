/** Events, from the launcher to upstream: the ordered story of one run, and notices, which belong to no story. */
import { z } from "zod";
import { Actor } from "./command.ts";
import { Owner } from "../request/definition.ts";
import { Diagnosis } from "./diagnosis.ts";
import { LogTail, SliceCounts, SLICES_TOLD_MAX, SliceTold, Started, TAIL_BYTES_MAX } from "./fact.ts";
import { DefinitionName, GroupName, RunId, StepName, TenantName, Uid } from "../ids.ts";
import { ProblemCode } from "../problems/problem-codes.ts";
import { WaitWord } from "./waiting.ts";

/** The ways a run ends. */
export const OUTCOMES = ["succeeded", "failed", "cancelled", "lost"] as const;
export type Outcome = (typeof OUTCOMES)[number];

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

const of = {
  run: RunId.describe("The run's id."),
  step: StepName.describe("The step's name; `main` if the request names no steps.").optional(),
  attempt: z.int().min(1).describe("The number of the step's try.").optional(),
};
const job = {
  job: z
    .object({ namespace: z.string(), name: z.string(), uid: Uid.optional() })
    .describe("The Job, if one may exist: `namespace`, `name` and `uid`.")
    .optional(),
};
const seconds = z
  .object({ waiting: z.number(), scheduling: z.number(), pulling: z.number(), running: z.number() })
  .partial()
  .describe(
    "How long it was `waiting`, `scheduling`, `pulling` and `running`, as far as that was seen. A pod's times are whole seconds, so a program that ran for 0.1 s may have `running` 0 or 1.",
  );
const outputs = {
  outputs: z
    .record(z.string(), z.unknown())
    .describe(
      "The JSON object that was written to `/dev/termination-log`, and the annotations that are outputs. At a pipeline's end: what its `outputs` say, else an object for each step, by its name.",
    ),
};
const outputsIgnored = {
  outputsIgnored: z
    .string()
    .describe(
      "Why the text in `/dev/termination-log` is no output: it is no JSON object, or was cut off at 4 KiB. A step that declares `outputs` fails instead.",
    )
    .optional(),
};
const slices = {
  slices: SliceCounts.extend({
    told: z.array(SliceTold).describe(`At most ${SLICES_TOLD_MAX} of its slices, the failed ones first.`).optional(),
  })
    .describe("Of a step with slices: `count`, `succeeded`, `failed`, and of some slices more, in `told`.")
    .optional(),
};
const who = {
  actor: Actor.describe("The person behind the command, if it named one.").optional(),
  reason: z.string().describe("The reason that the command gave. In `run.waiting`: why it waits, in a word.").optional(),
};
const diagnosis = Diagnosis.describe(
  "Why: `code`, `phase`, `blame`, `sentence`, `hint`, `evidence` (what the cluster said) and `retryable`.",
);
const considered = z.array(Considered).describe("Each group that was looked at, with `verdict` and `why`.");
const end = {
  exitCode: z.int().describe("The program's exit code.").optional(),
  log: LogTail.describe(
    `The end of what the program printed: \`tail\`, at most ${TAIL_BYTES_MAX / 1024} KiB; \`state\` (\`complete\`, \`truncated\` if more was printed, \`unavailable\`) and \`lines\`.`,
  ).optional(),
  finishedAt: z
    .string()
    .describe(
      "When the program ended, by its cluster's clock; of a pipeline that succeeded, the last one. Absent if nobody saw it. The message's `time` is when it was recorded.",
    )
    .optional(),
};
/** A run of a definition tells of it where people ask: at its beginning, and if it fails. */
const defined = {
  definition: DefinitionName.describe(
    "The definition that was asked for; absent if the request said itself what to run.",
  ).optional(),
};
const group = GroupName.describe("The group's name.");
const command = z.string().describe("The id of the command's message.");

export const EVENTS = {
  "run.accepted": z.object({ ...of, ...who, ...defined, steps: z.array(StepName).describe("The names of its steps.") }),
  "run.restarted": z.object({
    ...of,
    ...who,
    from: z.string().describe("Where the restart began."),
    corrected: z
      .array(z.string())
      .describe("The fields that the restart's `with` corrected, by their paths, such as `env.MODE`; without values.")
      .optional(),
  }),
  "run.waiting": z.object({
    ...of,
    reason: WaitWord.describe("Why it waits, in a word."),
    considered,
    diagnosis: diagnosis.optional(),
    concurrency: z
      .object({ key: z.string(), limit: z.int() })
      .describe("The `key` and the `limit` of the line in which it waits.")
      .optional(),
  }),
  "run.launched": z.object({
    ...of,
    ...job,
    considered,
    adopted: z.boolean().describe("True if the Job existed already, made by a launcher that did not record it.").optional(),
    weaker: z
      .array(z.union([weaker("one-job-per-attempt"), weaker("every-end-is-told")]))
      .describe("The promises that are weaker for this Job, present if it carries no hold.")
      .optional(),
    parallelism: z.int().describe("Of a step with slices: how many of them run at the same time at most.").optional(),
  }),
  "run.started": z.object({
    ...of,
    ...job,
    node: z.string().describe("The node on which it runs.").optional(),
    pod: z.string().describe("The pod's name.").optional(),
    imageDigest: z.string().describe("Which image it was, exactly.").optional(),
  }),
  "run.stalled": z.object({ ...of, ...job, diagnosis }),
  "run.resumed": z.object({ ...of, ...job }),
  "run.progressed": z.object({ ...of, ...job, slices: SliceCounts.describe("How many of its slices have ended, and how.") }),
  "run.attempt.failed": z.object({
    ...of,
    ...job,
    diagnosis,
    ...end,
    ...slices,
    nextAttemptAt: z.string().describe("Not before this time is it tried again."),
  }),
  "run.step.succeeded": z.object({
    ...of,
    ...job,
    ...outputs,
    ...outputsIgnored,
    ...slices,
    log: end.log,
    finishedAt: end.finishedAt,
  }),
  "run.step.failed": z.object({ ...of, ...job, diagnosis, ...end, ...slices }),
  "run.step.skipped": z.object({ ...of, why: z.string().describe("Why the step was skipped.") }),
  "run.cancelling": z.object({ ...of, ...who }),
  "run.succeeded": z.object({
    ...of,
    ...job,
    ...outputs,
    ...outputsIgnored,
    ...slices,
    seconds,
    log: end.log,
    finishedAt: end.finishedAt,
  }),
  "run.failed": z.object({
    ...of,
    ...job,
    diagnosis,
    ...end,
    ...slices,
    ...defined,
    owner: Owner.describe("Who can mend the definition: `name`, and perhaps `contact`.").optional(),
    started: Started.describe(
      "`no`: nothing ran, so that it is safe to restart it, or to publish it under a new id. `yes`, or `unknown`.",
    ),
    seconds,
  }),
  "run.cancelled": z.object({
    ...of,
    ...who,
    podGoneAt: z.string().describe("When the last pod was gone; absent if there was none.").optional(),
    log: end.log,
  }),
  "run.lost": z.object({ ...of, ...job, ...who, diagnosis }),
  "command.refused": z.object({
    run: z.string().describe("The run's id, if it could be read.").optional(),
    command,
    problems: z
      .array(z.object({ path: z.string(), code: ProblemCode, message: z.string() }))
      .describe("What is wrong: `path`, `code` and `message`."),
  }),
  /** Goes to the command's `reply_to` alone. */
  "command.duplicate": z.object({
    run: of.run,
    command,
    state: z.enum(["active", "cancelling", "ended"]).describe("How the run stands."),
    outcome: z.enum(OUTCOMES).describe("How it ended, if it has.").optional(),
  }),
  "group.healthy": z.object({ group }),
  "group.unhealthy": z.object({ group, diagnosis }),
  "group.paused": z.object({
    group,
    ...who,
    drain: z.boolean().describe("True if the group is to become empty.").optional(),
  }),
  "group.resumed": z.object({ group, actor: who.actor }),
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
export type TerminalType = `run.${Outcome}`;
const TERMINAL: readonly TerminalType[] = OUTCOMES.map((it) => `run.${it}` as const);
export const isTerminal = (type: string): type is TerminalType => TERMINAL.some((it) => it === type);

/** An event's marks beside its data: its tenant, run and group, and its place in the run's story. */
export interface StoryMark {
  readonly tenant: TenantName;
  readonly run: RunId;
  readonly sequence: number;
  readonly generation: number;
  readonly group: GroupName | undefined;
}
