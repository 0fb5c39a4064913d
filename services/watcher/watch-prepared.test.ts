/** What a watcher tells of prepared Jobs: which there are, and what became of them; and what it never reads. */
import t, { type Test } from "tap";
import { GROUP, NAMESPACE, never, watching } from "./testing/watching.ts";

const base = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`;
const PEOPLE = ["job-assistant", "enable"] as const;

async function discovering(t: Test) {
  const it = await watching(t);
  const ask = async (method: "POST" | "PATCH" | "DELETE", path: string, body: object) => {
    const contentType = method === "PATCH" ? { contentType: "application/merge-patch+json" } : {};
    const { status } = await it.pocket.transport().send({ method, path, body, ...contentType }, never);
    if (status >= 300) throw new Error(`${method} ${path} was answered ${status}`);
  };
  const job = (name: string, metadata: object) => ({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, ...metadata },
    spec: { suspend: true, template: { spec: { restartPolicy: "Never", containers: [{ name: "work", image: "busybox" }] } } },
  });
  const annotated = { annotations: { [PEOPLE[0]]: PEOPLE[1] } };
  /** The facts about prepared objects, as "definition.seen export". */
  const told = (): readonly string[] => {
    const uids = new Map<unknown, unknown>();
    return it.told.flatMap(({ type, data }) => {
      if (!type.startsWith("definition") || data["kind"] !== "Job") return [];
      if (type === "definition.seen") uids.set(data["uid"], data["name"]);
      const many = data["uids"] as readonly unknown[] | undefined;
      const names = many?.map((uid) => uids.get(uid)) ?? [data["name"] ?? uids.get(data["uid"])];
      return [[type, ...names].join(" ")];
    });
  };
  return {
    ...it,
    it,
    told,
    prepare: (name: string, metadata: object = annotated) => ask("POST", base, job(name, metadata)),
    patch: (name: string, body: object) => ask("PATCH", `${base}/${name}`, body),
    remove: (name: string) => ask("DELETE", `${base}/${name}`, { propagationPolicy: "Background" }),
    start: () => it.watch({}, { annotation: PEOPLE }),
    /** The names of the prepared Jobs that were read whole. */
    reads: () =>
      it.pocket
        .requests()
        .flatMap(({ method, path }) => (method === "GET" ? (/\/jobs\/((?!job-of)[^/?]+)$/.exec(path)?.[1] ?? []) : [])),
  };
}

t.test("of many Jobs only annotated ones are read and told, and a whole listing says which these are", async (t) => {
  const it = await discovering(t);
  for (let n = 0; n < 50; n++) await it.prepare(`other-${n}`, {});
  await it.prepare("export");
  await it.it.create("a");
  it.start();
  await it.until(() => it.told().length === 2);
  t.same(it.told(), ["definition.seen export", "definitions.listed export"]);
  await it.clock.sleep(60_000);
  t.equal(it.told().length, 2, "its status alone is no news");
  t.same(new Set(it.reads()), new Set(["export"]));
  t.match(it.it.told.find(({ type }) => type === "definition.seen")?.data, {
    group: GROUP,
    kind: "Job",
    suspended: true,
    runs: { template: { spec: { containers: [{ image: "busybox" }] } } },
  });
});

t.test("an annotation that comes later is seen, a change is told, and what is gone is told once", async (t) => {
  const it = await discovering(t);
  await it.prepare("export", {});
  it.start();
  await it.until(() => it.told().length === 1);
  await it.patch("export", { metadata: { annotations: { [PEOPLE[0]]: PEOPLE[1] } } });
  await it.until(() => it.told().length === 2);
  await it.patch("export", { metadata: { labels: { team: "shop" } } });
  await it.until(() => it.told().length === 3);
  await it.patch("export", { metadata: { annotations: { [PEOPLE[0]]: null } } });
  await it.until(() => it.told().length === 4);
  await it.patch("export", { metadata: { annotations: { [PEOPLE[0]]: PEOPLE[1] } } });
  await it.until(() => it.told().length === 5);
  await it.remove("export");
  await it.until(() => it.told().length === 6);
  const seen = "definition.seen export";
  t.same(it.told(), ["definitions.listed", seen, seen, "definition.gone export", seen, "definition.gone export"]);
});

t.test(
  "what vanished in a gap of the watch is missing in the next listing, and what did not change is not read again",
  async (t) => {
    const it = await discovering(t);
    await it.prepare("export");
    await it.prepare("report");
    it.start();
    await it.until(() => it.told().length === 3);
    await it.clock.sleep(10_000);
    const reads = it.reads().length;
    it.it.pocket.cause({ on: "any", trouble: { kind: "unsent" } });
    it.it.pocket.meddle({ kind: "cut streams" });
    await it.clock.sleep(1_000);
    it.it.pocket.heal();
    it.it.pocket.meddle({ kind: "compact" });
    await it.remove("export");
    await it.until(() => it.told().length >= 4);
    t.match(it.told().at(-1), /definition\.gone export|definitions\.listed report/);
    t.same(it.reads().slice(reads), []);
  },
);

t.test("a CronJob is told beside the Jobs, by its Job's template", async (t) => {
  const { it } = await discovering(t);
  const spec = { template: { spec: { restartPolicy: "Never", containers: [{ name: "work", image: "nightly" }] } } };
  const body = {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name: "nightly", annotations: { [PEOPLE[0]]: PEOPLE[1] } },
    spec: { schedule: "@daily", suspend: true, jobTemplate: { spec } },
  };
  const path = base.replace(/jobs$/, "cronjobs");
  const { status } = await it.pocket.transport().send({ method: "POST", path, body }, never);
  t.equal(status, 201);
  it.watch({}, { annotation: PEOPLE });
  const ofSchedules = () => it.told.filter(({ data }) => data["kind"] === "CronJob");
  await it.until(() => ofSchedules().length === 2);
  t.match(ofSchedules(), [
    { type: "definition.seen", data: { name: "nightly", schedule: "@daily", suspended: true, runs: spec } },
    { type: "definitions.listed" },
  ]);
});

t.test("a fact waits for the broker, and none is lost meanwhile", async (t) => {
  const it = await discovering(t);
  await it.prepare("export");
  it.it.answer = (n) => (n < 5 ? "unrouted" : "stored");
  it.start();
  await it.until(() => it.told().length === 2);
  t.same(it.told(), ["definition.seen export", "definitions.listed export"]);
});
