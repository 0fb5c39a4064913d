/**
 * Secrets and accounts on a node that runs real containers: a program gets what the group's policy allows, and only that. A
 * Secret that is not there is told by its name.
 */
// needs kubernetes, rabbitmq, node
// runs at most 10 min
import t from "tap";
import { only } from "../../harness/kubernetes/admin.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { kubectl, sent } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "real", shared: true });
const cluster = only(cloud.clusters);
const policy = { secrets: ["app-*"], serviceAccounts: ["worker"], tokens: true };
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [cluster], policy });
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const sh = (text: string, more: object): object => ({ image: BUSYBOX, command: ["sh", "-c", text], ...more });
const asked = (...words: readonly string[]): Promise<string> => kubectl(cluster, system.site, ...words);
await asked("create", "secret", "generic", "app-db", "--from-literal=password=hunter2", "--from-literal=user=ada");
await asked("create", "serviceaccount", "worker");

await t.test("a variable and a folder hold the Secret's values, and neither ledger nor Job does", async (t) => {
  const run = "secrets/read";
  const text = `printf '{"env":"%s","files":"%s"}' "$PASSWORD" "$(cat /etc/db/user)" > /dev/termination-log`;
  const env = { PASSWORD: { secret: "app-db", key: "password" } };
  await sent(system, [run], sh(text, { env, secrets: [{ name: "app-db", mount: "/etc/db" }], outputs: ["env"] }));
  const { data } = await system.heard("run.succeeded", run, 120_000);
  t.match(data, { outputs: { env: "hunter2", files: "ada" } });
  t.notMatch(await asked("get", "jobs", "-o", "json"), /hunter2/);
  t.same(await system.faults([run]), []);
});

await t.test("an account's token is in its usual folder if it was asked for, and nowhere else", async (t) => {
  const there = "test -e /var/run/secrets/kubernetes.io/serviceaccount/token";
  const [withToken, without] = ["secrets/token", "secrets/no-token"];
  await sent(system, [withToken], sh(there, { serviceAccount: { name: "worker", token: true } }));
  await sent(system, [without], sh(`! ${there}`, { serviceAccount: { name: "worker" } }));
  await system.heard("run.succeeded", withToken, 120_000);
  await system.heard("run.succeeded", without, 120_000);
  t.same(await system.faults([withToken, without]), []);
});

for (const { run, more, what } of [
  { run: "secrets/else", more: { secrets: [{ name: "root", mount: "/etc/root" }] }, what: "the Secret root" },
  { run: "secrets/account", more: { serviceAccount: { name: "admin" } }, what: "the service account admin" },
])
  await t.test(`${what}, which the policy does not allow, is refused before a Job is made`, async (t) => {
    await sent(system, [run], sh("true", more));
    const { data } = await system.heard("run.failed", run);
    t.match(data, { started: "no", diagnosis: { code: "PolicyRefused", sentence: new RegExp(`does not allow ${what}`) } });
  });

await t.test("a Secret that is not there is named while the run waits for it", async (t) => {
  const run = "secrets/missing";
  await sent(system, [run], sh("true", { secrets: [{ name: "app-none", mount: "/etc/none" }] }));
  const { data } = await system.heard("run.stalled", run, 240_000);
  t.match(data, { diagnosis: { code: "ConfigMissing", sentence: /app-none/ } });
  await asked("create", "secret", "generic", "app-none", "--from-literal=a=b");
  await system.heard("run.succeeded", run, 300_000);
  t.same(await system.faults([run]), []);
});
