/**
 * The names that Longshore writes on Kubernetes objects, in one place.
 *
 * The bug this prevents: a label that one part writes and another part looks for under a slightly different name, so that a Job
 * runs and nobody sees it. Labels are for selecting, and are no proof: any user who may create Jobs may copy them.
 */
import type { Installation } from "@longshore/contract/ids.ts";

export const LABELS = {
  installation: "longshore.dev/installation",
  /** The label is a hash, since a run's id may contain characters that no label may. The id itself is an annotation. */
  run: "longshore.dev/run",
  step: "longshore.dev/step",
  attempt: "longshore.dev/attempt",
  occupant: "longshore.dev/occupant",
  /** The number of the run's anchor, on the anchor and on what it owns. */
  anchor: "longshore.dev/anchor",
  /** Pods of a run with the same value have to meet on one node. */
  node: "longshore.dev/node",
  /** On the pods that a step's program makes itself. They have no installation's label, so no watcher follows them. */
  parent: "longshore.dev/parent",
  parentStep: "longshore.dev/parent-step",
  managedBy: "app.kubernetes.io/managed-by",
} as const;

export const ANNOTATIONS = {
  runId: "longshore.dev/run-id",
  proof: "longshore.dev/proof",
  group: "longshore.dev/group",
  epoch: "longshore.dev/epoch",
  generation: "longshore.dev/generation",
  /** On Jobs and pods of steps that declare them: the annotations that count as outputs, joined by commas. */
  outputs: "longshore.dev/outputs",
  /** On pods: with a number after it, the content of a small file. */
  file: "longshore.dev/file",
  /** Present only if the group uses no hold: the annotation then says what the hold would say. */
  hold: "longshore.dev/hold",
} as const;

/** "none": created without a hold, and the Job's outcome is not in the ledger yet. "released": the outcome is in the ledger. */
export const WITHOUT_HOLD = { awaited: "none", recorded: "released" } as const;

/** The hold: this finalizer keeps a Job until the ledger has recorded its outcome. */
export const HOLD = "longshore.dev/unrecorded";

export const MANAGED_BY = "longshore";

/** Kubernetes' own label on the pods of a Job: its UID. Unlike the owner reference, it survives an orphaning deletion. */
export const CONTROLLER_UID = "batch.kubernetes.io/controller-uid";

/** Kubernetes' own annotation and label on the pods of an Indexed Job. */
export const COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index";

/** The name of our container in every pod: its exit code, log and termination message count. */
export const CONTAINER = "main";

/** Selects every Job and pod of one installation, and nothing of its neighbours in the same namespace. */
export const selectorOf = (installation: Installation): string =>
  `${LABELS.installation}=${installation},${LABELS.managedBy}=${MANAGED_BY}`;

/** Selects what one anchor of a run owns. A neighbour's run may have the same id, and so the same hash. */
export const selectorOfAnchor = (installation: Installation, hashOfRun: string, number: number): string =>
  `${selectorOf(installation)},${LABELS.run}=${hashOfRun},${LABELS.anchor}=${number}`;
