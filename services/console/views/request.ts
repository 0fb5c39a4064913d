/**
 * A run's request for those who may see the run and may not operate it.
 *
 * The failure this prevents: a password in `env`, in a file or on a command line that everybody reads who may see the run. Fields are
 * shown by name, so that a new one is withheld until somebody thought of it. A secret value is never in a request.
 */
import type { RunRequest } from "@longshore/contract/request/request.ts";

const SHOWN: readonly string[] = [
  ...["parameters", "labels", "annotations", "groups", "priority", "concurrency", "notBefore"],
  ...["waitFor", "startWithin", "deadline", "retries", "keepFor"],
  ...["steps", "name", "needs", "image", "resources"],
];

export function withheldFrom(request: RunRequest): {
  readonly request: Record<string, unknown>;
  readonly withheld: readonly string[];
} {
  const withheld: string[] = [];
  const shown = (of: object, at: string): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(of).flatMap(([name, value]: [string, unknown]) => {
        const path = `${at}/${name}`;
        if (name === "steps" && Array.isArray(value))
          return [[name, value.map((step: object, which) => shown(step, `${path}/${which}`))]];
        if (SHOWN.includes(name)) return [[name, value]];
        withheld.push(path);
        return [];
      }),
    );
  return { request: shown(request, ""), withheld };
}
