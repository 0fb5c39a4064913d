/**
 * Makes the Kubernetes Job for one attempt of a step, and the occupant that keeps its name taken.
 *
 * The bugs this prevents: a Job without the hold, whose outcome vanishes with it; a Job that Kubernetes retries by itself, so
 * that work runs more often than the ledger knows; and a pod with more rights than the request asked for.
 *
 * Security defaults suit an ordinary image at Pod Security level `baseline`: no token, RuntimeDefault seccomp, no privilege
 * escalation, and none of the capabilities to craft packets or devices. The rest of the default capabilities stay: without
 * CHOWN, SETUID or DAC_OVERRIDE the many images that begin as root and then step down cannot start. Level `restricted` drops
 * them all.
 */
import type { GroupName, Installation, RunId } from "@longshore/contract/ids.ts";
import type { RenderedContainer } from "@longshore/contract/request/container.ts";
import { declaredOf, type RenderedStep } from "@longshore/contract/request/request.ts";
import { durationMs } from "@longshore/contract/units.ts";
import type { Volume } from "@longshore/contract/request/volumes.ts";
import { wordsOfLabels } from "../run/identity.ts";
import { envOfSlice, type IndexedSpec, indexedSpec, withItems } from "./slices.ts";
import { ANNOTATIONS, CONTAINER, HOLD, LABELS, MANAGED_BY, WITHOUT_HOLD } from "../run/marks.ts";
import type { Limits } from "../run/record.ts";
import {
  fileAnnotations, meetingOn, mountsOf, type OwnerReference, ownerOf, type PodVolume, type StandingAnchor, type VolumeMount,
} from "./volumes.ts"; // biome-ignore format: a list of names

type Words = Readonly<Record<string, string>>;

export interface JobManifest {
  readonly apiVersion: "batch/v1";
  readonly kind: "Job";
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Words;
    readonly annotations: Words;
    readonly finalizers?: readonly string[];
    readonly ownerReferences?: readonly OwnerReference[];
  };
  readonly spec: JobSpec;
}

interface JobSpec {
  readonly suspend?: boolean;
  readonly parallelism: number;
  readonly completions: number;
  readonly completionMode?: "Indexed";
  readonly backoffLimitPerIndex?: number;
  readonly maxFailedIndexes?: number;
  readonly backoffLimit?: 0;
  readonly podReplacementPolicy: "Failed";
  readonly activeDeadlineSeconds: number;
  readonly template: { readonly metadata: { readonly labels: Words; readonly annotations: Words }; readonly spec: PodSpec };
}

interface PodSpec {
  readonly restartPolicy: "Never";
  readonly terminationGracePeriodSeconds?: number;
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken: boolean;
  readonly enableServiceLinks: false;
  readonly securityContext: { readonly seccompProfile: { readonly type: "RuntimeDefault" } };
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly PodVolume[];
  readonly affinity?: object;
}

interface Container extends Pick<RenderedContainer, "command" | "args" | "workingDir" | "resources"> {
  readonly name: string;
  readonly image: string;
  readonly env?: readonly EnvVariable[];
  readonly volumeMounts?: readonly VolumeMount[];
  readonly terminationMessagePolicy: "File";
  readonly securityContext: {
    readonly allowPrivilegeEscalation: false;
    readonly capabilities: { readonly drop: readonly string[] };
  };
}

type EnvVariable =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly valueFrom: { readonly fieldRef: { readonly fieldPath: string } } }
  | { readonly name: string; readonly valueFrom: { readonly secretKeyRef: { readonly name: string; readonly key: string } } };

