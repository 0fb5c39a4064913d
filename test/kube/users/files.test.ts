/**
 * Files and secret values that a run brings with it, on a node that runs real containers: a program finds them as they were
 * written, and when the run is over nothing of them is left in cluster or ledger.
 */
// needs kubernetes, node
// runs at most 10 min
import t, { type Test } from "tap";
import { only } from "../../harness/kubernetes/admin.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { openSystem } from "../../harness/system.ts";
import { kubectl, sent, shown } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using cloud = await kubernetes({ nodes: "real", shared: true });
const cluster = only(cloud.clusters);
await using system = await openSystem({ clusters: [cluster], policy: { secretValues: true } });
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const CANARY = "hunter2-canary";
const sh = (text: string, more: object): object => ({ image: BUSYBOX, command: ["sh", "-c", text], ...more });
const asked = (...words: readonly string[]): Promise<string> => kubectl(cluster, system.site, ...words);
const secretsThere = async (): Promise<number> => (await shown(system.site, "secrets")).length;

const nothingLeft = async (t: Test, after: string): Promise<void> => {
  await system.until(`no object to be left after ${after}`, async () => {
    const all = await Promise.all(["secrets", "configmaps", "jobs", "pods"].map((kind) => shown(system.site, kind)));
    return all.flat().every(({ metadata }) => metadata.name === "kube-root-ca.crt");
  });
  t.pass(`nothing is left after ${after}`);
};

await t.test("a program finds its small and large files as they were written, and cannot write them", async (t) => {
  const run = "files/read";
  const large = "0123456789abcdef".repeat(50_000); // 800,000 bytes
  const text = [
    'test "$(wc -c < /etc/app/large.txt)" = 800000 || exit 3',
    "! echo x >> /etc/app/small.json 2>/dev/null || exit 4",
    `printf '{"small":%s,"text":"%s"}' "$(cat /etc/app/small.json)" "$(cat /etc/app/words.txt)" > /dev/termination-log`,
  ].join("\n");
  const files = [
    { path: "/etc/app/small.json", json: "${{ parameters.settings }}" },
    { path: "/etc/app/words.txt", text: "costs $(HOME) $$5, run ${{ run.id }}" },
    { path: "/etc/app/large.txt", text: "${{ parameters.large }}" },
  ];
  await sent(
    system,
    [run],
    sh(text, { parameters: { settings: { a: [1, null] }, large }, files, outputs: ["small"], keepFor: { succeeded: "0s" } }),
  );
  const { data } = await system.heard("run.succeeded", run, 180_000);
  t.match(data, { outputs: { small: { a: [1, null] }, text: `costs $(HOME) $$5, run ${run}` } });
  await nothingLeft(t, "its files were read");
  t.same(await system.faults([run]), []);
});

await t.test("a step's outputs stand in the files of the step after it", async (t) => {
  const run = "files/outputs";
  const first = { name: "first", ...sh(`printf '{"rows":7}' > /dev/termination-log`, { outputs: ["rows"] }) };
  const files = [{ path: "/in.json", json: { rows: "${{ steps.first.outputs.rows }}" } }];
  const second = { name: "second", needs: ["first"], ...sh("cat /in.json > /dev/termination-log", { files, outputs: ["rows"] }) };
  await sent(system, [run], { steps: [first, second], outputs: { rows: "${{ steps.second.outputs.rows }}" } });
  t.match((await system.heard("run.succeeded", run, 180_000)).data, { outputs: { rows: 7 } });
  t.same(await system.faults([run]), []);
  await asked("delete", "jobs", "--all", "--wait=false");
});

await t.test("secret values reach the pod alone, and go when the run has succeeded", async (t) => {
  const run = "values/read";
  const text = `test "$TOKEN" = ${CANARY.split("-").join('"-"')} && printf '{"pem":%s}' "$(wc -c < /etc/keys/ca.pem)" > /dev/termination-log; sleep 5`;
  const request = sh(text, {
    secretValues: { token: CANARY, "ca.pem": "12345" },
    env: { TOKEN: { secretValue: "token" } },
    secrets: [{ values: ["ca.pem"], mount: "/etc/keys" }],
    outputs: ["pem"],
  });
  await sent(system, [run], request);
  await system.heard("run.started", run, 120_000);
  t.equal(await secretsThere(), 1);
  t.notMatch(await asked("get", "jobs,pods,configmaps", "-o", "json"), CANARY);
  t.match((await system.heard("run.succeeded", run, 120_000)).data, { outputs: { pem: 5 } });
  await nothingLeft(t, "its values were read");
  t.notMatch(JSON.stringify(system.received), CANARY);
  t.same(await system.faults([run]), []);
});

await t.test("a run that failed finds its values again when it is restarted, and frees them when it is told to", async (t) => {
  const run = "values/kept";
  const request = sh('test "$TOKEN" = second', { secretValues: { token: CANARY }, env: { TOKEN: { secretValue: "token" } } });
  await sent(system, [run], request);
  await system.heard("run.failed", run, 120_000);
  t.equal(await secretsThere(), 1);
  await system.command("run.restart", { run, from: "failed", with: { secretValues: { token: "second" } } });
  await system.heard("run.succeeded", run, 120_000);
  await nothingLeft(t, "its restart");
  t.same(await system.faults([run]), []);
});
