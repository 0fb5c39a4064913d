/** The Roles allow what is used, and nothing more. */
import t from "tap";
import { confinement } from "./confine.ts";
import { needsOf, objectsFor, REFUSED, RULES } from "./rbac.ts";

t.test("the Roles hold no wildcard, no exec, no impersonation, and nothing that writes for the watcher", (t) => {
  for (const role of ["launcher", "watcher"] as const) {
    const words = RULES[role].flatMap((it) => [...it.apiGroups, ...it.resources, ...it.verbs]);
    t.notOk(
      words.some((it) => ["*", "pods/exec", "pods/attach", "impersonate", "escalate", "bind", "deletecollection"].includes(it)),
    );
    t.same(
      needsOf(role).filter((it) =>
        REFUSED[role].some((no) => no.resource === it.resource && no.verb === it.verb && no.subresource === it.subresource),
      ),
      [],
    );
    const [account, granted, binding] = objectsFor(role, "batch");
    t.match(granted, { kind: "Role", metadata: { name: `longshore-${role}`, namespace: "batch" }, rules: RULES[role] });
    t.match(binding, {
      roleRef: { kind: "Role", name: granted?.metadata.name },
      subjects: [{ kind: "ServiceAccount", name: account?.metadata.name, namespace: "batch" }],
    });
  }
  t.same(new Set(RULES.watcher.flatMap((it) => it.verbs)), new Set(["get", "list", "watch"]));
  const [, polling] = objectsFor("watcher", "batch", { polls: true });
  t.match(JSON.stringify(polling?.["rules"]), /"list"/);
  t.notMatch(JSON.stringify(polling?.["rules"]), /"watch"/);
  t.end();
});

t.test("neither a Role nor the policy that confines names what nobody uses", (t) => {
  const unused = /secrets|configmaps|persistentvolumeclaims/;
  const [, withVolumes] = objectsFor("launcher", "batch", { volumes: true });
  t.match(JSON.stringify(withVolumes), /configmaps.*persistentvolumeclaims/);
  for (const it of [...objectsFor("launcher", "batch"), ...objectsFor("watcher", "batch"), ...confinement("batch")])
    t.notMatch(JSON.stringify(it), unused, it.kind);
  t.end();
});

t.test("the right to create Secrets is asked for where runs may bring secret values, and no other right on them", (t) => {
  const [, role] = objectsFor("launcher", "batch", { secretValues: true });
  const rules = role?.["rules"] as readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[];
  t.same(rules.find(({ resources }) => resources.includes("secrets"))?.verbs, ["create"]);
  t.ok(
    rules.some(({ resources }) => resources.includes("configmaps")),
    "nor a Secret without what owns it",
  );
  t.notOk(rules.some(({ resources }) => resources.includes("persistentvolumeclaims")));
  t.match(JSON.stringify(confinement("batch", { secretValues: true })), /"secrets"/, "and the policy that confines looks at it");
  const [, watcher] = objectsFor("watcher", "batch", { secretValues: true });
  t.notMatch(JSON.stringify(watcher), /secrets/);
  t.end();
});
