/**
 * Scratch volumes (`emptyDir`) as folders of the pod, which all of its containers share.
 *
 * Nothing is mounted on this machine: a path of the container that lies in a volume is replaced by the folder's own path, in its
 * words and in the values of its variables. Sizes are not watched over.
 */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Container, PodObject } from "../objects.ts";

export interface Mount {
  /** In the container. */
  readonly path: string;
  readonly folder: string;
}

/** No container has this name. */
const VOLUMES = ".volumes";

/** Shorter paths come first, so that a mount within another finds its place. */
export function mountsOf(pod: PodObject, container: Container, podFolder: string): readonly Mount[] {
  const scratch = (pod.spec.volumes ?? []).flatMap(({ name, emptyDir }) => (emptyDir === undefined ? [] : [name]));
  return (container.volumeMounts ?? [])
    .filter(({ name }) => scratch.includes(name))
    .map(({ name, mountPath }) => ({ path: resolve("/", mountPath), folder: join(podFolder, VOLUMES, name) }))
    .toSorted((one, other) => one.path.length - other.path.length);
}

/** Makes the folders, and links to them in the container's own folder, so that a working directory may lie in a volume. */
export function makeMounts(mounts: readonly Mount[], root: string): void {
  for (const { path, folder } of mounts) {
    mkdirSync(folder, { recursive: true });
    const link = join(root, path);
    mkdirSync(dirname(link), { recursive: true });
    if (!existsSync(link)) symlinkSync(folder, link);
  }
}

/** Replaces the paths that lie in volumes. */
export function withFolders(text: string, mounts: readonly Mount[]): string {
  if (mounts.length === 0) return text;
  const paths = mounts.toReversed().map(({ path }) => RegExp.escape(path));
  const any = new RegExp(`(?<![\\w./-])(?:${paths.join("|")})(?![\\w.-])`, "g");
  return text.replace(any, (path) => mounts.find((it) => it.path === path)?.folder ?? path);
}
