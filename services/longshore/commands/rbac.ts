/**
 * `longshore rbac`: prints the least permissions of launcher and watcher in a group's namespaces, for their owner to apply.
 *
 * The failure this prevents: an administrator who is asked for "rights for Longshore" and gives cluster-admin.
 */
import { type GroupSettings, madeIn } from "@longshore/contract/group-settings.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { newToken } from "@longshore/kubernetes/access/new-token.ts";
import { type GroupOfFile, GroupsFile } from "@longshore/kubernetes/groups.ts";
import { confinement } from "@longshore/kubernetes/permissions/confine.ts";
import { stepObjects } from "@longshore/kubernetes/permissions/steps.ts";
import { type KubernetesObject, objectsFor, type RoleName, type Use } from "@longshore/kubernetes/permissions/rbac.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { stringify } from "yaml";
import { command, CONFIG, fileAt, json, meant, type Surroundings, Usage } from "../command.ts";
import { findLongshore } from "../which-longshore.ts";

const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

interface Asked {
  readonly name: string | undefined;
  readonly namespace: string | undefined;
  readonly roles: readonly RoleName[];
  readonly confine: boolean;
  readonly steps: boolean;
  readonly groups: string | undefined;
  readonly config: string | undefined;
}

const ROLES = ["launcher", "watcher"] as const;

export const rbac = command({
  name: "rbac",
  summary: "print the service accounts, Roles and bindings that a group's namespaces need",
  usage: ["GROUP [--groups FILE | --config FILE]", "--namespace NAME", "prod-a | kubectl apply -f -"],
  options: {
    namespace: { type: "string", value: "NAME", about: "print for this namespace, whether or not a group has it" },
    role: {
      type: "string",
      value: "ROLE",
      words: ROLES,
      about: "print only the objects of one role (different people may apply them)",
    },
    confine: {
      type: "boolean",
      about:
        "also print a ValidatingAdmissionPolicy, by which the cluster refuses the launcher's changes to Jobs that are not Longshore's; it needs an administrator of the whole cluster, and Kubernetes 1.30 or newer",
    },
    steps: {
      type: "boolean",
      about:
        "print, instead, optional Roles for the accounts of steps, and a ValidatingAdmissionPolicy by which such an account changes only its own pod's annotations",
    },
    json: { type: "boolean", about: "print JSON, which kubectl takes, too" },
    groups: {
      type: "string",
      value: "FILE",
      about:
        "the groups file (default: the one of --config or LONGSHORE_CONFIG, else of the Longshore that runs from this folder)",
    },
    config: { ...CONFIG, about: "a launcher's config file, which names a groups file" },
  },
  more: `
The launcher may create, read, change and delete Jobs there, and what the group's policy lets runs have beside them: volumes and large files, unless it has no storage classes, and Secrets for the runs' own secret values, if it allows these; the watcher may only read. Without --confine, Kubernetes cannot limit the launcher to Longshore's own Jobs, so give Longshore a namespace of its own. GROUP/NAMESPACE stands for one of a group's namespaces.

With --steps: the Role longshore-step-annotate is for programs that write outputs as annotations of their pod, longshore-step-spawn for programs that make pods of their own. Bind them to the accounts that need them:
  kubectl -n NS create rolebinding NAME --role longshore-step-annotate --serviceaccount NS:ACCOUNT
Whoever may make pods may also use every Secret, volume and account of the namespace.

Then give each service account a token, in the file that the groups file names:
  ${newToken({ role: "launcher", namespace: "NS", file: "launch" })}
  ${newToken({ role: "watcher", namespace: "NS", file: "watch" })}
Replace the files before the tokens expire: they are read again without a restart.`,
  andMore: true,
  async run(
    { role, confine = false, steps = false, namespace, groups, config, json: asJson = false },
    [name, more],
    surroundings,
  ) {
    if ((name === undefined && namespace === undefined) || more !== undefined)
      throw new Usage("rbac needs one group, or a namespace: longshore rbac prod-a, or longshore rbac --namespace batch");
    if (role === "watcher" && confine) throw new Usage("--confine is about the launcher: the watcher can change nothing anyway");
    if (steps && (role !== undefined || confine))
      throw new Usage("--steps is about the accounts of steps: ask for launcher and watcher without it");
    if (namespace !== undefined && !NAMESPACE.test(namespace)) throw new Usage(`"${namespace}" cannot be a namespace's name`);
    const roles = ROLES.filter((it) => role === undefined || role === it);
    const asked: Asked = { name, namespace, roles, confine, steps, groups, config };
    const { namespaces, use, accounts } = await namespacesOf(asked, surroundings);
    if (steps && accounts.length === 0)
      throw new Usage(
        "the group's policy allows no step a token: set `policy: {serviceAccounts: [NAME], tokens: true}` in the groups file",
      );
    const objects = namespaces.flatMap((it) => (steps ? stepObjects(it, accounts) : objectsIn(it, use, asked)));
    surroundings.out(
      asJson
        ? json({ apiVersion: "v1", kind: "List", items: objects })
        : objects.map((it) => stringify(it, { aliasDuplicateObjects: false })).join("---\n"),
    );
    return 0;
  },
});

