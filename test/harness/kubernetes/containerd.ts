/**
 * A containerd in a node's machine. It runs the containers, and has the images that tests name from the start.
 *
 * The failure this prevents: tests that use the computer's own containerd, its images or its sockets. All its data lies in
 * memory, on the node's disk; its pods have addresses that nothing else on the computer uses.
 */
import { createConnection } from "node:net";
import * as fs from "node:fs/promises";
import { networkInterfaces } from "node:os";
import path from "node:path";
import { archive, busyboxImage, type Image, PAUSE, pauseImage } from "./images.ts";
import type { Machine } from "./node-machine.ts";
import type { NodePrograms } from "./node-programs.ts";
import type { Part } from "./part.ts";

export const CONTAINERD_SOCKET = "/run/longshore-node/containerd.sock";

export interface Containerd {
  readonly containerd: Part;
  /** The beginning of its pods' addresses: "198.18.7.". */
  readonly addresses: string;
  add(image: Image): Promise<void>;
}

export async function startContainerd(machine: Machine, programs: NodePrograms, folder: string): Promise<Containerd> {
  const at = (name: string): string => path.join(machine.disk, name);
  const addresses = freeAddresses();
  await fs.mkdir(machine.seen(at("network")));
  await fs.writeFile(machine.seen(at("network/10-pods.conflist")), JSON.stringify(network(`${addresses}0/24`, at("addresses"))));
  await fs.writeFile(machine.seen(at("containerd.toml")), settings(machine.disk, programs));
  const containerd = machine.part({
    name: "containerd",
    program: programs.containerd,
    args: ["--config", at("containerd.toml")],
    env: { PATH: `${path.dirname(programs.containerd)}:${process.env["PATH"] ?? ""}` }, // containerd's shim lies beside it
    logFile: path.join(folder, "containerd.log"),
    ready: () => listens(machine.seen(CONTAINERD_SOCKET)),
  });
  await containerd.start();
  const add = async (image: Image): Promise<void> => {
    const file = at("image.tar");
    await fs.writeFile(machine.seen(file), archive(image));
    await machine.run(programs.ctr, "-a", CONTAINERD_SOCKET, "-n", "k8s.io", "images", "import", file);
    await fs.rm(machine.seen(file));
  };
  for (const image of [await pauseImage(programs.busybox), await busyboxImage(programs.busybox)]) await add(image);
  return { containerd, addresses, add };
}

/** Without restrict_oom_score_adj no sandbox starts on a machine without CAP_SYS_RESOURCE: "can't get final child's PID". */
const settings = (disk: string, { runc, plugins }: NodePrograms): string => `version = 2
root = "${disk}/containerd"
state = "/run/longshore-node"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE}"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true
  stats_collect_period = 2
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${runc}"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${plugins}"
    conf_dir = "${disk}/network"
`;

/** Links each pod to the computer and to nothing else. This needs no bridge and no packet filter, which would stay behind. */
const network = (subnet: string, dataDir: string): object => ({
  cniVersion: "0.4.0",
  name: "pods",
  plugins: [{ type: "ptp", ipMasq: false, ipam: { type: "host-local", dataDir, ranges: [[{ subnet }]] } }],
});

/** Chooses each node's addresses from 198.18.0.0/15, which is reserved for measurements, so that no real network uses them. */
function freeAddresses(): string {
  const taken = Object.values(networkInterfaces()).flatMap((them) => (them ?? []).map((it) => it.address));
  for (let tries = 0; tries < 100; tries++) {
    const start = `198.${18 + Math.floor(Math.random() * 2)}.${Math.floor(Math.random() * 256)}.`;
    if (!taken.some((it) => it.startsWith(start))) return start;
  }
  throw new Error("no address range is free for a node's pods in 198.18.0.0/15: are many nodes running on this computer?");
}

async function listens(socket: string): Promise<boolean> {
  const connection = createConnection(socket);
  try {
    return await new Promise((resolve) => {
      connection.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
  } finally {
    connection.destroy();
  }
}
