/**
 * Jobs and CronJobs that are prepared in a cluster by an annotation: each becomes a definition by itself, is run as a new Job from
 * its template, is stopped, and is run again. What was prepared stays as it was, byte for byte.
 *
 * The failures this prevents are those of Kubernetes Job Assistant, which ran the prepared object itself: each has a test here.
 */
// needs kubernetes, rabbitmq, node
// runs at most 10 min
import t from "tap";
import { PREFIX, writeCommand } from "@longshore/contract/messages/envelope.ts";
import type { StoredDefinition } from "@longshore/ledger/port.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { jobOf, kubectl, type Shown, shown } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "real", shared: true });
const cluster = only(cloud.clusters);
await using system = await openSystem({
  brokerUrl: rabbit.url,
  clusters: [cluster],
  discover: true,
  policy: { secrets: ["db"] },
});
const { site, ledger } = system;
let watcher = await system.watcher();
await using _launcher = await system.launcher();

const never = new AbortController().signal;
const PEOPLE = { "job-assistant": "enable" };
const sh = (text: string): readonly string[] => ["sh", "-c", text];

interface Preparing {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec?: object;
  readonly pod?: object;
  readonly container?: object;
}

const jobSpec = ({ spec = {}, pod = {}, container = {} }: Preparing): object => ({
  backoffLimit: 0,
  ...spec,
  template: {
    metadata: { labels: { app: "shop", "app.kubernetes.io/instance": "shop" } },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "work", image: BUSYBOX, command: sh("echo worked"), ...container }],
      ...pod,
    },
  },
});

const metadataOf = (name: string, { annotations = PEOPLE, labels = {} }: Preparing): object => ({ name, annotations, labels });

const prepare = async (name: string, how: Preparing = {}): Promise<void> => {
  const spec = jobSpec({ ...how, spec: { suspend: true, ...how.spec } });
  await site.ask("POST", "jobs", { apiVersion: "batch/v1", kind: "Job", metadata: metadataOf(name, how), spec });
};

const schedule = async (name: string, how: Preparing = {}): Promise<void> => {
  const spec = { schedule: "0 0 1 1 *", suspend: true, jobTemplate: { spec: jobSpec(how) } };
  await site.ask("POST", "cronjobs", { apiVersion: "batch/v1", kind: "CronJob", metadata: metadataOf(name, how), spec });
};

/** All that somebody wrote of an object: its status is its controller's, and every write of anybody changes its version. */
async function bytesOf(what: string): Promise<string> {
  const { metadata, spec } = (await site.ask("GET", what)) as { readonly metadata: object; readonly spec: object };
  return JSON.stringify([
    Object.entries(metadata).filter(([name]) => !["managedFields", "resourceVersion"].includes(name)),
    spec,
  ]);
}

async function known(name: string, is: (it: StoredDefinition) => boolean = () => true): Promise<StoredDefinition> {
  let found: StoredDefinition | undefined;
  const isIt = async (): Promise<boolean> => {
    found = (await ledger.definitions()).find(({ body }) => body.name === name);
    return found !== undefined && is(found);
  };
  await system.until(`the definition ${name}`, isIt);
  if (found === undefined) throw new Error(`${name} is no definition`);
  return found;
}
const isRunnable = ({ prepared }: StoredDefinition): boolean =>
  prepared?.goneAtMs === undefined && prepared?.problems.length === 0;

let runs = 0;
async function run(definition: string, parameters: object = {}): Promise<string> {
  const id = `prepared/${++runs}`;
  await system.command("run.requested", { run: id, definition, parameters });
  return id;
}
const made = async (id: string): Promise<Shown> => (await site.ask("GET", `jobs/${await jobOf(system, id)}`)) as Shown;

