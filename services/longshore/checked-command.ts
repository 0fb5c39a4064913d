/**
 * Makes a command's message, and refuses here what a launcher would refuse.
 *
 * The failure this prevents: a mistake on the command line that is told by an event, long after the command ended with 0.
 */
import type { Outgoing } from "@longshore/broker/port.ts";
import { message } from "@longshore/client/request.ts";
import type { CommandInput, CommandType } from "@longshore/contract/messages/command.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { CLI, Usage } from "./command.ts";

/** The options by which the verbs of `runs` give fields of their commands. */
const OPTIONS_OF_RUNS: Readonly<Record<string, string>> = { from: "--from", with: "--with", reason: "--reason" };

/**
 * If the launcher would refuse the command, it is refused here, where its author sees that. `options` names the option that
 * gave a field: a person who typed options knows no fields.
 */
export function commandOf<T extends CommandType>(type: T, data: CommandInput<T>, options = OPTIONS_OF_RUNS): Outgoing {
  const made = message({ source: CLI }, type, data);
  if (made.kind === "message") return { id: made.id, key: made.routingKey, body: made.body };
  throw refusedHere(made.problems, data, options);
}

/** The error for a command that a launcher would refuse. */
export function refusedHere(problems: readonly CommandProblem[], data: object, options: Readonly<Record<string, string>>): Error {
  const typed = problems.map(({ path, message }) => ({ message, as: typedAs(path, data, options) }));
  if (typed.every(({ as }) => as !== undefined)) return new Usage(typed.map(({ as, message }) => `${as}: ${message}`).join("\n"));
  const lines = problems.map(({ path, message }, index) => {
    const field = path.replace(/^\/data/, "") || "the request";
    return `  ${typed[index]?.as ?? field}: ${message}`;
  });
  return new Failure("refuse", "RequestInvalid", `this cannot be published as it is:\n${lines.join("\n")}`);
}

/** What a person typed for the field at this path. Without the value of a variable, which may be a secret. */
function typedAs(path: string, data: object, options: Readonly<Record<string, string>>): string | undefined {
  const [, , field = "", ...below] = path.split("/");
  const option = Object.hasOwn(options, field) ? options[field] : undefined;
  if (option === undefined) return undefined;
  const value = (data as Readonly<Record<string, unknown>>)[field];
  const given: unknown = Array.isArray(value) ? value[Number(below[0])] : value;
  if (typeof given === "string") return `${option} ${quoted(given)}`;
  return below.length > 0 ? `${option} ${below.join(".")}` : option;
}
