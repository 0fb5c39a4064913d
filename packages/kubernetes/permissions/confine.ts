/**
 * Keeps the launcher to Longshore's own Jobs by a ValidatingAdmissionPolicy and its binding, because no Role can do that.
 * `longshore rbac --confine` prints both for the cluster's administrator. Kubernetes 1.30 and newer know them.
 *
 * The failure this prevents: a launcher's stolen token deletes, or changes, the Jobs of other people in the same namespace.
 * Reading is not confined: for that, give the group a namespace of its own.
 */
import type { Making } from "@longshore/contract/group-settings.ts";
import { type KubernetesObject, type Use, withOwners } from "./rbac.ts";

const API = "admissionregistration.k8s.io/v1";

/**
 * A Job is ours if it was created with our label. If somebody removed the label, the annotation counts: the Job must still be
 * released.
 */
const MARK = {
  label: "'app.kubernetes.io/managed-by'",
  says: "'longshore'",
  annotation: "'longshore.dev/run-id'",
};

export function confinement(namespace: string, { tokens = false, ...use }: Use = {}): readonly KubernetesObject[] {
  const labels = { "app.kubernetes.io/name": "longshore", "app.kubernetes.io/component": "launcher" };
  return objectsOf({ name: `longshore-launcher-${namespace}`, labels }, namespace, {
    resourceRules: [...RESOURCES, ...resourcesMade(withOwners(use))],
    condition: {
      name: "the-launcher",
      expression: `request.userInfo.username == 'system:serviceaccount:${namespace}:longshore-launcher'`,
    },
    validations: validationsOf(tokens),
  });
}

interface Policy {
  readonly resourceRules: readonly object[];
  /** Whose requests are judged. */
  readonly condition: { readonly name: string; readonly expression: string };
  readonly validations: readonly { readonly expression: string; readonly message: string }[];
}

/** A policy with its binding to one namespace. */
export function objectsOf(
  metadata: KubernetesObject["metadata"],
  namespace: string,
  { resourceRules, condition, validations }: Policy,
): readonly KubernetesObject[] {
  return [
    {
      apiVersion: API,
      kind: "ValidatingAdmissionPolicy",
      metadata,
      spec: {
        failurePolicy: "Fail",
        matchConstraints: { resourceRules },
        matchConditions: [condition],
        validations,
      },
    },
    {
      apiVersion: API,
      kind: "ValidatingAdmissionPolicyBinding",
      metadata,
      spec: {
        policyName: metadata.name,
        validationActions: ["Deny"],
        matchResources: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } } },
      },
    },
  ];
}

// biome-ignore format: a table is read down its columns
const RESOURCES = [
  { apiGroups: ["batch"], apiVersions: ["v1"], resources: ["jobs"], operations: ["CREATE", "UPDATE", "DELETE"] },
  { apiGroups: [""],      apiVersions: ["v1"], resources: ["pods"], operations: ["DELETE"] },
];

// biome-ignore format: a table is read down its columns
const MADE: readonly (readonly [keyof Making, object])[] = [
  ["anchors",      { apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"], operations: ["CREATE", "DELETE"] }],
  ["volumes",      { apiGroups: [""], apiVersions: ["v1"], resources: ["persistentvolumeclaims"], operations: ["CREATE"] }],
  ["secretValues", { apiGroups: [""], apiVersions: ["v1"], resources: ["secrets"], operations: ["CREATE"] }],
];

const resourcesMade = (use: Use): readonly object[] => MADE.flatMap(([what, rule]) => (use[what] === true ? [rule] : []));

const labelled = (it: string): string => `${it}.metadata.?labels[?${MARK.label}].orValue('') == ${MARK.says}`;

/** A pod that a program made with `run.childLabels`: the launcher deletes it before the program's step ends. */
const isChild = "oldObject.kind == 'Pod' && oldObject.metadata.?labels[?'longshore.dev/parent'].hasValue()";

const validationsOf = (tokens: boolean) => [
  {
    expression: `request.operation != 'CREATE' || ${labelled("object")}`,
    message: "Longshore's launcher creates only what carries the label app.kubernetes.io/managed-by: longshore.",
  },
  {
    expression: `request.operation == 'CREATE' || ${labelled("oldObject")} || oldObject.metadata.?annotations[?${MARK.annotation}].hasValue()${tokens ? ` || (${isChild})` : ""}`,
    message: "Longshore's launcher changes and deletes only what Longshore created.",
  },
  {
    // The launcher changes only the finalizer and how long a finished Job stays, never what runs or for how long.
    expression:
      "request.operation != 'UPDATE' || (object.spec.template == oldObject.spec.template && object.spec.?suspend == oldObject.spec.?suspend && object.spec.?activeDeadlineSeconds == oldObject.spec.?activeDeadlineSeconds)",
    message: "Longshore's launcher never changes what a Job runs.",
  },
];
