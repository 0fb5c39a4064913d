/**
 * Nodes that are only objects. Every pod starts, runs and ends, in about a second unless the annotations of its run ask for longer.
 *
 * The failure this prevents: tests of a thousand Jobs that are not written because they would need a thousand real containers.
 */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { adminOf } from "./admin.ts";
import { type Part, part } from "./part.ts";
import { type KubeletPlace, NODES } from "./simulated-kubelet.ts";
import type { StartedCluster } from "./test-cluster.ts";

export async function startSimulatedNodes({ folder, url, ca, adminToken: token, admin }: StartedCluster): Promise<Part> {
  const file = path.join(folder, "simulated-kubelet.json");
  const place: KubeletPlace = { url, ca, token };
  await writeFile(file, JSON.stringify(place), { mode: 0o600 });
  const kubelets = part({
    name: "simulated-kubelet",
    program: process.execPath,
    args: [path.join(import.meta.dirname, "simulated-kubelet.ts"), file],
    logFile: path.join(folder, "simulated-kubelet.log"),
    ready: async () => (await adminOf(admin).items("/api/v1/nodes")).length === NODES.length,
  });
  await kubelets.start();
  return kubelets;
}
