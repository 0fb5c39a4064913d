/** Whether a form that comes again asks for the run that is there: the same job with the same values, its defaults filled in. */
import { canonical } from "@longshore/contract/json.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";

export function asksTheSame(
  { record, request }: { readonly record: RunRecord; readonly request: RunRequest },
  asked: { readonly definition: string; readonly parameters: Readonly<Record<string, unknown>> },
): boolean {
  const kept = "parameters" in request && request.parameters ? request.parameters : {};
  const given = Object.entries(asked.parameters);
  return (
    record.run.plan.definition?.name === asked.definition &&
    given.every(([name, it]) => name in kept && canonical(kept[name]) === canonical(it))
  );
}