/** A refusal is no part of a run's story: no run is made, and its id stays free. */
async function refused(definition: string, parameters: object = {}): Promise<NonNullable<Told["problems"]>> {
  const id = `refused/${++runs}`;
  const data = { run: id, definition, parameters };
  const body = writeCommand({ id, source: "/tests", type: "run.requested", data } as Parameters<typeof writeCommand>[0]);
  const isPublished = async () =>
    (await system.broker.publish("commands", { id, key: PREFIX + "run.requested", body }, never)) === "stored";
  await system.until(`the broker's confirmation of ${id}`, isPublished);
  const answers = () => system.received.filter((it) => it.type === "command.refused" && (it.data as { run?: string }).run === id);
  await system.until(`the refusal of ${id}`, () => answers().length > 0);
  return (answers()[0]?.data as Told | undefined)?.problems ?? [];
}
const succeeds = (id: string) => system.heard("run.succeeded", id, 120_000);
interface Told {
  readonly diagnosis?: { readonly code: string; readonly sentence: string };
  readonly problems?: readonly { readonly code: string; readonly message: string }[];
  readonly log?: { readonly tail: string };
}
const told = async (type: string, id: string): Promise<Told> => (await system.heard(type, id, 120_000)).data as Told;

await t.test("a suspended Job with the annotation is a card by itself, and each run is a new Job of its template", async (t) => {
  await prepare("export", { labels: { "app.kubernetes.io/instance": "shop", team: "shop" } });
  const before = await bytesOf("jobs/export");
  t.match((await known("a/export")).body, { title: "export", image: BUSYBOX, groups: ["a"] });
  const ids = [await run("a/export")];
  t.match((await told("run.succeeded", ids[0] ?? "")).log, { tail: "worked\n" });
  ids.push(await run("a/export"));
  await succeeds(ids[1] ?? "");
  const jobs = await Promise.all(ids.map(made));
  t.equal(new Set(jobs.map(({ metadata }) => metadata.uid)).size, 2);
  for (const { metadata } of jobs) {
    t.match(metadata.labels, { team: "shop", "app.kubernetes.io/managed-by": "longshore" });
    t.notOk(metadata.labels?.["app.kubernetes.io/instance"], "a GitOps tool does not take the run for its own");
    t.notOk(metadata.annotations?.["job-assistant"], "nor is it a card");
  }
  t.equal(await bytesOf("jobs/export"), before);
  t.same(await system.faults(ids), []);
});

await t.test(
  "a completed Job that is annotated afterwards can be run, also if CI suspends it: nothing is a silent no-op",
  async (t) => {
    await prepare("report", { annotations: {}, spec: { suspend: false } });
    const isComplete = async () => /"Complete"/.test(JSON.stringify(await site.ask("GET", "jobs/report")));
    await system.until("the end of the Job", isComplete, 120_000);
    await kubectl(cluster, site, "annotate", "job", "report", "job-assistant=enable");
    await known("a/report", isRunnable);
    await site.ask("PATCH", "jobs/report", { spec: { suspend: true } });
    const before = await bytesOf("jobs/report");
    const id = await run("a/report");
    await succeeds(id);
    const { spec } = (await made(id)) as unknown as { spec: { template: { metadata: { labels: Record<string, string> } } } };
    const { uid } = ((await site.ask("GET", "jobs/report")) as Shown).metadata;
    t.notMatch(JSON.stringify(spec), uid, "no old controller-uid is kept");
    t.match(spec.template.metadata.labels, { app: "shop", "app.kubernetes.io/instance": "shop" }, "the pod's labels are");
    t.equal(await bytesOf("jobs/report"), before);
    t.same(await system.faults([id]), []);
  },
);

await t.test(
  "a CronJob is run from its Job's template, whether or not it is suspended, and its schedule is not touched",
  async (t) => {
    await schedule("nightly");
    const before = await bytesOf("cronjobs/nightly");
    t.match(await known("a/cronjob.nightly", isRunnable), {
      prepared: { kind: "CronJob", schedule: "0 0 1 1 *", suspended: true },
    });
    const id = await run("a/cronjob.nightly");
    await succeeds(id);
    t.equal(await bytesOf("cronjobs/nightly"), before);
    t.notMatch(JSON.stringify((await made(id)).metadata), /ownerReferences/);
    t.same(await system.faults([id]), []);
  },
);

await t.test("what has no annotation, or another value, is no card and cannot be run", async (t) => {
  await prepare("private", { annotations: { "job-assistant": "disable" } });
  await prepare("after");
  await known("a/after");
  t.notOk((await ledger.definitions()).some(({ body }) => body.name === "a/private"));
  t.match(await refused("a/private"), [{ code: "DefinitionUnknown" }]);
});

