/**
 * The permissions of launcher and watcher in a group's namespace, as the objects that an administrator applies.
 *
 * The bug this prevents: a role that drifted from the code, so that somebody widens it "to make it work". `longshore rbac`
 * prints these rules, and preflight asks the cluster about them. No wildcard, no exec, no impersonation.
 */
import type { Making } from "@longshore/contract/group-settings.ts";

export type RoleName = "launcher" | "watcher";

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

// biome-ignore format: a table is read down its columns
export const RULES: Readonly<Record<RoleName, readonly Rule[]>> = {
  launcher: [
    { apiGroups: ["batch"], resources: ["jobs"],             verbs: ["create", "get", "list", "patch", "delete"] },
    { apiGroups: [""],      resources: ["pods"],             verbs: ["get", "list", "delete"] },
    { apiGroups: [""],      resources: ["resourcequotas"],   verbs: ["get", "list"] },
    // In a Role, this allows the group's own namespace and no other. The namespace's UID tells one cluster from another.
    { apiGroups: [""],      resources: ["namespaces"],       verbs: ["get"] },
  ],
  watcher: [
    { apiGroups: ["batch"], resources: ["jobs"],             verbs: ["get", "list", "watch"] },
    { apiGroups: [""],      resources: ["pods", "events"],   verbs: ["get", "list", "watch"] },
    { apiGroups: [""],      resources: ["pods/log"],         verbs: ["get"] },
  ],
};

/**
 * Only for a group whose settings ask for these. What an anchor owns is deleted by the cluster itself, and a Secret that was
 * created is never read.
 */
// biome-ignore format: a table is read down its columns
const FOR: Readonly<Record<keyof Making, Rule>> = {
  prepared:     { apiGroups: ["batch"], resources: ["cronjobs"],          verbs: ["get"] },
  anchors:      { apiGroups: [""], resources: ["configmaps"],             verbs: ["create", "get", "list", "delete"] },
  volumes:      { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["create", "list"] },
  secretValues: { apiGroups: [""], resources: ["secrets"],                verbs: ["create"] },
};

/** The watcher looks for what is prepared. */
const SEEING: Rule = { apiGroups: ["batch"], resources: ["cronjobs"], verbs: ["get", "list", "watch"] };

const MAKING = Object.keys(FOR) as readonly (keyof Making)[];

/** One question to the cluster: may we do this? */
export interface Need {
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly verb: string;
}

/** How a group is used. A polled group is never watched. */
export interface Use extends Making {
  readonly polls?: boolean;
  /** Programs may have their account's token, and make pods of their own. */
  readonly tokens?: boolean;
}

/** Neither a volume nor a Secret is made without what owns it. */
export const withOwners = <U extends Making>(use: U): U =>
  use.volumes === true || use.secretValues === true ? { ...use, anchors: true } : use;

export function rulesOf(role: RoleName, { polls = false, ...making }: Use = {}): readonly Rule[] {
  const asked = (verb: string): boolean => !polls || verb !== "watch";
  const made = withOwners<Making>(making);
  const more =
    role === "launcher" ? MAKING.flatMap((it) => (made[it] === true ? [FOR[it]] : [])) : made.prepared === true ? [SEEING] : [];
  return [...RULES[role], ...more].map((rule) => ({ ...rule, verbs: rule.verbs.filter(asked) }));
}

export function needsOf(role: RoleName, use?: Use): readonly Need[] {
  return rulesOf(role, use).flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.flatMap((name) => verbs.map((verb) => need(group, name, verb)))),
  );
}

/**
 * The permissions that this role must not have: no watcher may be able to write, and no launcher needs a Secret. With this list
 * `doctor` finds a Role that an older `rbac` printed and that allows too much.
 */
export const REFUSED: Readonly<Record<RoleName, readonly Need[]>> = {
  launcher: [need("", "pods/exec", "create"), need("", "serviceaccounts", "impersonate"), need("", "secrets", "get")],
  watcher: [
    need("batch", "jobs", "create"),
    need("batch", "jobs", "patch"),
    need("batch", "jobs", "delete"),
    need("", "pods", "delete"),
    need("", "secrets", "get"),
  ],
};

function need(group: string, name: string, verb: string): Need {
  const [resource = "", subresource] = name.split("/");
  return { group, resource, verb, ...(subresource === undefined ? {} : { subresource }) };
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  /** Without `namespace`, the object is for the whole cluster. */
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

/** ServiceAccount, Role and RoleBinding of one service. They must outlive its Jobs: without them nothing is released. */
export function objectsFor(role: RoleName, namespace: string, use?: Use): readonly KubernetesObject[] {
  const name = `longshore-${role}`;
  const metadata = { name, namespace, labels: { "app.kubernetes.io/name": "longshore", "app.kubernetes.io/component": role } };
  const api = "rbac.authorization.k8s.io";
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata, automountServiceAccountToken: false },
    { apiVersion: `${api}/v1`, kind: "Role", metadata, rules: rulesOf(role, use) },
    {
      apiVersion: `${api}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: api, kind: "Role", name },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    },
  ];
}
