/**
 * Follows the README step by step: `longshore up --kubeconfig` on a cluster with a real node, with a broker of one's own, then
 * the Python programs as they are printed, `runs show`, and kubectl.
 *
 * The failure this prevents: parts that are tested, and a whole that nobody has started as its users do.
 */
// needs kubernetes, node, rabbitmq
// runs at most 10 min
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { HOLD } from "@longshore/domain/run/marks.ts";
import t from "tap";
import { found, only } from "../../harness/kubernetes/admin.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { emptyFolder, errorsIn, longshore, longshoreUp } from "../../harness/longshore.ts";
import { pythonWithPika } from "../../harness/python.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { application, consumed, example } from "../../harness/readme.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const RUN = "orders/8812/export";
const LASTS = "orders/8813/export";

const python = await pythonWithPika((sentence) => t.comment(sentence));
await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "real" });
const cluster = only(cloud.clusters);
await using folder = await emptyFolder();
await using up = await longshoreUp(
  folder.path,
  "--broker",
  rabbit.url,
  "--kubeconfig",
  cluster.kubeconfig,
  "--namespace",
  "default",
);

/** Replaces parts of a text. Each part must be in it exactly once. */
function changed(code: string, changes: Readonly<Record<string, string>>): string {
  return Object.entries(changes).reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`the text must have this exactly once: ${from}\n${text}`);
    return text.replace(from, () => to);
  }, code);
}

const follow = async (run: string) => {
  const follower = application(python, changed(example("follow"), { [RUN]: run }), rabbit.url);
  await consumed(rabbit.url, "shop");
  return follower;
};
const publish = async (changes: Readonly<Record<string, string>>): Promise<string> => {
  const code = changed(example("publish"), { '"busybox"': `"${BUSYBOX}"`, ...changes });
  await using publisher = application(python, code, rabbit.url);
  const { out, err } = await publisher.ended;
  return out + err;
};
const show = async (run: string): Promise<string> => {
  const { out, err } = await longshore(folder.path, "runs", "show", run);
  return out + err;
};
const kubectl = async (...args: readonly string[]): Promise<string> => {
  const { code, stdout, stderr } = await cluster.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
};

await t.test("the README's application publishes a run: what its container printed is in `runs show`", async (t) => {
  await using follower = await follow(RUN);
  t.equal(await publish({}), `sent: ${RUN}\n`);
  await follower.prints(" run.succeeded");
  const page = await show(RUN);
  t.match(page, /^orders\/8812\/export {4}SUCCEEDED\n/);
  t.match(page, /^ {2}log: 1 line\n {4}exported$/m);
});

await t.test("kubectl delete job while it runs: pod and Job end, and the run fails with DeletedExternally", async (t) => {
  await using follower = await follow(LASTS);
  // SIGTERM ends the first process of a container only if that process handles the signal. It takes some seconds, since a busy
  // machine removes a pod that ends at once before anybody has read what it printed.
  const command = "trap 'sleep 5; exit 0' TERM; echo working; sleep 600 & wait";
  t.equal(await publish({ [RUN]: LASTS, "echo exported": command }), `sent: ${LASTS}\n`);
  await follower.prints(" run.started");
  const job = /kubectl --kubeconfig \S+ .*-n default describe job (\S+)/.exec(await show(LASTS))?.[1] ?? "";
  t.not(job, "", "`runs show` names the Job");

  const printed = async () => await longshore(folder.path, "runs", "logs", LASTS);
  t.match(await printed(), { code: 0, out: "working\n" }, "its output can be read while it runs");

  const began = performance.now();
  await kubectl("delete", "job", job, "--timeout=60s"); // kubectl returns when the Job is gone
  t.comment(`pod and Job were gone after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  t.equal(await kubectl("get", "pods", "-l", `batch.kubernetes.io/job-name=${job}`, "-o", "name"), "", "its pod is gone");
  await follower.prints(" run.failed");
  t.match(await show(LASTS), /^orders\/8813\/export {4}FAILED DeletedExternally/);
  t.match(await printed(), { code: 0, out: "working\n" }, "its output outlives its pod");
});

await t.test("kubectl get jobs shows no hold afterwards", async (t) => {
  const held = async (): Promise<readonly string[]> => {
    const { items } = JSON.parse(await kubectl("get", "jobs", "-A", "-o", "json")) as {
      readonly items: readonly { readonly metadata: { readonly name: string; readonly finalizers?: readonly string[] } }[];
    };
    return items.filter(({ metadata }) => metadata.finalizers?.includes(HOLD)).map(({ metadata }) => metadata.name);
  };
  // The hold is removed after the outcome was recorded, not before.
  await found("no hold on any Job", async () => (await held()).length === 0);
  t.same(await held(), []);
});

const expired = path.join(folder.path, "expired.yaml");
await writeFile(expired, changed(await readFile(cluster.kubeconfig, "utf8"), { [cluster.adminToken]: "guessed" }));
const wrongly = rabbit.url.replace(rabbit.password, "guessed");
for (const { name, args, says } of [
  {
    name: "a wrong password for the broker",
    args: ["--broker", wrongly],
    says: new RegExp(
      `^longshore: RabbitMQ at \\S+:\\d+ does not let the user "${rabbit.user}" in\\. Check the user and the password.*\\n$`,
    ),
  },
  {
    name: "a namespace that is not there",
    args: ["--kubeconfig", cluster.kubeconfig, "--namespace", "nowhere"],
    says: /^longshore: The cluster of \S+ cannot be used\. There is no namespace nowhere\. Create it \(kubectl create namespace nowhere\).*\n$/,
  },
  {
    name: "no namespace, and a kubeconfig that names none",
    args: ["--kubeconfig", cluster.kubeconfig],
    says: /^longshore: The current context of \S+ names no namespace\. Say where Jobs are to be created: --namespace NAME\.\n$/,
  },
  {
    name: "a login that has run out",
    args: ["--kubeconfig", expired, "--namespace", "default"],
    says: /^longshore: The cluster of \S+expired\.yaml cannot be used\. .* does not accept the credential\. Log in there anew, until `kubectl --kubeconfig \S+ get jobs` works\.\n$/,
  },
])
  await t.test(`longshore up with ${name} ends at once, and says what, where and what to do`, async (t) => {
    await using other = await emptyFolder();
    const { code, out, err } = await longshore(other.path, "up", ...args);
    t.equal(code, 1, out);
    t.match(
      errorsIn(err)
        .map((line) => `${line}\n`)
        .join(""),
      says,
    );
    t.notMatch(out + err, /guessed/);
  });

await t.test("Ctrl-C ends it in order, and it says no error", async (t) => {
  const { code, err } = await up.stop();
  t.same({ code, errors: errorsIn(err) }, { code: 0, errors: [] });
});
