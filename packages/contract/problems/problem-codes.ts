/** The codes of the problems in a refusal, in a closed list that upstream may branch on: `problems` of `command.refused`. */
import { z } from "zod";
import type { Problem } from "./problem.ts";

const ROWS = {
  // The bytes of the message.
  Empty: "The message has no body.",
  TooLarge: "The message, or its `data`, has more bytes than are taken.",
  ByteOrderMark: "The text starts with a byte order mark.",
  NotUtf8: "The text is not UTF-8.",
  NotJson: "The text is no JSON.",
  TrailingBytes: "Something follows the JSON object.",
  TooDeep: "Objects and lists are nested too deep.",
  DuplicateKey: "An object has the same name twice.",
  UnsafeKey: "A field is named `__proto__`.",
  NumberOutOfRange: "A number is beyond 2^53, and so not exact in JSON.",
  UnusableCharacter: "A text holds the character U+0000, or half of a character.",
  // The fields.
  UnknownVersion: "`specversion` is not `1.0`.",
  UnknownType: "There is no command of this `type`.",
  UnknownField: "There is no such field here.",
  Missing: "A field is needed.",
  WrongType: "A value is of another kind, such as a number instead of a text.",
  OutOfRange: "A number, a date, a text or a list is too small, too large or too long.",
  Inconsistent: "Two fields contradict each other, such as a step that needs one that is not there.",
  Invalid: "A text is not written as it must be, or is none of the words that are known.",
  MoreProblems: "There are more problems than are listed.",
  // The run that the command names.
  RequestInvalid: "The command does not fit this run: its `generation`, its steps, or what the ledger can hold.",
  IdempotencyConflict: "The id belongs to a run with other content.",
  RunUnknown: "No run has this id.",
  AlreadyEnded: "The run is over, or all of its steps succeeded.",
  NotEnded: "The run is not over.",
  VolumesGone: "The run's volumes are no longer kept: only a restart `from: start` makes new ones.",
  SecretsGone: "The run's secret values are no longer kept: a restart has to give them again, as `with.secretValues`.",
  DefinitionUnknown: "No definition has this name.",
  GroupUnknown: "No group has this name.",
  DefinitionUnusable: "The definition cannot be run as it is; the message says why.",
  ConcurrencyLimit: "As many runs with its concurrency key go on or wait as its limit allows, and it may not wait in line.",
  PolicyRefused: "Only operators may send this command.",
} as const satisfies Readonly<Record<string, string>>;

export type ProblemCode = keyof typeof ROWS;
/** Each code with its meaning. */
export const PROBLEM_CODES: Readonly<Record<ProblemCode, string>> = ROWS;
export const ProblemCode = z.enum(Object.keys(PROBLEM_CODES) as [ProblemCode, ...ProblemCode[]]);

/** One thing that is wrong with a command. */
export type CommandProblem = Problem<ProblemCode>;

/** The sentence of an `IdempotencyConflict`, for a message's sender, and for whoever publishes with the ledger at hand. */
export const OTHER_CONTENT = "This id belongs to a run with other content, which stays as it is; a new run needs a new id.";
