// needs kubernetes
// runs with kube
// runs at most 8 min
/**
 * A watcher that learned its groups over the broker, on a real API server, with the Role that `longshore rbac` prints. Its
 * tokens are rotated in time, and one is revoked before it was rotated (faults 27–29 in GUARANTEES.md).
 */
import { readFile } from "node:fs/promises";
import t from "tap";
import { announcedSystem, seen } from "../../harness/announced.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";

t.setTimeout(0); // each wait of the harness has its own bound
const forever = new AbortController().signal;

await using test = await kubernetes({ nodes: "simulated", shared: true });
const [cluster] = test.clusters;
if (cluster === undefined) throw new Error("no cluster was started");
const namespace = await cluster.namespace("announced");

async function post(path: string, body: object): Promise<unknown> {
  const answer = await cluster?.admin.send({ method: "POST", path, body }, forever);
  if (answer === undefined || answer.status >= 300) throw new Error(`POST ${path} was answered ${JSON.stringify(answer)}`);
  return answer.body;
}

/** Makes a token of the watcher that ends when its Secret is deleted. */
async function revocable(name: string): Promise<string> {
  const made = await post(`/api/v1/namespaces/${namespace}/secrets`, { apiVersion: "v1", kind: "Secret", metadata: { name } });
  const { uid } = (made as { readonly metadata: { readonly uid: string } }).metadata;
  const spec = { expirationSeconds: 3_600, boundObjectRef: { apiVersion: "v1", kind: "Secret", name, uid } };
  const asked = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
  const given = await post(`/api/v1/namespaces/${namespace}/serviceaccounts/longshore-watcher/token`, asked);
  return (given as { readonly status: { readonly token: string } }).status.token;
}

const revoke = async (name: string): Promise<void> => {
  const path = `/api/v1/namespaces/${namespace}/secrets/${name}`;
  await cluster.admin.send({ method: "DELETE", path }, forever);
};

const tokens = {
  launch: await cluster.token(namespace, "longshore-launcher"),
  watch: await revocable("first"),
  second: await revocable("second"),
  third: await cluster.token(namespace, "longshore-watcher"),
};
await using it = await announcedSystem({ server: cluster.url, ca: cluster.ca, tokens }, { real: namespace });
await using launcher = await it.launcher();
await using watcher = await it.watcher();

const rejections = async (): Promise<number> => Number(/longshore_kubernetes_requests_total\{[^}]*code="401"[^}]*\} (\d+)/.exec(await watcher.metrics())?.[1] ?? 0); // biome-ignore format: one question
const relists = async (): Promise<number> =>
  [...(await watcher.metrics()).matchAll(/^longshore_watch_relists_total\{[^}]*\} (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0); // biome-ignore format: one question

await t.test("under an announced token of the watcher's own Role, runs end by what it saw", async (t) => {
  await it.run("one");
  t.equal((await it.ended("one")).type, "run.succeeded");
});

await t.test("the token is rotated, and the old one taken back: nobody is rejected, and nothing is listed anew", async (t) => {
  const before = await relists();
  await it.rotate(tokens.second);
  await it.until("its renewal", () => watcher.said.some((line) => line.includes("credential was renewed")));
  await revoke("first");
  await it.run("two");
  t.equal((await it.ended("two")).type, "run.succeeded");
  t.equal(await rejections(), 0);
  t.equal(await relists(), before);
});

await t.test(
  "a token is taken back before it was rotated: the watcher is rejected, asks, and goes on with the next",
  async (t) => {
    await revoke("second");
    // An API server keeps a token that it accepted for some seconds. The end of each run makes the watcher ask again, for pods
    // and logs.
    let runs = 0;
    await it.until("a rejection", async () => {
      await it.run(`rejected/${++runs}`);
      await it.until("that run's Job", async () =>
        (await it.bodies()).some((body) => body.includes(`rejected/${runs}`) && body.includes("run.launched")),
      );
      return (await rejections()) > 0;
    });
    await it.rotate(tokens.third);
    for (let n = 1; n <= runs; n++) t.equal((await it.ended(`rejected/${n}`)).type, "run.succeeded");
    await it.run("three");
    t.equal((await it.ended("three")).type, "run.succeeded");
  },
);

await t.test("G11: no token passed the broker or stands in a log, and the watcher only ever read", async (t) => {
  t.same(await seen(it, tokens), []);
  const lines = (await readFile(cluster.auditLog, "utf8"))
    .split("\n")
    .filter((line) => line.includes(`:${namespace}:longshore-watcher`));
  const verbs = lines.map((line) => JSON.parse(line) as { verb: string; user: { username: string } });
  const its = verbs.filter(({ user }) => user.username.endsWith(":longshore-watcher")).map(({ verb }) => verb);
  t.same([...new Set(its)].filter((verb) => !["get", "list", "watch"].includes(verb)), []); // biome-ignore format: one value
  t.ok(its.includes("watch"));
});

await watcher.stop();
await launcher.stop();