export interface ManifestInput {
  readonly installation: Installation;
  readonly group: { readonly name: GroupName; readonly namespace: string };
  readonly run: {
    readonly id: RunId;
    readonly labels?: Words | undefined;
    readonly annotations?: Words | undefined;
    readonly traceparent?: string | undefined;
  };
  readonly step: RenderedStep;
  readonly attempt: number;
  /** The number of slices that run at the same time. */
  readonly slots?: number | undefined;
  readonly generation: number;
  readonly epoch: number;
  /** `jobName`, `runLabel` and the HMAC of `proofInput`, all from run/identity.ts. */
  readonly name: string;
  readonly hashOfRun: string;
  readonly proof: string;
  /** `false`: without the finalizer. An annotation then says whether the outcome was recorded. */
  readonly hold?: boolean;
  readonly limits: Pick<Limits, "waitForMs" | "startWithinMs" | "deadlineMs">;
  /** The run's volumes, and the name under which the step's pods meet others on one node. */
  readonly volumes?: readonly Volume[] | undefined;
  readonly node?: string | undefined;
  /** What the run has in the cluster beside its Jobs. */
  readonly anchor?: StandingAnchor | undefined;
  /** The labels of the pods that the program makes itself, told to a program with a token. */
  readonly childLabels?: Words;
}

/** Our own timers end an attempt. The Job's deadline matters only if no launcher runs, so it comes safely after our timers. */
const DEADLINE_MARGIN_SECONDS = 600;

/**
 * Makes the Job with the container that the step asked for. (A group's overlay will be merged into the pod's spec here, and
 * policy judges the result.)
 */
export function manifest(asked: ManifestInput): JobManifest {
  const input = { ...asked, step: withItems(asked.step) };
  const { init = [], slices } = input.step;
  const mounted = mountsOf(input);
  const of = (name: string, asked: RenderedContainer): Container => {
    const { image, command, args, workingDir, resources } = asked;
    return {
      ...container(name, image),
      ...(command && { command }),
      ...(args && { args }),
      ...(workingDir !== undefined && { workingDir }),
      ...(resources && { resources }),
      env: [...environment(input, asked.env), ...envOfSlice(slices)],
      ...(mounted.length > 0 && { volumeMounts: mounted.flatMap(({ mounts }) => mounts) }),
    };
  };
  return job(
    input,
    { ...ownLabels(input), ...(input.node !== undefined && { [LABELS.node]: input.node }) },
    slices ? indexedSpec(slices, input.slots ?? 1) : ONE_POD,
    {
      ...(init.length > 0 && { initContainers: init.map((it) => of(it.name, it)) }),
      containers: [of(CONTAINER, input.step)],
      ...(mounted.length > 0 && { volumes: mounted.map(({ volume }) => volume) }),
      ...(input.node !== undefined && { affinity: meetingOn(inCommon(input, input.node)) }),
    },
  );
}

/** The Job around a pod that somebody else described: prepared/manifest.ts puts the pod in. */
export const jobAround = (input: ManifestInput): JobManifest => job(input, ownLabels(input), ONE_POD, { containers: [] });

/**
 * Keeps the name taken while a create of ours may still land: a suspended Job without pods. Its image is the step's, so that an
 * admission rule that accepts the step accepts the occupant; its command names no program, in case somebody resumes the Job.
 */
export function occupant(input: ManifestInput): JobManifest {
  const labels = { ...ownLabels(input), [LABELS.occupant]: "true" };
  return job(
    input,
    labels,
    { ...ONE_POD, suspend: true, parallelism: 0 },
    { containers: [{ ...container(CONTAINER, input.step.image), command: ["/longshore-occupant-runs-nothing"] }] },
  );
}

const ONE_POD = { parallelism: 1, completions: 1, backoffLimit: 0 } as const;

type Mode = Pick<JobSpec, "suspend" | "backoffLimit" | "parallelism" | "completions"> & Partial<IndexedSpec>;
type Parts = Pick<PodSpec, "initContainers" | "containers" | "volumes" | "affinity">;