function objectsIn(namespace: string, use: Use, { roles, confine }: Asked): readonly KubernetesObject[] {
  return [...roles.flatMap((role) => objectsFor(role, namespace, use)), ...(confine ? confinement(namespace, use) : [])];
}

interface Found {
  readonly namespaces: readonly string[];
  /** A polled group's watcher needs no permission to watch; without volumes, the launcher needs none for these. */
  readonly use: Use;
  /** The accounts that steps may have with their tokens; `*` stands for any characters. */
  readonly accounts: readonly string[];
}

/** A name that no group has is refused: Roles for a namespace that nobody meant would be applied unread. */
async function namespacesOf(asked: Asked, surroundings: Surroundings): Promise<Found> {
  const { name = "", namespace } = asked;
  if (namespace !== undefined) return { namespaces: [namespace], use: { volumes: true, tokens: true }, accounts: ["*"] };
  const forNamespace = NAMESPACE.test(name) ? ` If it is a namespace: longshore rbac --namespace ${name}` : "";
  const file = await groupsFileOf(asked, surroundings);
  if (file === undefined)
    throw new Usage(`no groups file says what the group "${name}" is: name one with --groups FILE.${forNamespace}`);
  const { groups } = readConfig(GroupsFile, { file, env: {} });
  const found = ofGroup(name, groups);
  if (found !== undefined) return found;
  const names = Object.keys(groups);
  throw new Usage(`${file} has no group "${name}" (it has ${names.join(", ") || "none"})${meant(name, names)}.${forNamespace}`);
}

/** "prod-a" stands for all its namespaces; "prod-a/batch" names one of several. */
function ofGroup(
  name: string,
  groups: Readonly<Record<string, Pick<GroupOfFile, "namespaces" | "poll" | keyof GroupSettings>>>,
): Found | undefined {
  const whole = Object.hasOwn(groups, name) ? groups[name] : undefined;
  if (whole !== undefined) return { namespaces: whole.namespaces, ...policyOf(whole) };
  const [group = "", one = ""] = name.split("/");
  const part = Object.hasOwn(groups, group) ? groups[group] : undefined;
  return part?.namespaces.includes(one) ? { namespaces: [one], ...policyOf(part) } : undefined;
}

function policyOf(group: Pick<GroupOfFile, "poll" | keyof GroupSettings>): Omit<Found, "namespaces"> {
  const { serviceAccounts = [], tokens = false } = group.policy;
  const use = { polls: group.poll !== undefined, ...madeIn(group), tokens };
  return { use, accounts: tokens ? serviceAccounts : [] };
}

async function groupsFileOf({ groups, config }: Asked, surroundings: Surroundings): Promise<string | undefined> {
  if (groups !== undefined) return fileAt(groups, surroundings);
  try {
    return (await findLongshore({ config }, surroundings)).groupsFile;
  } catch (error) {
    if (error instanceof Failure && error.code === "NotRunning") return undefined;
    throw error;
  }
}
