/**
 * Longshore's names, keys and patterns as NATS subjects, and back.
 *
 * The bugs this prevents: a key that is a wildcard for NATS ("*" would be a subscription to all), a pattern that matches other
 * messages here than on another broker, and a reply that reaches JetStream's own API or an inbox of ours.
 */
import { Failure } from "@longshore/contract/problem.ts";
import { isOurs, type Names } from "../names.ts";
import { keyForPattern, patternAsRegex } from "../topic-pattern.ts";

const SUBJECT = /^[^\s.*>]+(\.[^\s.*>]+)*$/;

/** JetStream's names contain no dots and are written in capitals: "longshore.commands" is the stream LONGSHORE_COMMANDS. */
export function streamName(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9_-]/g, "_");
}

export function subjectOf(name: string, key: string): string {
  if (SUBJECT.test(key)) return `${name}.${key}`;
  const what = `The key "${key}" of a message is no NATS subject: words between dots, without spaces, "*" and ">".`;
  throw new Failure("refuse", "MessageInvalid", what);
}

export function keyOf(name: string, subject: string): string {
  return subject.startsWith(`${name}.`) ? subject.slice(name.length + 1) : subject;
}

/**
 * Subjects that together take each message at most once, and a test of each message's key. NATS has no "#" inside a subject, so
 * the subjects alone can take too much.
 */
export interface Filter {
  readonly subjects: readonly string[];
  readonly matches: (key: string) => boolean;
}

/** "shop.#" also matches "shop", which makes two subjects. */
export function filterOf(name: string, pattern: string): Filter {
  const words = pattern.split(".");
  const hash = words.indexOf("#");
  if (hash === -1) return { subjects: [`${name}.${pattern}`], matches: () => true };
  const before = [name, ...words.slice(0, hash)].join(".");
  const alone = hash === words.length - 1 && hash > 0 ? [before] : [];
  const regex = new RegExp(patternAsRegex(pattern));
  return { subjects: [...alone, `${before}.>`], matches: (key) => regex.test(keyForPattern(key)) };
}

/** True for a subject of upstream's. Beneath our names are commands, facts and inboxes; beneath "$" is NATS' own API. */
export function isReplySubject(subject: string, names: Names): boolean {
  if (!SUBJECT.test(subject) || subject.startsWith("$")) return false;
  return !isOurs(subject, names) && !Object.values(names).some((it: string) => subject.startsWith(`${it}.`));
}
