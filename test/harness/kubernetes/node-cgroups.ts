/**
 * A cgroup of our own for a node's pods, in every hierarchy that the machine has: version 1 has many, version 2 has one.
 *
 * The failure this prevents: cgroups that stay when a test was killed, since a cgroup outlives every process. A cgroup's name
 * has the id of the process that made it, so that the next node can tell a dead process's cgroups from those of a test that
 * still runs.
 */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exists } from "../builds/cached.ts";

const ROOT = "/sys/fs/cgroup";
const PREFIX = "longshore-node-";
const REMOVED_WITHIN_MS = 10_000;

export interface Cgroups extends AsyncDisposable {
  /** The form that the kubelet wants: "/longshore-node-1234-ab12cd". */
  readonly name: string;
}

export async function cgroups(): Promise<Cgroups> {
  await sweep();
  const name = `${PREFIX}${process.pid}-${randomBytes(3).toString("hex")}`;
  for (const hierarchy of await hierarchies()) {
    await fs.mkdir(path.join(hierarchy, name));
    await inheritCpus(hierarchy, name);
  }
  return {
    name: `/${name}`,
    [Symbol.asyncDispose]: async () => {
      for (const hierarchy of await hierarchies()) await remove(path.join(hierarchy, name));
    },
  };
}

/** Removes the cgroups whose processes are gone. */
export async function sweep(): Promise<void> {
  for (const hierarchy of await hierarchies())
    for (const name of await fs.readdir(hierarchy)) {
      const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
      if (owner !== undefined && !(await exists(`/proc/${owner}`))) await remove(path.join(hierarchy, name));
    }
}

async function hierarchies(): Promise<readonly string[]> {
  if (!(await exists(ROOT))) return []; // not Linux
  if (await exists(path.join(ROOT, "cgroup.controllers"))) return [ROOT];
  const names = await fs.readdir(ROOT, { withFileTypes: true });
  return names.filter((it) => it.isDirectory()).map((it) => path.join(ROOT, it.name));
}

/** In cgroup version 1 a new cpuset is empty, and no process can enter it. */
async function inheritCpus(hierarchy: string, name: string): Promise<void> {
  if (path.basename(hierarchy) !== "cpuset") return;
  for (const file of ["cpuset.cpus", "cpuset.mems"])
    await fs.writeFile(path.join(hierarchy, name, file), await fs.readFile(path.join(hierarchy, file)));
}

/** Removes the children first. The cgroup's processes are dead, but the kernel may need a moment to let go of them. */
async function remove(cgroup: string): Promise<void> {
  const within = await fs.readdir(cgroup, { withFileTypes: true }).catch(() => []); // another sweep was faster
  for (const it of within) if (it.isDirectory()) await remove(path.join(cgroup, it.name));
  for (const began = performance.now(); ; await sleep(20)) {
    const failed = await fs.rmdir(cgroup).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error,
    );
    if (failed === undefined || failed.code === "ENOENT") return;
    if (failed.code !== "EBUSY" || performance.now() - began > REMOVED_WITHIN_MS) throw failed;
  }
}
