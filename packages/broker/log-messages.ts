/**
 * Writes and reads the messages between the reader of a log and a watcher.
 *
 * The failure this prevents: a log that goes to whoever may publish or listen at the broker. Each message is sealed with a key that
 * only watchers and readers have, so that it does not matter what a broker lets its other users do. The key is not that of the
 * announcements: a console with that one could open the clusters' credentials.
 */
import { randomUUID } from "node:crypto";
import { boundTo, type Control, type ControlData, type ControlType } from "@longshore/contract/messages/control.ts";
import { readControl, writeControl } from "@longshore/contract/messages/envelope.ts";
import type { Installation } from "@longshore/contract/ids.ts";
import { openSeal, type Seal } from "@longshore/runtime/seal.ts";
import type { Outgoing } from "./port.ts";

type LogType = Extract<ControlType, `log.${string}`>;

type LogMessage = {
  readonly [T in LogType]: { readonly type: T; readonly data: ControlData<T>; readonly text: string };
}[LogType];

export interface LogMessages {
  readonly installation: Installation;
  write<T extends LogType>(key: string, type: T, data: Omit<ControlData<T>, "sealed" | "installation">, text?: string): Outgoing;
  /** Returns the message and its sealed text; a sentence, if it is a log's message that is not believed; else undefined. */
  read(body: Uint8Array): LogMessage | string | undefined;
}

/** Keys of logs differ from those of announcements even if somebody uses one file for both. */
const scopeOf = (installation: Installation): string => `${installation}/logs`;

export function logMessages(ring: string, installation: Installation, source: string): LogMessages {
  const seal: Seal = openSeal(ring, scopeOf(installation));
  return {
    installation,
    write: (key, type, rest, text = "") => {
      const data = { ...rest, installation };
      const sealed = seal.seal(text, boundTo(type, data));
      const message = { id: randomUUID(), source, type, data: { ...data, sealed } };
      return { id: message.id, key, body: writeControl(message as unknown as Parameters<typeof writeControl>[0]) };
    },
    read: (body) => {
      const read = readControl(body);
      if (read.kind !== "control" || !isOfLog(read.control) || read.control.data.installation !== installation) return undefined;
      const { type, data } = read.control;
      const opened = seal.open(data.sealed, boundTo(type, data));
      return opened.kind === "opened" ? ({ type, data, text: opened.text } as LogMessage) : opened.message;
    },
  };
}

const isOfLog = (control: Control): control is Extract<Control, { readonly type: LogType }> => control.type.startsWith("log.");
