/**
 * The topic patterns of AMQP ("shop.#", "*.*.run.failed") as regular expressions, for adapters whose broker has no such
 * patterns.
 *
 * The bug this prevents: a pattern that matches an event on one broker and misses it on another. "#" also stands for no word at
 * all, so "shop.#" matches "shop"; every word is therefore read together with the dot before it.
 */
const SPECIAL = /[.*+?^${}()|[\]\\]/g;

/** Returns a regular expression for `keyForPattern(key)`; it is plain enough for both JavaScript and Postgres. */
export function patternAsRegex(pattern: string): string {
  const words = pattern.split(".").map((word) => {
    if (word === "#") return "(\\.[^.]*)*";
    if (word === "*") return "\\.[^.]*";
    return `\\.${word.replace(SPECIAL, "\\$&")}`;
  });
  return `^${words.join("")}$`;
}

export function keyForPattern(key: string): string {
  return `.${key}`;
}
