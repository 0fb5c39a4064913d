/**
 * Turns a request into the bytes that you publish with any broker client.
 *
 * The failure this prevents: a request that is refused long after it was sent. Here it is judged before that, by the launcher's
 * rules.
 */
import type { CommandInput, CommandType } from "@longshore/contract/messages/command.ts";
import { CONTENT_TYPE, readCommand, writeCommand } from "@longshore/contract/messages/envelope.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";

export interface Sender {
  /** Your name for others: a URI or path, such as "/shop/orders". */
  readonly source: string;
  /**
   * The message's own id, by default a random one. A cancel or restart is recognised by it: a second try with another id may
   * restart the run twice.
   */
  readonly id?: string;
  /** In ISO 8601. */
  readonly time?: string;
}

export type Message =
  | {
      readonly kind: "message";
      readonly id: string;
      readonly contentType: string;
      /** The routing key. The exchange `longshore.commands` takes any key; this one tells people what the message is. */
      readonly routingKey: CommandType;
      readonly body: Uint8Array;
    }
  | { readonly kind: "refused"; readonly problems: readonly CommandProblem[] };

/**
 * If in doubt whether the broker has a message, publish it again. A request with the same `data.run` runs once, whatever its id;
 * a cancel or restart must carry the same `id`.
 */
export function message<T extends CommandType>(sender: Sender, type: T, data: CommandInput<T>): Message {
  const { source, id = crypto.randomUUID(), time } = sender;
  const body = writeCommand({ id, source, type, data, time });
  const read = readCommand(body);
  if (read.kind !== "command") return { kind: "refused", problems: read.problems };
  return { kind: "message", id, contentType: CONTENT_TYPE, routingKey: type, body };
}
