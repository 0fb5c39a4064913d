/**
 * Volumes for local processes: a folder for each claim, which outlives the pods that mount it.
 *
 * A process sees this machine's own files, so nothing can be mounted at "/data" for it alone. Like its working directory, a mount
 * lies in the container's own folder, as a link to the volume, and replaces the mount's path in the command and in variables.
 */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Look } from "../api.ts";
import type { Container, PodObject } from "../objects.ts";

const volumesIn = (dataDir: string): string => join(dataDir, "volumes");

/** The path in the container's spec → the path for the process. */
export type Mounts = ReadonlyMap<string, string>;

/** `root` stands for "/" in the container's own folder. */
export function mountAll(dataDir: string, root: string, pod: PodObject, container: Container, look: Look): Mounts {
  const mounts = new Map<string, string>();
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    const volume = pod.spec.volumes?.find((it) => it.name === name);
    const claimName = volume?.persistentVolumeClaim?.claimName ?? (volume?.ephemeral && `${pod.metadata.name}-${name}`);
    const claim = claimName === undefined ? undefined : look("persistentvolumeclaims", claimName);
    if (claim === undefined) continue;
    const folder = join(volumesIn(dataDir), claim.metadata.uid);
    const link = join(root, mountPath);
    mkdirSync(folder, { recursive: true });
    mkdirSync(dirname(link), { recursive: true });
    if (!existsSync(link)) symlinkSync(folder, link);
    mounts.set(mountPath, link);
  }
  return mounts;
}

/** Replaces each mount's path where it stands as a path of its own: "/data/in", and not "/database". */
export function withMounts(text: string, mounts: Mounts): string {
  let replaced = text;
  for (const [path, link] of [...mounts].toSorted(([a], [b]) => b.length - a.length))
    replaced = replaced.replaceAll(new RegExp(`(?<![\\w./-])${RegExp.escape(path)}(?![\\w.-])`, "g"), () => link);
  return replaced;
}

/** The claim is gone, and its files with it. Never rejects: what cannot be removed stays, with a warning. */
export async function removeVolume(dataDir: string, claimUid: string): Promise<void> {
  try {
    await rm(join(volumesIn(dataDir), claimUid), { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    process.emitWarning(`the files of a volume could not be removed: ${error instanceof Error ? error.message : String(error)}`);
  }
}
