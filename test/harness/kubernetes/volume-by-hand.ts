/**
 * A volume that people made: a test's cluster makes none by itself, and each volume is for one claim.
 *
 * The failures this prevents: a run that waits for a volume that nobody will ever make; and one that finds the files of another
 * test's run, or of yesterday's, in a volume of the same name.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface VolumeByHand {
  readonly name: string;
  /** The class whose claims it is for, or the one claim. */
  readonly for: { readonly class: string } | { readonly namespace: string; readonly claim: string };
  readonly size?: string;
  readonly access?: readonly string[];
}

export const VOLUMES_PATH = "/api/v1/persistentvolumes";

let folder: string | undefined;

/** A folder of this process alone, which goes with it. */
function ownFolder(): string {
  if (folder !== undefined) return folder;
  const made = mkdtempSync(path.join(tmpdir(), "longshore-volumes-"));
  process.once("exit", () => rmSync(made, { recursive: true, force: true }));
  return (folder = made);
}

/** Its folder is made where a container mounts it. */
export const volumeByHand = ({
  name,
  for: of,
  size = "1Gi",
  access = ["ReadWriteOnce", "ReadWriteMany"],
}: VolumeByHand): object => ({
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name },
  spec: {
    ...("class" in of ? { storageClassName: of.class } : { claimRef: { namespace: of.namespace, name: of.claim } }),
    capacity: { storage: size },
    accessModes: access,
    persistentVolumeReclaimPolicy: "Retain",
    hostPath: { path: path.join(ownFolder(), name), type: "DirectoryOrCreate" },
  },
});
