/**
 * Measures the ceiling: creates of the manifests that Longshore would send, with the launcher's credential and its number of
 * connections. Nothing is recorded, no proof is valid, and no create is tried again.
 */
import { readFile } from "node:fs/promises";
import { type ClusterChoice, INSTALLATION, keyIn } from "@longshore/cli/embedded/home.ts";
import { GroupName, Installation, RunId, StepName, TenantName } from "@longshore/contract/ids.ts";
import { manifest } from "@longshore/domain/pod/manifest.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import { METADATA } from "@longshore/kubernetes/request/read.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { openKeys } from "@longshore/launcher/keys.ts";
import { transportOf } from "../parts/bench-cluster.ts";
import { COMMAND, IMAGE } from "../parts/upstream.ts";

/** As many as the launcher opens to one cluster. */
export const CONNECTIONS = 12;

export interface Ceiling extends AsyncDisposable {
  /** Creates `count` Jobs as fast as the API server answers; resolves to the milliseconds that this took. */
  create(name: string, count: number): Promise<number>;
}

export async function openCeiling(home: string, choice: ClusterChoice): Promise<Ceiling> {
  const transport = await transportOf(choice, "launch");
  const manifestOf = await manifests(home, choice);
  return {
    create: async (name, count) => {
      // Makes the manifests before the clock runs, because the bench measures the cluster and not the domain.
      const waiting = Array.from({ length: count }, (_, at) => manifestOf(RunId.parse(`${name}/${at + 1}`)));
      const beganMs = performance.now();
      await Promise.all(Array.from({ length: CONNECTIONS }, () => creating(transport, choice.namespace, waiting)));
      return performance.now() - beganMs;
    },
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

async function creating(transport: Transport, namespace: string, waiting: object[]): Promise<void> {
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs?timeout=10s&fieldManager=longshore`;
  const signal = new AbortController().signal;
  for (let body = waiting.shift(); body !== undefined; body = waiting.shift()) {
    const { status, body: said } = await transport.send({ method: "POST", path, accept: METADATA, body }, signal);
    if (status !== 201) throw new Error(`a bare create was answered ${status}: ${JSON.stringify(said).slice(0, 500)}`);
  }
}

async function manifests(home: string, choice: ClusterChoice): Promise<(run: RunId) => object> {
  const installation = Installation.parse(INSTALLATION);
  const group = GroupName.parse(choice.name);
  const keys = openKeys(await readFile(await keyIn(home)), installation);
  const step = StepName.parse("main");
  const tenant = TenantName.parse("default");
  return (run) =>
    manifest({
      installation,
      group: { name: group, namespace: choice.namespace },
      run: { id: run },
      step: { name: step, image: IMAGE, command: [...COMMAND] },
      attempt: 1,
      generation: 1,
      epoch: 1,
      name: keys.jobName(run, step, 1),
      hashOfRun: keys.runLabel(run),
      // Proves no attempt, so that no launcher takes these Jobs for its own. It is as long as a real proof.
      proof: keys.digest(tenant, run),
      limits: DEFAULTS,
    });
}