await t.test("a run is stopped, and what was prepared can be run again", async (t) => {
  await prepare("slow", { container: { command: sh("trap 'exit 1' TERM; echo working; sleep 600 & wait") } });
  const before = await bytesOf("jobs/slow");
  await known("a/slow");
  const id = await run("a/slow");
  await system.heard("run.started", id, 120_000);
  t.match(await refused("a/slow"), [{ code: "ConcurrencyLimit" }], "one at a time, and it says so");
  await system.command("run.cancel", { run: id });
  await system.heard("run.cancelled", id, 120_000);
  const again = await run("a/slow");
  await system.heard("run.started", again, 120_000);
  await system.command("run.cancel", { run: again });
  await system.heard("run.cancelled", again, 120_000);
  t.equal(await bytesOf("jobs/slow"), before);
  t.same(await system.faults([id, again]), []);
});

await t.test("with while-running: queue the second run follows the first", async (t) => {
  await prepare("queued", {
    annotations: { ...PEOPLE, "longshore.dev/while-running": "queue" },
    container: { command: sh("sleep 3") },
  });
  await known("a/queued");
  const ids = [await run("a/queued"), await run("a/queued")];
  await Promise.all(ids.map(succeeds));
  const [ended, started] = [await system.heard("run.succeeded", ids[0] ?? ""), await system.heard("run.started", ids[1] ?? "")];
  t.ok(system.received.indexOf(ended) < system.received.indexOf(started));
  t.same(await system.faults(ids), []);
});

await t.test("what its owner started counts: one more is refused, or waits for it, and it is not stopped", async (t) => {
  const container = { command: sh("exec sleep 600") };
  await prepare("busy", { container, spec: { suspend: false } });
  await prepare("busy-queued", {
    annotations: { ...PEOPLE, "longshore.dev/while-running": "queue" },
    container,
    spec: { suspend: false },
  });
  for (const name of ["a/busy", "a/busy-queued"]) await known(name, ({ prepared }) => prepared?.active === 1);
  t.match(await refused("a/busy"), [{ code: "ConcurrencyLimit", message: /started by its schedule or its owner/ }]);
  const id = await run("a/busy-queued");
  t.match((await told("run.waiting", id)).diagnosis, { code: "DefinitionBusy" });
  await site.ask("PATCH", "jobs/busy-queued", { spec: { suspend: true } });
  await system.heard("run.started", id, 120_000);
  await system.command("run.cancel", { run: id });
  await system.heard("run.cancelled", id, 120_000);
  t.match(await site.ask("GET", "jobs/busy"), { status: { active: 1 } });
  t.same(await system.faults([id]), []);
});

await t.test(
  "a parameter replaces a plain variable and arrives as it was written; without it, the manifest's own value stays",
  async (t) => {
    await site.ask("POST", "secrets", { metadata: { name: "db" }, stringData: { password: "s3cret" } });
    const parameters = JSON.stringify({ type: "object", properties: { SAID: { type: "string" }, ROWS: { type: "integer" } } });
    await prepare("says", {
      annotations: { ...PEOPLE, "longshore.dev/parameters": parameters },
      container: {
        env: [
          { name: "DB_PASSWORD", valueFrom: { secretKeyRef: { name: "db", key: "password" } } },
          { name: "SAID", value: "pw $(DB_PASSWORD)" },
          { name: "ROWS", value: "10" },
        ],
        command: sh('echo "$SAID|$ROWS"'),
      },
    });
    await known("a/says", isRunnable);
    const leaking = await run("a/says", { SAID: "$(DB_PASSWORD) $$(ROWS)", ROWS: 7 });
    t.match((await told("run.succeeded", leaking)).log, { tail: "$(DB_PASSWORD) $$(ROWS)|7\n" });
    const without = await run("a/says");
    t.match((await told("run.succeeded", without)).log, { tail: "pw s3cret|10\n" }, "which may name other variables");
    t.match(
      await refused("a/says", { DB_PASSWORD: "x" }),
      [{ path: "/data/parameters/DB_PASSWORD" }],
      "and nothing else is replaced",
    );
    t.same(await system.faults([leaking, without]), []);
  },
);

