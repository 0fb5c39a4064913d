/**
 * A person with kubectl: her actions on a run's Job, and her view of it.
 *
 * The failure this prevents: tests of an administrator's actions that go through our own client.
 */
import type { TestCluster } from "../harness/kubernetes/test-cluster.ts";
import { annotated } from "../harness/kubernetes/simulated-pods.ts";
import type { Site } from "../harness/site.ts";
import type { System } from "../harness/system.ts";
import { RunId } from "@longshore/contract/ids.ts";

export const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
export const lasting = (runsFor: string, exitCode = 0): object => ({ ...quick, ...annotated({ runsFor, exitCode }) });
export const names = (prefix: string, most: number): readonly string[] =>
  Array.from({ length: most }, (_, n) => `${prefix}/${n}`);

/** Returns the newest attempt, or the one at this index. */
export async function attemptOf(system: System, run: string, index = -1) {
  const found = await system.ledger.find(RunId.parse(run));
  const attempt = found?.record.attempts.at(index);
  if (attempt === undefined) throw new Error(`the ledger knows no attempt of ${run}`);
  return attempt;
}

export const jobOf = async (system: System, run: string): Promise<string> => (await attemptOf(system, run)).name;

export const sent = (system: System, runs: readonly string[], data: object): Promise<unknown> =>
  Promise.all(runs.map((run) => system.command("run.requested", { run, ...data })));

export interface Shown {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly finalizers?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: { readonly conditions?: readonly object[]; readonly phase?: string };
}

export const shown = async (site: Site, what: string): Promise<readonly Shown[]> =>
  ((await site.ask("GET", what)) as { readonly items: readonly Shown[] }).items;

export const podsOf = (site: Site, job: string): Promise<readonly Shown[]> =>
  shown(site, `pods?labelSelector=batch.kubernetes.io/job-name=${job}`);

/** Runs kubectl. If it fails, throws its output. */
export async function kubectl(cluster: TestCluster, { namespace }: Site, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl(["-n", namespace, ...args]);
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}

export const stripped = { metadata: { finalizers: null } };
