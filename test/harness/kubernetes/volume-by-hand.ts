/**
 * A volume that people made: a test's cluster makes none by itself, and each volume is for one claim.
 *
 * The failure this prevents: a run that waits for a volume that nobody will ever make.
 */
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
    hostPath: { path: path.join(tmpdir(), `longshore-${name}`), type: "DirectoryOrCreate" },
  },
});
