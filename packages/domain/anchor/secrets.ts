/**
 * How long a run's own secret values are kept, and what a restart needs of them.
 *
 * The bugs this prevents: a restart whose Secret nobody can make any more; and values that stay in the ledger for ever, since
 * nobody remembers that they are there.
 */
import type { Corrections } from "@longshore/contract/messages/command.ts";
import { secretNames } from "@longshore/contract/request/secret-values.ts";
import type { CommandProblem, ProblemCode } from "@longshore/contract/problems/problem-codes.ts";
import type { Plan, RunRecord } from "../run/record.ts";
import { hasStood, keepMsOf, newestAnchor } from "./of-run.ts";

/**
 * True while the ledger keeps the run's sealed secret values: as long as its volumes, or as they would be kept if nothing of the run
 * was ever there.
 */
export function keepsSecrets(record: RunRecord, nowMs: number): boolean {
  const { outcome, endedAtMs } = record.run;
  if (outcome === undefined || endedAtMs === undefined) return true;
  const newest = newestAnchor(record);
  if (newest !== undefined && hasStood(record, newest)) return newest.state === "kept";
  return nowMs < endedAtMs + keepMsOf(record, outcome);
}

/** A correction may name a secret value that the run has, and no other: nothing would bring that. */
export function unknownSecrets({ storage }: Plan, { steps = {}, ...flat }: Corrections = {}): readonly CommandProblem[] {
  const names = storage?.anchor?.secrets?.names ?? [];
  const places = [["", flat], ...Object.entries(steps).map(([name, it]) => [`/steps/${name}`, it] as const)] as const;
  return places.flatMap(([at, { env }]) =>
    secretNames([{ env }]).flatMap((name): CommandProblem[] =>
      names.includes(name)
        ? []
        : [{ path: `/data/with${at}/env`, code: "RequestInvalid", message: `The run has no secret value named "${name}".` }],
    ),
  );
}

/** Returns the storage of a restart, with the secret values that it was given. Without any, those of the request must be there. */
export function secretsWith(
  record: RunRecord,
  storage: Plan["storage"] = record.run.plan.storage,
  given: readonly string[] | undefined,
  nowMs: number,
): Pick<Plan, "storage"> | { readonly problems: readonly CommandProblem[] } {
  const { anchor } = storage ?? {};
  const problem = (code: ProblemCode, message: string) => ({ problems: [{ path: "/data/with/secretValues", code, message }] });
  if (storage === undefined || anchor?.secrets === undefined)
    return given === undefined ? { ...(storage && { storage }) } : problem("RequestInvalid", "This run has no secret values.");
  const { names } = anchor.secrets;
  const all = names.join(", ");
  if (given === undefined)
    return keepsSecrets(record, nowMs)
      ? { storage }
      : problem(
          "SecretsGone",
          `The secret values of the run are no longer kept: give them again, in \`with.secretValues\`: ${all}.`,
        );
  if (names.join() !== given.toSorted().join())
    return problem("RequestInvalid", `A restart gives all secret values of the run, or none of them: ${all}.`);
  return { storage: { ...storage, anchor: { ...anchor, secrets: { names, since: record.run.generation + 1 } } } };
}
