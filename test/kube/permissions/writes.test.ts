/**
 * The watcher cannot write. Its credential is refused every write to every resource that this cluster serves, and its program
 * has no code that writes. The launcher can write only to the resources in its list.
 */
// needs kubernetes
// runs with kube
import { once } from "node:events";
import { Agent, type RequestOptions, request } from "node:https";
import type { IncomingMessage } from "node:http";
import { resolve } from "node:path";
import { RULES, rulesOf } from "@longshore/kubernetes/permissions/rbac.ts";
import t from "tap";
import { discover, type Resource } from "../../harness/kubernetes/discovery.ts";
import { lentPlane } from "../../harness/kubernetes/lent-plane.ts";
import { readTree, type Source } from "../../tidy/source.ts";

const { cluster } = await lentPlane(t);

for (const role of ["watcher", "launcher"] as const) {
  t.test(`every write that the ${role}'s list does not name is refused, each really tried`, async (t) => {
    const namespace = await cluster.namespace();
    const token = await cluster.token(namespace, `longshore-${role}`);
    await using api = openApi(cluster.url, cluster.ca, token);
    const resources = (await discover(cluster.admin)).filter((it) => !isReview(it));
    const taken: string[] = [];
    let tried = 0;
    for (const it of resources) {
      for (const [verb, method, path] of writes(it, namespace)) {
        if (isListed(role, verb, it) && path.includes(`/namespaces/${namespace}/`)) continue;
        tried++;
        const status = await api.send(method, path);
        if (status !== 403) taken.push(`${method} ${path} was answered ${status}`);
      }
    }
    t.same(taken, []);
    t.ok(tried > 500, `${tried} requests were tried`);
  });
}

t.test("the watcher's list has no writes", async (t) => {
  const verbs = new Set(RULES.watcher.flatMap((it) => it.verbs));
  t.same([...verbs].toSorted(), ["get", "list", "watch"]);
});

/** Code that may write to a cluster or to the ledger. */
const MAY_WRITE = /^packages\/(kubernetes\/(request\/write\.ts|preflight\/)|ledger\/)|^services\/(?!watcher)/;

t.test("the watcher's program reaches no code that could write to a cluster", async (t) => {
  const { sources } = readTree(resolve(import.meta.dirname, "../../.."));
  const reached = reachedFrom("services/watcher/main.ts", new Map(sources.map((it) => [it.path, it])));
  const paths = reached.map(({ path }) => path);
  t.ok(paths.includes("packages/kubernetes/request/exchange.ts"), "it is the program that talks to clusters");
  t.same(
    paths.filter((it) => MAY_WRITE.test(it)),
    [],
  );
  const writing = reached.filter(({ path, text }) => path.startsWith("packages/kubernetes/") && /method:\s*"(?!GET")/.test(text));
  t.same(
    writing.map(({ path }) => path),
    [],
    "none of the files that it reaches makes a request that is not a GET",
  );
  const clients = reached.filter(({ imports }) => imports.some(({ specifier }) => specifier === "@kubernetes/client-node"));
  t.same(
    clients.map(({ path }) => path),
    ["packages/kubernetes/access/kubeconfig.ts"],
    "the library that could is there to read kubeconfigs",
  );
});

t.test("a program that reaches the writes by a detour would be found", async (t) => {
  const { sources } = readTree(resolve(import.meta.dirname, "../../.."));
  const paths = reachedFrom("services/launcher/main.ts", new Map(sources.map((it) => [it.path, it]))).map(({ path }) => path);
  t.ok(paths.includes("packages/kubernetes/request/write.ts"));
  t.ok(MAY_WRITE.test("packages/kubernetes/request/write.ts"), "and the watcher's test names that file");
});

function reachedFrom(main: string, sources: ReadonlyMap<string, Source>): readonly Source[] {
  const reached = new Map<string, Source>();
  const open = [main];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const source = sources.get(path);
    if (source === undefined || reached.has(path)) continue;
    reached.set(path, source);
    open.push(...source.imports.flatMap(({ file }) => file ?? []));
  }
  if (reached.size < 5) throw new Error(`only ${reached.size} files were reached from ${main}`);
  return [...reached.values()];
}

type Write = readonly [verb: string, method: "POST" | "PUT" | "PATCH" | "DELETE", path: string];

/**
 * Every write to a resource, as dry runs: the permission is judged first, and a write that is wrongly accepted does no harm.
 */
function writes({ root, resource, namespaced }: Resource, namespace: string): readonly Write[] {
  const [name = "", subresource] = resource.split("/");
  const below = subresource === undefined ? "" : `/${subresource}`;
  const query = "?dryRun=All";
  const places = namespaced ? [`${root}/namespaces/${namespace}`, `${root}/namespaces/kube-system`] : [root];
  return places.flatMap((place): Write[] => {
    const collection = `${place}/${name}`;
    const one = `${collection}/x${below}${query}`;
    return [
      ["create", "POST", subresource === undefined ? `${collection}${query}` : one],
      ["update", "PUT", one],
      ["patch", "PATCH", one],
      ["delete", "DELETE", one],
      ...(subresource === undefined ? [["deletecollection", "DELETE", `${collection}${query}`] as const] : []),
    ];
  });
}

const isListed = (role: "watcher" | "launcher", verb: string, { group, resource }: Resource): boolean =>
  rulesOf(role, { volumes: true, secretValues: true }).some(
    (it) => it.apiGroups.includes(group) && it.resources.includes(resource) && it.verbs.includes(verb),
  );

/** Reviews of the asking user's own rights: POSTs that every user may send. */
const isReview = ({ resource }: Resource): boolean =>
  /^(selfsubjectaccessreviews|selfsubjectrulesreviews|selfsubjectreviews)$/.test(resource);

/** A client for this test alone: ours has no PUT. */
function openApi(url: string, ca: string, token: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4, ca });
  return {
    async send(method: string, path: string): Promise<number> {
      const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
      // States the body's length, because Node sends the body of a DELETE without a length or chunks.
      const headers = { authorization: `Bearer ${token}`, "content-type": type, "content-length": "2" };
      const options: RequestOptions = { method, headers, agent, timeout: 20_000 };
      const asked = request(url + path, options);
      asked.on("timeout", () => asked.destroy(new Error(`${method} ${path} was not answered`)));
      asked.end("{}");
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      answer.resume();
      await once(answer, "end");
      return answer.statusCode ?? 0;
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
    },
  };
}
