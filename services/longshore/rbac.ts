/** `longshore rbac`: the least that launcher and watcher need in a group's namespace, to be applied by its owner. */
import { parseArgs } from "node:util";
import { objectsFor } from "@longshore/kubernetes/rbac.ts";
import { stringify } from "yaml";
import { asUsage, type Command, Usage } from "./command.ts";

const HELP = `longshore rbac: prints the Roles, bindings and service accounts for one namespace.

  longshore rbac NAMESPACE | kubectl apply -f -

The launcher may create, read, patch and delete Jobs there; the watcher may only read. Kubernetes cannot confine that to
our own Jobs, so a namespace of its own is the recommendation.
`;

export const rbac: Command = {
  summary: "print the Roles that a group's namespace needs",
  help: HELP,
  async run(args, { out }) {
    const { positionals } = asUsage(() => parseArgs({ args: [...args], allowPositionals: true }));
    const [namespace, more] = positionals;
    if (namespace === undefined || more !== undefined) throw new Usage("rbac needs one namespace: longshore rbac batch");
    const objects = [...objectsFor("launcher", namespace), ...objectsFor("watcher", namespace)];
    out(objects.map((object) => stringify(object)).join("---\n"));
    return 0;
  },
};
