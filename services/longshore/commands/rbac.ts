/**
 * `longshore rbac`: prints the least permissions of launcher and watcher in a group's namespaces, for their owner to apply.
 *
 * The failure this prevents: an administrator who is asked for "rights for Longshore" and gives cluster-admin.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Failure } from "@longshore/contract/problem.ts";
import { GroupsFile } from "@longshore/kubernetes/groups.ts";
import { confinement } from "@longshore/kubernetes/permissions/confine.ts";
import { type KubernetesObject, objectsFor, type RoleName } from "@longshore/kubernetes/permissions/rbac.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { stringify } from "yaml";
import { asUsage, type Command, type Surroundings, Usage } from "../command.ts";
import { findLongshore } from "../which-longshore.ts";

const HELP = `longshore rbac: prints the service accounts, Roles and bindings that a group's namespaces need.

  longshore rbac GROUP [--groups FILE | --config FILE]     the namespaces of a group in the groups file
  longshore rbac NAMESPACE                                 a namespace that no group has yet
  longshore rbac prod-a | kubectl apply -f -

  --namespace NS   print for this namespace, whatever the groups file says
  --role ROLE      print only the objects of launcher or watcher (different people may apply them)
  --confine        also print a ValidatingAdmissionPolicy, by which the cluster refuses the launcher's changes to Jobs that are
                   not Longshore's. It needs an administrator of the whole cluster, and Kubernetes 1.30 or newer.
  --groups FILE    the groups file (default: the one of --config, or of the Longshore that runs from this folder)
  --config FILE    a launcher's config file, which names a groups file

The launcher may create, read, change and delete Jobs there; the watcher may only read. Without --confine, Kubernetes cannot
limit the launcher to Longshore's own Jobs, so give Longshore a namespace of its own.

Then give each service account a token, in the file that the groups file names:
  kubectl -n NAMESPACE create token longshore-launcher --duration 24h > launch.token
  kubectl -n NAMESPACE create token longshore-watcher  --duration 24h > watch.token
Replace the files before the tokens expire: they are read again without a restart.
`;

const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

interface Options {
  readonly name: string | undefined;
  readonly namespace: string | undefined;
  readonly roles: readonly RoleName[];
  readonly confine: boolean;
  readonly groups: string | undefined;
  readonly config: string | undefined;
}

export const rbac: Command = {
  summary: "print the Roles that a group's namespaces need",
  help: HELP,
  async run(args, surroundings) {
    const options = read(args);
    const { namespaces, polls, note } = await namespacesOf(options, surroundings);
    const objects = namespaces.flatMap((it) => objectsIn(it, polls, options));
    surroundings.out(`${note}${objects.map((it) => stringify(it, { aliasDuplicateObjects: false })).join("---\n")}`);
    return 0;
  },
};

function read(args: readonly string[]): Options {
  const { positionals, values } = asUsage(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        namespace: { type: "string" },
        role: { type: "string" },
        confine: { type: "boolean", default: false },
        groups: { type: "string" },
        config: { type: "string" },
      },
    }),
  );
  const { namespace, role, confine, groups, config } = values;
  const [name, more] = positionals;
  if ((name === undefined && namespace === undefined) || more !== undefined)
    throw new Usage("rbac needs one group or namespace: longshore rbac prod-a");
  if (role !== undefined && role !== "launcher" && role !== "watcher")
    throw new Usage(`there is no role "${role}"; there are launcher and watcher`);
  if (role === "watcher" && confine) throw new Usage("--confine is about the launcher: the watcher can change nothing anyway");
  if (namespace !== undefined && !NAMESPACE.test(namespace)) throw new Usage(`"${namespace}" cannot be a namespace's name`);
  return { name, namespace, roles: role === undefined ? ["launcher", "watcher"] : [role], confine, groups, config };
}

function objectsIn(namespace: string, polls: boolean, { roles, confine }: Options): readonly KubernetesObject[] {
  return [...roles.flatMap((role) => objectsFor(role, namespace, { polls })), ...(confine ? confinement(namespace) : [])];
}

interface Found {
  readonly namespaces: readonly string[];
  /** True if the group is polled: its watcher then needs no permission to watch. */
  readonly polls: boolean;
  /** A YAML comment before the objects, if the name may have been meant as a group's. */
  readonly note: string;
}

async function namespacesOf(options: Options, surroundings: Surroundings): Promise<Found> {
  const { name = "", namespace } = options;
  if (namespace !== undefined) return { namespaces: [namespace], polls: false, note: "" };
  const file = await groupsFileOf(options, surroundings);
  const groups = file === undefined ? {} : readConfig(GroupsFile, { file, env: {} }).groups;
  const found = ofGroup(name, groups);
  if (found !== undefined) return { ...found, note: "" };
  const names = Object.keys(groups).join(", ") || "none";
  if (!NAMESPACE.test(name))
    throw new Usage(
      file === undefined
        ? `"${name}" cannot be a namespace's name; if it is a group, name its file: --groups groups.yaml`
        : `${file} has no group "${name}" (it has ${names}), and that cannot be a namespace's name either`,
    );
  if (file === undefined) return { namespaces: [name], polls: false, note: "" };
  return {
    namespaces: [name],
    polls: false,
    note: `# For the namespace "${name}": ${file} has no group of this name (it has ${names}).\n`,
  };
}

/** "prod-a" stands for all its namespaces; "prod-a/batch" names one of several. */
function ofGroup(
  name: string,
  groups: Readonly<Record<string, { readonly namespaces: readonly string[]; readonly poll?: number | undefined }>>,
): Omit<Found, "note"> | undefined {
  const whole = Object.hasOwn(groups, name) ? groups[name] : undefined;
  if (whole !== undefined) return { namespaces: whole.namespaces, polls: whole.poll !== undefined };
  const [group = "", one = ""] = name.split("/");
  const part = Object.hasOwn(groups, group) ? groups[group] : undefined;
  return part?.namespaces.includes(one) ? { namespaces: [one], polls: part.poll !== undefined } : undefined;
}

async function groupsFileOf({ groups, config }: Options, surroundings: Surroundings): Promise<string | undefined> {
  if (groups !== undefined) return resolve(surroundings.cwd, groups);
  try {
    return (await findLongshore({ config }, surroundings)).groupsFile;
  } catch (error) {
    // Nothing runs here and no file was named, so the name is a namespace's.
    if (error instanceof Failure && error.code === "NotRunning") return undefined;
    throw error;
  }
}