await t.test("a Job that cannot be created costs nothing of what was prepared", async (t) => {
  await prepare("full");
  await known("a/full");
  const before = await bytesOf("jobs/full");
  await site.ask("POST", "resourcequotas", { metadata: { name: "none" }, spec: { hard: { "count/jobs.batch": "1" } } });
  const id = await run("a/full");
  await system.heard("run.waiting", id, 120_000);
  t.equal(await bytesOf("jobs/full"), before);
  await site.ask("DELETE", "resourcequotas/none");
  await succeeds(id);
  t.equal(await bytesOf("jobs/full"), before);
  t.same(await system.faults([id]), []);
});

await t.test("a card that a run would lose something of says what, and cannot be run", async (t) => {
  await prepare("root", { container: { securityContext: { privileged: true } } });
  await prepare("wrong", { annotations: { ...PEOPLE, "longshore.dev/parameters": "MONTH" } });
  t.match((await known("a/root")).prepared?.problems, [/does not allow a privileged container/]);
  t.match((await known("a/wrong")).prepared?.problems, [/parameters is no JSON/]);
  t.match(await refused("a/wrong"), [{ code: "DefinitionUnusable", message: /no JSON/ }]);
});

await t.test(
  "what changes while no watcher looks is not run: annotation, UID and template are compared at the launch",
  async (t) => {
    for (const name of ["withdrawn", "remade", "deleted"]) await prepare(name);
    await schedule("changed");
    const names = ["a/withdrawn", "a/remade", "a/deleted", "a/cronjob.changed"];
    const digests = new Map<string, string>();
    for (const name of names) digests.set(name, (await known(name, isRunnable)).digest);
    watcher.signal("SIGKILL");
    await watcher.ended;
    await kubectl(cluster, site, "annotate", "job", "withdrawn", "job-assistant-");
    for (const name of ["remade", "deleted"]) await kubectl(cluster, site, "delete", "job", name);
    await prepare("remade");
    const template = { jobTemplate: { spec: jobSpec({ container: { command: sh("echo other") } }) } };
    await site.ask("PATCH", "cronjobs/changed", { spec: template });
    const ids = await Promise.all(names.map((name) => run(name)));
    const codes = [];
    for (const id of ids) codes.push((await told("run.failed", id)).diagnosis);
    t.match(codes, [
      { code: "DefinitionGone", sentence: /no annotation job-assistant: enable/ },
      { code: "DefinitionChanged", sentence: /deleted and made anew/ },
      { code: "DefinitionGone", sentence: /is gone/ },
      { code: "DefinitionChanged", sentence: /runs something else/ },
    ]);
    t.same(
      (await system.created()).filter(({ name }) => ids.some((id) => name.startsWith(id.replace("/", "-")))),
      [],
      "no Job was made",
    );

    watcher = await system.watcher();
    for (const name of ["a/withdrawn", "a/deleted"])
      t.ok((await known(name, (it) => it.prepared?.goneAtMs !== undefined)).prepared);
    t.match(await refused("a/withdrawn"), [{ code: "DefinitionUnusable", message: /lost its annotation/ }]);
    await known("a/cronjob.changed", (it) => it.digest !== digests.get("a/cronjob.changed"));
    const id = await run("a/cronjob.changed");
    t.match((await told("run.succeeded", id)).log, { tail: "other\n" });
    t.same(await system.faults([...ids, id]), []);
  },
);

await t.test("nobody but its owner changed any prepared object, and no Job of a run is a card", async (t) => {
  const users = (await site.asked()).filter(({ user, verb }) => user.includes("longshore") && !["get", "create"].includes(verb));
  const prepared = (await shown(site, "jobs")).filter(({ metadata }) => metadata.labels?.["longshore.dev/run"] === undefined);
  t.same(
    users.filter(({ name }) => prepared.some(({ metadata }) => metadata.name === name)),
    [],
  );
  t.notOk((await ledger.definitions()).some(({ body }) => body.name.includes("prepared-")));
});

watcher.signal("SIGTERM");
