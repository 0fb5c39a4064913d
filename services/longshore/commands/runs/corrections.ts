/** The corrections that `runs restart --with` names, one option for each. */
import { Usage } from "../../command.ts";

/** A parameter may be any JSON; what is none is a text, so that nobody has to quote it twice. */
export function jsonOrText(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return given; // no JSON
  }
}

/** Turns "resources.limits.memory=2Gi" into { resources: { limits: { memory: "2Gi" } } }. */
export function correctionOf(given: readonly string[]): Record<string, never> {
  const root: Record<string, unknown> = Object.create(null);
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) throw new Usage(`--with ${text}: write FIELD=VALUE, such as resources.limits.memory=2Gi`);
    const [first = "", ...rest] = text.slice(0, at).split(".");
    if (first === "secretValues")
      throw new Usage(`--with ${first}: write --secret NAME=FILE, since others may see what is typed`);
    const isParameter = first === "parameters" && rest.length > 0;
    const path = isParameter ? [first, rest.join(".")] : [first, ...rest];
    const last = path.pop() ?? "";
    let into = root;
    for (const name of path) {
      const next: unknown = (into[name] ??= Object.create(null));
      if (typeof next !== "object" || next === null) throw new Usage(`--with ${text}: ${name} was given a value already`);
      into = next as Record<string, unknown>;
    }
    into[last] = isParameter ? jsonOrText(text.slice(at + 1)) : text.slice(at + 1);
  }
  return root as Record<string, never>;
}
