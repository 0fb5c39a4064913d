/**
 * Commands, from upstream to the launcher. A request that comes again is recognised by its `data.run`, any other command by the
 * message's `id` and `source`. Commands about a group are for operators alone.
 */
import { z } from "zod";
import { correctable } from "../request/container.ts";
import { DefinitionName, GroupName, RunId, StepName } from "../ids.ts";
import { forms, ofInvocation } from "../request/request.ts";
import { SecretValues } from "../request/secret-values.ts";
import { Duration } from "../units.ts";

/** The person behind a command. Accepted only from the broker users that the launcher's setting `operators` names. */
export const Actor = z.strictObject({ name: z.string().min(1).max(200), id: z.string().max(200).optional() });
export type Actor = z.infer<typeof Actor>;

const Reason = z.string().max(1000);
const Generation = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

/** The fields of a step that a restart may correct. Other fields say what the run *is*, and stay. */
export const Correction = z.strictObject({ ...correctable, deadline: Duration.optional() }).partial();
export type Correction = z.infer<typeof Correction>;
/** A run of the short form takes the fields of its only step; a pipeline takes `steps`. */
export const Corrections = Correction.extend({
  steps: z
    .record(StepName, Correction)
    .describe("The corrections of a pipeline, by the names of its steps. A pipeline takes no other.")
    .optional(),
  parameters: z
    .record(z.string().min(1).max(128), z.unknown())
    .describe("Parameters in place of the request's of the same names, for all steps that run again.")
    .optional(),
  secretValues: SecretValues.describe(
    "All secret values of the run, in place of those that came before. Needed once these are no longer kept (`SecretsGone`).",
  ).optional(),
});
export type Corrections = z.infer<typeof Corrections>;

/**
 * Names the corrected fields by their paths, such as "env.MODE" or "steps.load.image". Values may be secrets, so none is among
 * them.
 */
export function correctedFields({ steps = {}, parameters = {}, secretValues = {}, ...flat }: Corrections): readonly string[] {
  const ofSteps = Object.entries(steps).flatMap(([name, correction]) => fieldsIn(correction, `steps.${name}.`));
  const named = (what: string, of: object): readonly string[] => Object.keys(of).map((name) => `${what}.${name}`);
  return [...fieldsIn(flat, ""), ...ofSteps, ...named("parameters", parameters), ...named("secretValues", secretValues)];
}

function fieldsIn({ image, deadline, env = {}, resources = {} }: Correction, before: string): readonly string[] {
  const amounts = Object.entries(resources).flatMap(([of, each]) => Object.keys(each ?? {}).map((it) => `resources.${of}.${it}`));
  const variables = Object.keys(env).map((it) => `env.${it}`);
  const whole = Object.entries({ image, deadline }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  return [...whole, ...variables, ...amounts].map((it) => before + it);
}

const actor = {
  actor: Actor.describe(
    "The person behind the command: `name`, and perhaps `id`. Only from broker users that the launcher's setting `operators` names; from others it is left out.",
  ).optional(),
};
const ownRun = RunId.describe(
  "Your id for the run, and the request's idempotency key: at most 200 ASCII characters, first a letter or digit, then letters, digits and `. _ : / @ + = -`.",
);
const run = RunId.describe(
  "The id of the run. If the command comes again, it is recognised by its message's `id` and `source`, not by this.",
);
const generation = Generation.describe(
  "Which life of the run is meant: 1, and one more with each restart. Any other is refused. Without it, the present one.",
).optional();
const reason = Reason.describe("Why, told in the run's story.").optional();
const group = GroupName.describe("The group's name.");

/** A request for a definition. Where both name a group, a label or an annotation, the request only narrows or adds. */
export const Invocation = z.strictObject({
  definition: DefinitionName.describe("What to run, by the name of its definition."),
  ...ofInvocation,
});
export type Invocation = z.infer<typeof Invocation>;

/** The three forms of a request. */
export const REQUESTED = {
  simple: forms.Simple.extend({ run: ownRun, ...actor }),
  pipeline: forms.Pipeline.extend({ run: ownRun, ...actor }),
  invocation: Invocation.extend({ run: ownRun, ...actor }),
};

export const COMMANDS = {
  "run.requested": z.union([REQUESTED.simple, REQUESTED.pipeline, REQUESTED.invocation]),
  "run.cancel": z.strictObject({
    run,
    generation,
    reason,
    grace: Duration.describe(
      "How long the program gets to stop after SIGTERM. Without it, as long as Kubernetes gives it.",
    ).optional(),
    ...actor,
  }),
  "run.restart": z.strictObject({
    run,
    generation,
    from: z
      .union([z.enum(["failed", "start"]), StepName], {
        error: ({ input }) =>
          `${input === undefined ? '"from" is needed' : "This must be a text"}: failed, start, or a step's name.`,
      })
      .describe("Where it begins: `failed` (the failed step and what follows it), `start`, or a step's name."),
    with: Corrections.describe(
      "Corrects `image`, `env`, `resources` or `deadline`, of a pipeline under `steps`, `parameters`, and `secretValues`. Variables and amounts are corrected one by one.",
    ).optional(),
    ...actor,
  }),
  /** Gives up the volumes that an ended run keeps, and its Jobs and pods with them. */
  "run.free": z.strictObject({ run, ...actor }),
  /** Operators only: the run ends as lost, whatever its Job does. */
  "run.abandon": z.strictObject({ run, reason, ...actor }),
  "group.pause": z.strictObject({
    group,
    drain: z
      .boolean()
      .describe("True if the group is to become empty: people who look are told how much is left. The launcher does the same.")
      .optional(),
    reason: Reason.describe("Why, told to people who look at the group.").optional(),
    ...actor,
  }),
  "group.resume": z.strictObject({ group, ...actor }),
} as const;

export type CommandType = keyof typeof COMMANDS;
export type GroupCommandType = Extract<CommandType, `group.${string}`>;

/** Only the broker users that the launcher's setting `operators` names may send these. */
export const FOR_OPERATORS: readonly CommandType[] = ["run.abandon", "group.pause", "group.resume"];

/** A command's data as its author writes it, before it is judged: plain texts, no brands. */
export type CommandInput<T extends CommandType> = z.input<(typeof COMMANDS)[T]>;
export type CommandData<T extends CommandType> = z.infer<(typeof COMMANDS)[T]>;

/** One readable command: its envelope's identity and its validated data. */
export type Command = {
  readonly [T in CommandType]: {
    readonly type: T;
    readonly id: string;
    readonly source: string;
    readonly data: CommandData<T>;
    /** W3C Trace Context. */
    readonly traceparent?: string;
  };
}[CommandType];
