/** `longshore rbac` prints Roles that can be applied as they are. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { rbac } from "./rbac.ts";

t.test("rbac prints objects that can be applied, and never a wildcard", async (t) => {
  let out = "";
  const signal = new AbortController().signal;
  t.equal(await rbac.run(["--namespace", "batch"], { out: (text) => void (out += text), env: {}, cwd: "", signal }), 0);
  t.match(out, /kind: Role\n/);
  t.notMatch(out, /\*/);
});

t.test("rbac prints the same objects as JSON", async (t) => {
  let out = "";
  const surroundings = { out: (text: string) => void (out += text), env: {}, cwd: "", signal: new AbortController().signal };
  await rbac.run(["--namespace", "batch", "--json"], surroundings);
  t.match(JSON.parse(out), { kind: "List", items: [{ metadata: { namespace: "batch" } }] });
});

t.test("rbac gives the watcher of a group that is polled no right to watch, and others have it", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-rbac-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const group = (more: string) => `{ cluster: { server: "https://a:6443" }, namespaces: [x, y]${more} }`;
  await writeFile(join(home, "groups.yaml"), `groups: { a: ${group(", poll: 10s")}, b: ${group("")} }\n`);
  const printed = async (name: string) => {
    let out = "";
    const surroundings = { out: (text: string) => void (out += text), env: {}, cwd: home, signal: new AbortController().signal };
    await rbac.run([name, "--groups", "groups.yaml", "--role", "watcher"], surroundings);
    return out;
  };
  for (const name of ["a", "a/x"]) t.notMatch(await printed(name), /- watch\n/, name);
  for (const name of ["b", "b/x"]) t.match(await printed(name), /- list\n[^-]*- watch\n/, name);
});

t.test("rbac --steps prints Roles for accounts of steps, and a policy about those that may have a token", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-rbac-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const group = (policy: string) => `{ cluster: { server: "https://a:6443" }, namespaces: [x], policy: ${policy} }`;
  const named = group("{ serviceAccounts: [annotator, flow.*], tokens: true }");
  await writeFile(join(home, "groups.yaml"), `groups: { a: ${named}, b: ${group("{ serviceAccounts: [worker] }")} }\n`);
  let out = "";
  const surroundings = { out: (text: string) => void (out += text), env: {}, cwd: home, signal: new AbortController().signal };
  await rbac.run(["a", "--groups", "groups.yaml", "--steps"], surroundings);
  for (const name of ["longshore-step-annotate", "longshore-step-spawn"]) t.match(out, `name: ${name}`);
  t.match(out, "matches('^system:serviceaccount:x:(annotator|flow[.].*)$')");
  t.notMatch(out, "longshore-launcher");
  for (const [args, says] of [
    [["b", "--groups", "groups.yaml", "--steps"], /allows no step a token/],
    [["a", "--groups", "groups.yaml", "--steps", "--confine"], /--steps is about the accounts of steps/],
  ] as const)
    await t.rejects(async () => await rbac.run([...args], surroundings), says);
});
