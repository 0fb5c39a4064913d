/**
 * Volumes for local processes: a folder of the pod for each scratch volume (`emptyDir`) and for the files of a Secret, a ConfigMap
 * or the pod's own annotations, and for each claim one that outlives the pods that mount it.
 *
 * Nothing is mounted on this machine: a path of the container that lies in a volume is replaced by the folder's own path, in its
 * words and in the values of its variables. Sizes are not watched over.
 */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Look } from "../api.ts";
import type { Container, PodObject, Volume } from "../objects.ts";
import { fieldOf, missing, type Source, textsOf, type Unmade } from "./command.ts";

export interface Mount {
  /** In the container. */
  readonly path: string;
  /** Or a file, if the container mounts one file of a volume. */
  readonly folder: string;
  /** The texts of the volume's files, by their names. */
  readonly files?: Texts;
}

type Texts = Readonly<Record<string, string>>;

interface Places {
  readonly dataDir: string;
  readonly podFolder: string;
  readonly look: Look;
}

/** No container has this name. */
const SCRATCH = ".volumes";
const claimFolder = (dataDir: string, claimUid: string): string => join(dataDir, "volumes", claimUid);

/** Shorter paths come first, so that a mount within another finds its place. */
export function mountsOf(pod: PodObject, container: Container, places: Places): readonly Mount[] | Unmade {
  const { volumes = [] } = pod.spec;
  const mounts: Mount[] = [];
  for (const { name, mountPath, subPath } of container.volumeMounts ?? []) {
    const volume = volumes.find((it) => it.name === name);
    const texts = volume && textsIn(volume, pod, places);
    if (typeof texts === "string") return { reason: "CreateContainerConfigError", message: texts };
    const whole = volume && folderOf(volume, pod, places);
    if (whole === undefined) continue;
    const folder = subPath === undefined ? whole : join(whole, subPath);
    const files = texts && Object.fromEntries(Object.entries(texts).map(([file, text]) => [join(whole, file), text]));
    mounts.push({ path: resolve("/", mountPath), folder, ...(files && { files }) });
  }
  return mounts.toSorted((one, other) => one.path.length - other.path.length);
}

/** The texts of a volume that has any, by their names, or why they cannot be had. */
function textsIn({ secret, configMap, downwardAPI }: Volume, pod: PodObject, { look }: Places): Texts | string | undefined {
  if (downwardAPI !== undefined)
    return Object.fromEntries(downwardAPI.items.map(({ path, fieldRef }) => [path, fieldOf(pod, fieldRef?.fieldPath ?? "")]));
  const of = secret === undefined ? configMap && { ...configMap } : { ...secret, name: secret.secretName };
  if (of === undefined) return undefined;
  const resource: Source = secret === undefined ? "configmaps" : "secrets";
  const texts = textsOf(resource, of.name, look) ?? (of.optional === true ? {} : undefined);
  if (texts === undefined) return missing(resource, of.name);
  const { items = Object.keys(texts).map((key) => ({ key, path: key })) } = of;
  const lacking = items.find(({ key }) => !Object.hasOwn(texts, key));
  if (lacking !== undefined) return `references non-existent key: ${lacking.key}`;
  return Object.fromEntries(items.map(({ key, path }) => [path, texts[key] ?? ""]));
}

function folderOf(volume: Volume, pod: PodObject, { dataDir, podFolder, look }: Places): string | undefined {
  const { name, emptyDir, persistentVolumeClaim, ephemeral, secret, configMap, downwardAPI } = volume;
  if ((emptyDir ?? secret ?? configMap ?? downwardAPI) !== undefined) return join(podFolder, SCRATCH, name);
  const claimName = persistentVolumeClaim?.claimName ?? (ephemeral && `${pod.metadata.name}-${name}`);
  const claim = claimName === undefined ? undefined : look("persistentvolumeclaims", claimName);
  return claim && claimFolder(dataDir, claim.metadata.uid);
}

/**
 * Makes the folders and their files, and links to them in the container's own folder, so that a working directory may lie in a volume.
 * Nobody else on this machine reads the files: a Secret may be among them.
 */
export function makeMounts(mounts: readonly Mount[], root: string): void {
  for (const { path, folder, files } of mounts) {
    for (const [file, text] of Object.entries(files ?? {})) {
      mkdirSync(dirname(file), { recursive: true });
      if (!existsSync(file)) writeFileSync(file, text, { mode: 0o600 });
    }
    if (files === undefined) mkdirSync(folder, { recursive: true });
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
