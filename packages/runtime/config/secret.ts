/**
 * A text that must not be read in a log, an error or a dump: it prints as `[redacted]` wherever it is printed by accident.
 *
 * The bug this prevents: a password in a log line, because somebody logged the config that holds it.
 */
import { inspect } from "node:util";

export interface Secret {
  /** The text itself. The caller gives it to a connection, and to nothing else. */
  reveal(): string;
  toString(): string;
  toJSON(): string;
}

const REDACTED = "[redacted]";

export function secret(text: string): Secret {
  return Object.freeze({
    reveal: () => text,
    toString: () => REDACTED,
    toJSON: () => REDACTED,
    [inspect.custom]: () => REDACTED,
  });
}

/** Removes a URL's user and password from any text: "amqp://u:p@host" becomes "amqp://[redacted]@host". */
export function withoutCredentials(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@]*(?::[^\s/?#]*)?@/gi, `$1${REDACTED}@`);
}
