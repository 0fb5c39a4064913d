/**
 * A deed of a person as the command that it is.
 *
 * The failure this prevents: a deed without a row of who did it. The row is written first, and the launcher's answer closes it.
 */
import type { CommandInput, CommandType } from "@longshore/contract/messages/command.ts";
import { readCommand, writeCommand } from "@longshore/contract/messages/envelope.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import { SOURCE } from "@longshore/ledger/open-pages.ts";
import type { Deed } from "@longshore/ledger/pages.ts";
import type { Parts } from "./parts.ts";
import { fieldOf, Refused } from "./problem.ts";

interface Publishing<T extends CommandType> {
  readonly deed: Deed;
  /** The run or the group. */
  readonly about: string;
  /** The same deed has the same id: a form that is sent twice stops or restarts once. */
  readonly id: string;
  readonly data: CommandInput<T>;
}

export async function publish<T extends CommandType>(
  { broker, pages, signal }: Pick<Parts, "broker" | "pages" | "signal">,
  type: T,
  { deed, about, id, data }: Publishing<T>,
  person: Asker,
): Promise<void> {
  if (broker.status().kind !== "connected")
    throw new Refused(503, "Not just now", "The broker cannot be reached, so nothing was sent. Try again in a moment.");
  const actor = { name: person.name, ...(person.id !== undefined && { id: person.id }) };
  const body = writeCommand({ id, source: SOURCE, type, data: { ...data, actor } });
  const read = readCommand(body);
  if (read.kind !== "command")
    throw new Refused(422, "Not understood", read.problems.map((it) => it.message).join(" "), read.problems.map(fieldOf));
  await pages.audit.note({ person, deed, about, command: id });
  await broker.publish("commands", { id, key: type, body }, signal);
}
