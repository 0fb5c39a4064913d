/** Commands, from upstream to the launcher. `data.run` is the idempotency key of all commands about that run. */
import { z } from "zod";
import { RunId, StepName } from "./ids.ts";
import { forms } from "./request.ts";
import { Duration } from "./units.ts";

/** The person behind a command. Accepted only from the broker users that the launcher's setting `operators` names. */
export const Actor = z.strictObject({ name: z.string().min(1).max(200), id: z.string().max(200).optional() });

const Reason = z.string().max(1000);
const Generation = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

/** The fields that a restart may correct. Other fields say what the run *is*, and stay. */
export const Correction = forms.Simple.pick({ image: true, env: true, resources: true, deadline: true }).partial();
export type Correction = z.infer<typeof Correction>;

const actor = { actor: Actor.optional() };

/** The two forms of a request. */
export const REQUESTED = {
  simple: forms.Simple.extend({ run: RunId, ...actor }),
  pipeline: forms.Pipeline.extend({ run: RunId, ...actor }),
};

export const COMMANDS = {
  "run.requested": z.union([REQUESTED.simple, REQUESTED.pipeline]),
  "run.cancel": z.strictObject({
    run: RunId,
    generation: Generation.optional(),
    reason: Reason.optional(),
    grace: Duration.optional(),
    ...actor,
  }),
  "run.restart": z.strictObject({
    run: RunId,
    generation: Generation.optional(),
    from: z.union([z.enum(["failed", "start"]), StepName]),
    with: Correction.optional(),
    ...actor,
  }),
  /** Operators only: the run ends as lost, whatever its Job does. */
  "run.abandon": z.strictObject({ run: RunId, reason: Reason.optional(), ...actor }),
} as const;

export type CommandType = keyof typeof COMMANDS;
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
