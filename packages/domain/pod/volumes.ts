/**
 * The anchor of a run, the claims of its volumes, and how a pod mounts them.
 *
 * The bugs this prevents: a claim without an owner, which stays for ever if it lands late; and two pods on two nodes that wait for
 * one volume of a single node.
 */
import type { GroupName, Installation, RunId } from "@longshore/contract/ids.ts";
import type { RenderedStep } from "@longshore/contract/request/request.ts";
import { accessOf, isMade, isOfRun, type MadeVolume, type Mount, type Volume } from "@longshore/contract/request/volumes.ts";
import { ANNOTATIONS, LABELS, MANAGED_BY } from "../run/marks.ts";

type Words = Readonly<Record<string, string>>;

export interface StandingAnchor {
  readonly number: number;
  readonly name: string;
  readonly uid: string;
  /** Returns the name of the claim of a volume of the run. */
  readonly claimName: (volume: string) => string;
}

export interface OwnerReference {
  readonly apiVersion: "v1";
  readonly kind: "ConfigMap";
  readonly name: string;
  readonly uid: string;
}

/** Blocks no deletion: that would need a right on the owner's finalizers, and delay what has to go. */
export const ownerOf = ({ name, uid }: Pick<StandingAnchor, "name" | "uid">): OwnerReference => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  name,
  uid,
});

export interface AnchorOf {
  readonly installation: Installation;
  readonly group: { readonly name: GroupName; readonly namespace: string };
  readonly run: { readonly id: RunId; readonly labels?: Words | undefined; readonly annotations?: Words | undefined };
  readonly hashOfRun: string;
  readonly number: number;
  readonly name: string;
}

const ownLabels = ({ installation, hashOfRun, number }: AnchorOf): Words => ({
  [LABELS.installation]: installation,
  [LABELS.run]: hashOfRun,
  [LABELS.anchor]: String(number),
  [LABELS.managedBy]: MANAGED_BY,
});

const metadataOf = (input: AnchorOf, name: string, labels: Words | undefined, annotations: Words) => ({
  name,
  namespace: input.group.namespace,
  labels: { ...input.run.labels, ...labels, ...ownLabels(input) },
  annotations: { ...input.run.annotations, ...annotations, [ANNOTATIONS.runId]: input.run.id },
});

/** Without a finalizer: nothing has to be recorded of it before it may go. */
export const anchorManifest = (input: AnchorOf, proof: string) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: metadataOf(input, input.name, undefined, {
    [ANNOTATIONS.proof]: proof,
    [ANNOTATIONS.group]: input.group.name,
  }),
});

/** The claims of the run's volumes, each owned by the anchor. */
export const claimManifests = (input: AnchorOf, anchor: Pick<StandingAnchor, "uid" | "claimName">, volumes: readonly Volume[]) =>
  volumes.filter(isOfRun).map((volume) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      ...metadataOf(input, anchor.claimName(volume.name), volume.labels, {}),
      ownerReferences: [ownerOf({ name: input.name, uid: anchor.uid })],
    },
    spec: claimSpec(volume),
  }));

const claimSpec = (volume: MadeVolume) => ({
  accessModes: [accessOf(volume)],
  resources: { requests: { storage: volume.size } },
  ...(volume.class !== undefined && { storageClassName: volume.class }),
});

export type PodVolume =
  | { readonly name: string; readonly secret: { readonly secretName: string } }
  | { readonly name: string; readonly downwardAPI: object }
  | { readonly name: string; readonly emptyDir: { readonly sizeLimit: string } }
  | { readonly name: string; readonly persistentVolumeClaim: { readonly claimName: string; readonly readOnly?: true } }
  | { readonly name: string; readonly ephemeral: { readonly volumeClaimTemplate: object } };

export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: true;
}

export interface Mounted {
  readonly volume: PodVolume;
  readonly mount: VolumeMount;
}

interface Mounting {
  readonly step: Pick<RenderedStep, "mounts" | "secrets" | "scratch">;
  readonly volumes?: readonly Volume[] | undefined;
  readonly anchor?: StandingAnchor | undefined;
}

/** All that the step asked for: volumes of the run, Secrets and scratch space. All containers of the pod see it. */
export const mountsOf = (mounting: Mounting): readonly Mounted[] => [
  ...runVolumes(mounting),
  ...(mounting.step.secrets ?? []).map(({ name: secretName, mount: mountPath }, at) => {
    const name = `secret-${at}`;
    return { volume: { name, secret: { secretName } }, mount: { name, mountPath, readOnly: true as const } };
  }),
  ...(mounting.step.scratch ?? []).map(({ path: mountPath, size: sizeLimit }, at) => {
    const name = `scratch-${at}`;
    return { volume: { name, emptyDir: { sizeLimit } }, mount: { name, mountPath } };
  }),
];

const runVolumes = ({ step: { mounts = [] }, volumes = [], anchor }: Mounting): readonly Mounted[] =>
  mounts.flatMap((mount) => {
    const at = volumes.findIndex(({ name }) => name === mount.volume);
    const volume = volumes[at];
    const name = `volume-${at}`;
    const source = volume && sourceOf(name, volume, mount, anchor);
    if (source === undefined) return [];
    const { path: mountPath } = mount;
    return [{ volume: source, mount: { name, mountPath, ...(mount.readOnly === true && { readOnly: true as const }) } }];
  });

/** `readOnly` stands at the claim, too: programs that make pods of their own read it there. */
function sourceOf(name: string, volume: Volume, { readOnly }: Mount, anchor: StandingAnchor | undefined): PodVolume | undefined {
  if (isMade(volume) && volume.life === "step")
    return {
      name,
      ephemeral: {
        volumeClaimTemplate: { ...(volume.labels && { metadata: { labels: volume.labels } }), spec: claimSpec(volume) },
      },
    };
  const claimName = isMade(volume) ? anchor?.claimName(volume.name) : volume.claim;
  if (claimName === undefined) return undefined;
  return { name, persistentVolumeClaim: { claimName, ...(readOnly === true && { readOnly: true as const }) } };
}

/**
 * `of`: the labels that the pods have in common. The first such pod may go anywhere, since it fits its own term; the others follow
 * it.
 */
export const meetingOn = (of: Words) => ({
  podAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      {
        labelSelector: { matchLabels: of },
        topologyKey: "kubernetes.io/hostname",
      },
    ],
  },
});
