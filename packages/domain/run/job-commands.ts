/**
 * The commands that show a run's Jobs in their cluster, for `runs show` and for the console's page.
 *
 * The failure this prevents: a command about a Job that is known to be gone, of which kubectl says only that it is not there.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import { runLabel, type Sha256Hex } from "./identity.ts";
import { LABELS } from "./marks.ts";
import type { Attempt, RunRecord } from "./record.ts";

export const isGone = (attempt: Pick<Attempt, "outcome"> | undefined): boolean => {
  const code = attempt?.outcome?.diagnosis?.code;
  return code === "DeletedExternally" || code === "Gone";
};

/** Selects every Job and pod of a run. */
export const selectorOfRun = (run: RunId, hash: Sha256Hex): string => `${LABELS.run}=${runLabel(run, hash)}`;

/** The namespaces in which the run may have Jobs. */
export const namespacesOf = ({ attempts }: Pick<RunRecord, "attempts">): readonly string[] => [
  ...new Set(attempts.flatMap(({ notes: { namespace }, claimNo }) => (claimNo > 0 && namespace ? [namespace] : []))),
];

/** `kubectl`: with what makes it ask the right cluster. `job`: the newest, if it is not known to be gone. */
export const jobCommands = (
  kubectl: string,
  { namespace, job }: { readonly namespace: string | undefined; readonly job: string | undefined },
  namespaces: readonly string[],
  selector: string,
): readonly string[] => [
  ...(job === undefined ? [] : [`${kubectl} -n ${namespace ?? ""} describe job ${job}`]),
  ...namespaces.map((it) => `${kubectl} -n ${it} get jobs,pods -l ${selector}`),
];
