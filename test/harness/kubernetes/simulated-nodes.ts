/**
 * Nodes that are only objects. kwok marks every pod as started, running and ended, in about a second unless the annotations of
 * its run ask for longer.
 *
 * The failure this prevents: tests of a thousand Jobs that are not written because they would need a thousand real containers.
 */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import type { StartedCluster } from "./test-cluster.ts";
import { adminOf } from "./admin.ts";
import { type Part, part } from "./part.ts";
import type { Programs } from "./programs.ts";
import { podStages } from "./simulated-pods.ts";

const NODES = 4;

export async function startSimulatedNodes(programs: Programs, cluster: StartedCluster): Promise<Part> {
  const port = await freePort();
  const config = path.join(cluster.folder, "kwok.yaml");
  await writeFile(
    config,
    podStages()
      .map((it) => JSON.stringify(it))
      .join("\n---\n"),
  );
  const kwok = part({
    name: "kwok",
    program: programs.kwok,
    args: [
      `--kubeconfig=${cluster.kubeconfig}`,
      `--config=${config}`,
      "--manage-all-nodes=true",
      `--server-address=127.0.0.1:${port}`,
    ],
    logFile: path.join(cluster.folder, "kwok.log"),
    env: { HOME: cluster.folder },
    ready: async () => (await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2_000) })).ok,
  });
  await kwok.start();
  const { must } = adminOf(cluster.admin);
  for (let n = 0; n < NODES; n++) await must("POST", "/api/v1/nodes", node(`simulated-${n}`));
  return kwok;
}

function node(name: string): object {
  const room = { cpu: "1000", memory: "4Ti", pods: "20000" };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, annotations: { "kwok.x-k8s.io/node": "fake" }, labels: { "kubernetes.io/hostname": name } },
    status: { capacity: room, allocatable: room },
  };
}
