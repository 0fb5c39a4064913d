/**
 * Permissions for the accounts of steps, whose programs speak to the cluster's API: to annotate their own pod, and to make pods of
 * their own. `longshore rbac --steps` prints them. No step needs them but one that does such a thing.
 *
 * The failure this prevents: no Role knows a pod's own pod, so a program that may write its outputs as annotations may also change
 * the image of every pod in the namespace. The admission policy knows it, by the token.
 */
import { objectsOf } from "./confine.ts";
import type { KubernetesObject, Rule } from "./rbac.ts";

// biome-ignore format: a table is read down its columns
const ROLES: Readonly<Record<"annotate" | "spawn", readonly Rule[]>> = {
  annotate: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "patch"] }],
  spawn: [
    { apiGroups: [""], resources: ["pods"],     verbs: ["create", "get", "list", "watch", "delete"] },
    { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
  ],
};

/** Roles to be bound to accounts, and the policy for all accounts that steps may have. `accounts`: names, with `*` for any characters. */
export function stepObjects(namespace: string, accounts: readonly string[]): readonly KubernetesObject[] {
  const labels = { "app.kubernetes.io/name": "longshore", "app.kubernetes.io/component": "steps" };
  const roles = Object.entries(ROLES).map(([name, rules]) => ({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: `longshore-step-${name}`, namespace, labels },
    rules,
  }));
  const condition = {
    name: "an-account-of-steps",
    expression: `request.userInfo.username.matches('^system:serviceaccount:${namespace}:(${accounts.map(asRegularExpression).join("|")})$')`,
  };
  return [
    ...roles,
    ...objectsOf({ name: `longshore-steps-${namespace}`, labels }, namespace, {
      resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], resources: ["pods"], operations: ["UPDATE"] }],
      condition,
      validations: VALIDATIONS,
    }),
  ];
}

/** Names of accounts hold no quote and no backslash, so the result fits into a text of CEL. */
const asRegularExpression = (pattern: string): string => pattern.replaceAll(/[^a-z0-9*-]/g, "[.]").replaceAll("*", ".*");

const ANNOTATIONS = "metadata.?annotations";

const VALIDATIONS = [
  {
    // A token that the kubelet gives to a pod names that pod; a token from a Secret names none.
    expression:
      "request.userInfo.?extra[?'authentication.kubernetes.io/pod-uid'].orValue([]).exists(it, it == oldObject.metadata.uid)",
    message: "A step's program changes no pod but its own.",
  },
  {
    expression: ["spec", "metadata.?labels", "metadata.?finalizers", "metadata.?ownerReferences"]
      .map((it) => `object.${it} == oldObject.${it}`)
      .join(" && "),
    message: "A step's program changes nothing of its pod but annotations.",
  },
  {
    expression: [
      `object.${ANNOTATIONS}.orValue({}).all(it, !it.startsWith('longshore.dev/') || object.${ANNOTATIONS}[?it] == oldObject.${ANNOTATIONS}[?it])`,
      `oldObject.${ANNOTATIONS}.orValue({}).all(it, !it.startsWith('longshore.dev/') || object.${ANNOTATIONS}[?it] == oldObject.${ANNOTATIONS}[?it])`,
    ].join(" && "),
    message: "A step's program changes none of Longshore's own annotations.",
  },
];
