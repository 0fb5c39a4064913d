/**
 * A containerd with one container that does not end, and no cluster: killed.test.ts kills this process.
 *
 *   node test/kube/node/alone.ts <folder>      prints its cgroup as JSON when the container runs
 *
 * The failure its test prevents: containers that outlive the process that started them, on the machine of a person who stopped
 * a test.
 */
import { CONTAINERD_SOCKET, startContainerd } from "../../harness/kubernetes/containerd.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { cgroups } from "../../harness/kubernetes/node-cgroups.ts";
import { startMachine } from "../../harness/kubernetes/node-machine.ts";
import { nodePrograms } from "../../harness/kubernetes/node-programs.ts";

async function main([folder]: readonly string[]): Promise<void> {
  if (folder === undefined) throw new Error("usage: alone.ts <folder>");
  const programs = await nodePrograms();
  const group = await cgroups();
  const machine = await startMachine(folder);
  await startContainerd(machine, programs, folder);
  const place = ["--runc-binary", programs.runc, "--cgroup", `${group.name}/container`];
  const container = [BUSYBOX, "runs-on", "/bin/sleep", "600"];
  await machine.run(programs.ctr, "-a", CONTAINERD_SOCKET, "-n", "k8s.io", "run", "--detach", ...place, ...container);
  process.stdout.write(`${JSON.stringify({ cgroup: group.name })}\n`);
  setInterval(() => undefined, 60_000); // runs until the process is killed
}

if (import.meta.main) await main(process.argv.slice(2));
