/**
 * The anchor of a run, what it owns (the claims of volumes, the Secret of secret values, large files), and how a pod mounts them.
 *
 * The bugs this prevents: an object without an owner, which stays for ever if it lands late; and two pods on two nodes that wait for
 * one volume of a single node.
 */
import type { GroupName, Installation, RunId } from "@longshore/contract/ids.ts";
import { largeFiles } from "@longshore/contract/expressions/file-contents.ts";
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
  /** The name of the Secret with the run's own secret values. */
  readonly secretName: string;
  /** Returns the name of the ConfigMap with this content of a large file. */
  readonly fileName: (content: string) => string;
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
    metadata: ownedBy(input, anchor, anchor.claimName(volume.name), volume.labels),
    spec: claimSpec(volume),
  }));

const ownedBy = (input: AnchorOf, { uid }: Pick<StandingAnchor, "uid">, name: string, labels?: Words) => ({
  ...metadataOf(input, name, labels, {}),
  ownerReferences: [ownerOf({ name: input.name, uid })],
});

/** The Secret with the run's own secret values. Nobody changes it: other values would be another Secret. */
export const secretManifest = (
  input: AnchorOf,
  anchor: Pick<StandingAnchor, "uid" | "secretName">,
  values: Readonly<Record<string, string>>,
) => ({
  apiVersion: "v1",
  kind: "Secret",
  type: "Opaque",
  immutable: true,
  metadata: ownedBy(input, anchor, anchor.secretName),
  stringData: values,
});

/** A ConfigMap for each content of the step's large files. */
export const fileManifests = (
  input: AnchorOf,
  anchor: Pick<StandingAnchor, "uid" | "fileName">,
  step: Pick<RenderedStep, "files">,
) =>
  largeFiles([step]).map((content) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    immutable: true,
    metadata: ownedBy(input, anchor, anchor.fileName(content)),
    data: { [CONTENT]: content },
  }));

/** The only key of a large file's ConfigMap. */
const CONTENT = "content";

const claimSpec = (volume: MadeVolume) => ({
  accessModes: [accessOf(volume)],
  resources: { requests: { storage: volume.size } },
  ...(volume.class !== undefined && { storageClassName: volume.class }),
});

export type PodVolume =
  | { readonly name: string; readonly secret: { readonly secretName: string; readonly items?: readonly KeyOfSecret[] } }
  | { readonly name: string; readonly configMap: { readonly name: string } }
  | { readonly name: string; readonly downwardAPI: { readonly items: readonly AnnotationFile[] } }
  | { readonly name: string; readonly emptyDir: { readonly sizeLimit: string } }
  | { readonly name: string; readonly persistentVolumeClaim: { readonly claimName: string; readonly readOnly?: true } }
  | { readonly name: string; readonly ephemeral: { readonly volumeClaimTemplate: object } };

interface KeyOfSecret {
  readonly key: string;
  readonly path: string;
}

interface AnnotationFile {
  readonly path: string;
  readonly fieldRef: { readonly fieldPath: string };
}

export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  /** One file of the volume, in place of the whole. */
  readonly subPath?: string;
  readonly readOnly?: true;
}

export interface Mounted {
  readonly volume: PodVolume;
  readonly mounts: readonly VolumeMount[];
}

interface Mounting {
  readonly step: Pick<RenderedStep, "mounts" | "secrets" | "scratch" | "files">;
  readonly volumes?: readonly Volume[] | undefined;
  readonly anchor?: StandingAnchor | undefined;
}

/** All that the step asked for: volumes of the run, Secrets, scratch space and files. All containers of the pod see it. */
export const mountsOf = (mounting: Mounting): readonly Mounted[] => [
  ...runVolumes(mounting),
  ...secretVolumes(mounting),
  ...(mounting.step.scratch ?? []).map(({ path: mountPath, size: sizeLimit }, at) => {
    const name = `scratch-${at}`;
    return { volume: { name, emptyDir: { sizeLimit } }, mounts: [{ name, mountPath }] };
  }),
  ...fileVolumes(mounting),
];

const secretVolumes = ({ step: { secrets = [] }, anchor }: Mounting): readonly Mounted[] =>
  secrets.flatMap((it, at) => {
    const name = `secret-${at}`;
    const items = "values" in it ? it.values.map((key) => ({ key, path: key })) : undefined;
    const secretName = "name" in it ? it.name : anchor?.secretName;
    if (secretName === undefined) return [];
    const volume = { name, secret: { secretName, ...(items && { items }) } };
    return [{ volume, mounts: [{ name, mountPath: it.mount, readOnly: true as const }] }];
  });

/** An annotation for each small file, by its place among the step's files. Only the step's pods carry them. */
export const fileAnnotations = (files: RenderedStep["files"] = []): Words =>
  Object.fromEntries(files.flatMap(({ content, isLarge }, at) => (isLarge ? [] : [[`${ANNOTATIONS.file}-${at}`, content]])));

/** One volume for all small files, and one for each large content. A file is mounted alone, so the image's folder stays as it is. */
function fileVolumes({ step: { files = [] }, anchor }: Mounting): readonly Mounted[] {
  const numbered = files.map((file, at) => ({ ...file, at }));
  const mount = (name: string, mountPath: string, subPath: string) => ({ name, mountPath, subPath, readOnly: true as const });
  const small = numbered.filter(({ isLarge }) => !isLarge);
  const items = small.map(({ at }) => ({
    path: String(at),
    fieldRef: { fieldPath: `metadata.annotations['${ANNOTATIONS.file}-${at}']` },
  }));
  const mounts = small.map(({ path, at }) => mount("files", path, String(at)));
  const large = Map.groupBy(numbered.filter(({ isLarge }) => isLarge), ({ content }) => content); // biome-ignore format: one call
  return [
    ...(small.length === 0 ? [] : [{ volume: { name: "files", downwardAPI: { items } }, mounts }]),
    ...[...large].flatMap(([content, of], which) => {
      const name = `file-${which}`;
      if (anchor === undefined) return [];
      const volume = { name, configMap: { name: anchor.fileName(content) } };
      return [{ volume, mounts: of.map(({ path }) => mount(name, path, CONTENT)) }];
    }),
  ];
}

const runVolumes = ({ step: { mounts = [] }, volumes = [], anchor }: Mounting): readonly Mounted[] =>
  mounts.flatMap((mount) => {
    const at = volumes.findIndex(({ name }) => name === mount.volume);
    const volume = volumes[at];
    const name = `volume-${at}`;
    const source = volume && sourceOf(name, volume, mount, anchor);
    if (source === undefined) return [];
    const { path: mountPath } = mount;
    return [{ volume: source, mounts: [{ name, mountPath, ...(mount.readOnly === true && { readOnly: true as const }) }] }];
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
