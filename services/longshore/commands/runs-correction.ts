/** The corrections of `longshore runs restart --with FIELD=VALUE`, as the command's data. */
import { Usage } from "../command.ts";

/** Turns "resources.limits.memory=2Gi" into { resources: { limits: { memory: "2Gi" } } }. */
export function correctionOf(given: readonly string[]): Record<string, never> {
  const root: Record<string, unknown> = Object.create(null);
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) throw new Usage(`--with ${text}: write FIELD=VALUE, such as resources.limits.memory=2Gi`);
    const path = text.slice(0, at).split(".");
    const last = path.pop() ?? "";
    let into = root;
    for (const name of path) {
      const next: unknown = (into[name] ??= Object.create(null));
      if (typeof next !== "object" || next === null) throw new Usage(`--with ${text}: ${name} was given a value already`);
      into = next as Record<string, unknown>;
    }
    into[last] = text.slice(at + 1);
  }
  return root as Record<string, never>;
}
