/**
 * Volumes for local processes: a folder of the pod for each scratch volume (`emptyDir`), and for each claim one that outlives the
 * pods that mount it.
 *
 * Nothing is mounted on this machine: a path of the container that lies in a volume is replaced by the folder's own path, in its
 * words and in the values of its variables. Sizes are not watched over.
 */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Look } from "../api.ts";
import type { Container, PodObject, Volume } from "../objects.ts";

export interface Mount {
  /** In the container. */
  readonly path: string;
  readonly folder: string;
}

interface Places {
  readonly dataDir: string;
  readonly podFolder: string;
  readonly look: Look;
}

/** No container has this name. */
const SCRATCH = ".volumes";
const claimFolder = (dataDir: string, claimUid: string): string => join(dataDir, "volumes", claimUid);

/** Shorter paths come first, so that a mount within another finds its place. */
export function mountsOf(pod: PodObject, container: Container, places: Places): readonly Mount[] {
  const { volumes = [] } = pod.spec;
  return (container.volumeMounts ?? [])
    .flatMap(({ name, mountPath }) => {
      const volume = volumes.find((it) => it.name === name);
      const folder = volume && folderOf(volume, pod, places);
      return folder === undefined ? [] : [{ path: resolve("/", mountPath), folder }];
    })
    .toSorted((one, other) => one.path.length - other.path.length);
}

/** Secrets have no folder: the pocket has none. */
function folderOf(volume: Volume, pod: PodObject, { dataDir, podFolder, look }: Places): string | undefined {
  const { name, emptyDir, persistentVolumeClaim, ephemeral } = volume;
  if (emptyDir !== undefined) return join(podFolder, SCRATCH, name);
  const claimName = persistentVolumeClaim?.claimName ?? (ephemeral && `${pod.metadata.name}-${name}`);
  const claim = claimName === undefined ? undefined : look("persistentvolumeclaims", claimName);
  return claim && claimFolder(dataDir, claim.metadata.uid);
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

/** Replaces the paths that lie in volumes: "/data/in", and not "/database". */
export function withFolders(text: string, mounts: readonly Mount[]): string {
  if (mounts.length === 0) return text;
  const paths = mounts.toReversed().map(({ path }) => RegExp.escape(path));
  const any = new RegExp(`(?<![\\w./-])(?:${paths.join("|")})(?![\\w.-])`, "g");
  return text.replace(any, (path) => mounts.find((it) => it.path === path)?.folder ?? path);
}

/** The claim is gone, and its files with it. Never rejects: files that cannot be removed stay, with a warning. */
export async function removeVolume(dataDir: string, claimUid: string): Promise<void> {
  try {
    await rm(claimFolder(dataDir, claimUid), { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    process.emitWarning(`the files of a volume could not be removed: ${error instanceof Error ? error.message : String(error)}`);
  }
}
