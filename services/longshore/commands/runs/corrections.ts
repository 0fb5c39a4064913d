/** The corrections that `runs restart --with` names, one option for each. */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { configWords, Usage } from "../../command.ts";

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

interface Asked {
  readonly from?: string | undefined;
  readonly with?: readonly string[] | undefined;
  readonly config?: string | undefined;
}

/** The launcher would refuse it, in words of the message's fields. */
export function refuseWithoutFailure({ run }: RunRecord, values: Asked): void {
  if (values.from !== undefined || run.outcome !== "succeeded") return;
  const fields = (values.with ?? []).map((it) => ` --with ${quoted(it)}`).join("");
  const again = `longshore runs restart ${run.id} --from start${fields}${configWords(values.config)}`;
  throw new Failure("refuse", "RequestInvalid", `every step of ${run.id} succeeded. To run them all again: \`${again}\``);
}