function job(input: ManifestInput, own: Words, mode: Mode, parts: Parts): JobManifest {
  const { anchor } = input;
  const labels = { ...input.run.labels, ...input.step.labels, ...own, ...ofAnchor(input) };
  const outputs = declaredOf(input.step).annotations;
  const annotations = {
    ...input.run.annotations,
    ...input.step.annotations,
    [ANNOTATIONS.runId]: input.run.id,
    ...(outputs.length > 0 && { [ANNOTATIONS.outputs]: outputs.join(",") }),
    // A restart asks its volumes' pods for it.
    ...(anchor && { [ANNOTATIONS.generation]: String(input.generation) }),
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: input.name,
      namespace: input.group.namespace,
      labels,
      annotations: {
        ...annotations,
        [ANNOTATIONS.proof]: input.proof,
        [ANNOTATIONS.group]: input.group.name,
        [ANNOTATIONS.epoch]: String(input.epoch),
        [ANNOTATIONS.generation]: String(input.generation),
        ...(input.hold === false && { [ANNOTATIONS.hold]: WITHOUT_HOLD.awaited }),
      },
      ...(input.hold !== false && { finalizers: [HOLD] }),
      ...(anchor && { ownerReferences: [ownerOf(anchor)] }),
    },
    spec: {
      ...mode,
      podReplacementPolicy: "Failed",
      activeDeadlineSeconds: backstopSeconds(input.limits),
      template: {
        metadata: { labels, annotations: { ...annotations, ...(mode.suspend !== true && fileAnnotations(input.step.files)) } },
        spec: pod(parts, input.step),
      },
    },
  };
}

const pod = (parts: Parts, { grace, serviceAccount }: RenderedStep): PodSpec => ({
  restartPolicy: "Never",
  ...(grace !== undefined && { terminationGracePeriodSeconds: Math.ceil((durationMs(grace) ?? 0) / 1000) }),
  ...(serviceAccount?.name !== undefined && { serviceAccountName: serviceAccount.name }),
  automountServiceAccountToken: serviceAccount?.token === true,
  enableServiceLinks: false,
  securityContext: { seccompProfile: { type: "RuntimeDefault" } },
  ...parts,
});

const container = (name: string, image: string): Container => ({
  name,
  image,
  // A step writes its outputs to this file; the log is no substitute for it.
  terminationMessagePolicy: "File",
  securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["MKNOD", "NET_RAW"] } },
});

/** Our labels come last, so that no label of a request replaces one of them. */
const ownLabels = ({ installation, hashOfRun, step, attempt }: ManifestInput): Words => ({
  [LABELS.installation]: installation,
  [LABELS.run]: hashOfRun,
  [LABELS.step]: step.name,
  [LABELS.attempt]: String(attempt),
  [LABELS.managedBy]: MANAGED_BY,
});

const ofAnchor = ({ anchor }: Pick<ManifestInput, "anchor">): Words =>
  anchor === undefined ? {} : { [LABELS.anchor]: String(anchor.number) };

/**
 * The labels that the pods of a run have in common which meet on one node. A neighbour's run may have the same id, and pods of an
 * earlier anchor have other volumes.
 */
const inCommon = (input: ManifestInput, node: string): Words => ({
  [LABELS.installation]: input.installation,
  [LABELS.run]: input.hashOfRun,
  ...ofAnchor(input),
  [LABELS.node]: node,
});

function environment(
  { run, step, attempt, childLabels, anchor }: ManifestInput,
  asked: RenderedContainer["env"],
): readonly EnvVariable[] {
  const own = {
    LONGSHORE_RUN: run.id,
    LONGSHORE_STEP: step.name,
    LONGSHORE_ATTEMPT: String(attempt),
    ...(step.serviceAccount?.token === true && childLabels && { LONGSHORE_CHILD_LABELS: wordsOfLabels(childLabels) }),
  };
  // A request may replace this variable, and no other of ours: its author knows better which trace the step belongs to.
  const trace = run.traceparent !== undefined && { TRACEPARENT: run.traceparent };
  const all: NonNullable<RenderedContainer["env"]> = { ...trace, ...asked, ...own };
  return Object.entries(all).map(([name, value]) => {
    if (typeof value === "string") return { name, value };
    if ("field" in value) return { name, valueFrom: { fieldRef: { fieldPath: value.field } } };
    const ref =
      "secret" in value ? { name: value.secret, key: value.key } : { name: anchor?.secretName ?? "", key: value.secretValue };
    return { name, valueFrom: { secretKeyRef: ref } };
  });
}

/** A Job may wait for quota or a node as long as `waitFor` allows, and Kubernetes counts that time, too. */
const backstopSeconds = ({ waitForMs, startWithinMs, deadlineMs }: ManifestInput["limits"]): number =>
  Math.ceil((Math.max(waitForMs, startWithinMs) + deadlineMs) / 1000) + DEADLINE_MARGIN_SECONDS;
