/**
 * Facts that a watcher must never tell, as one body of tests for the pocket over HTTPS and a real API server.
 *
 * The failure this prevents: an end, a deletion or a start that never happened, told because a listing was old, a label was
 * taken off, or another Job got the same name while the watcher was cut off. The numbers are those of the faults in
 * GUARANTEES.md.
 */
import { readFact } from "@longshore/contract/messages/envelope.ts";
import { GroupName, Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import { manifest, type ManifestInput } from "@longshore/domain/pod/manifest.ts";
import { HOLD, LABELS } from "@longshore/domain/run/marks.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openClusters } from "@longshore/kubernetes/clusters.ts";
import { member, text } from "@longshore/kubernetes/objects.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import { openWrites } from "@longshore/kubernetes/request/write.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { watchGroup } from "@longshore/watcher/watch-group.ts";
import type { Test } from "tap";
import { type Chosen, listing, watching } from "./fault-proxy-faults.ts";
import { type FaultProxy, faultProxy } from "./fault-proxy.ts";
import type { Ground } from "./follow-stage.ts";

const GROUP = GroupName.parse("tried");
const INSTALLATION = Installation.parse("test");
const HEARD_WITHIN_MS = 60_000;
const forever = new AbortController().signal;
const jobs = watching("jobs");
const oneJob =
  (name: string): Chosen =>
  ({ method, path }) =>
    method === "GET" && path.endsWith(`/jobs/${name}`);

interface Watched extends AsyncDisposable {
  readonly proxy: FaultProxy;
  /** The facts in order, as "job.ended UID", without heartbeats. */
  readonly told: readonly string[];
  /** Resolves when the watcher has told this fact, at any time since its beginning. */
  heard(fact: string): Promise<void>;
  /** Creates a Job of ours whose pod never runs. "soon": the Job fails by its deadline. Resolves to its UID. */
  create(name: string, ends: "soon" | "never"): Promise<string>;
  remove(name: string, uid: string): Promise<void>;
  unlabel(name: string): Promise<void>;
}

async function watched(ground: Ground): Promise<Watched> {
  await using parts = new AsyncDisposableStack();
  const { namespace, token } = await ground.room();
  const proxy = parts.use(await faultProxy(ground));
  const connected = await connect({ cluster: { server: proxy.url, ca: proxy.ca }, credential: { token }, clock });
  if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
  const transport = openTransport(connected.connection, { silenceMs: 2_000 });
  const clusters = parts.use(openClusters([{ name: GROUP, namespace, transport }], { clock }));
  const stop = new AbortController();
  const told: string[] = [];
  const waiting = new Set<() => void>();

  const running = watchGroup(
    {
      installation: INSTALLATION,
      owner: "tried",
      clock,
      log: silentLog,
      metrics: openMetrics("watcher", "test"),
      broker: {
        publish: async (_topic, { body }) => {
          const read = readFact(body);
          if (read.kind !== "fact") throw new Error("a fact that no launcher could read");
          const { type, data } = read.fact;
          if ("about" in data) told.push(`${type} ${data.about.uid}`);
          for (const wake of waiting) wake();
          return "stored";
        },
      },
      timing: { heartbeatMs: 60_000, dueMs: 100 },
      fail: noFailpoint,
      pause: backOff(clock),
    },
    { ...clusters.cluster(GROUP), name: GROUP },
    stop.signal,
  );
  parts.defer(async () => {
    stop.abort();
    await running;
  });

  async function heard(fact: string): Promise<void> {
    const late = new AbortController();
    const over = clock.sleep(HEARD_WITHIN_MS, late.signal).then(() => "late" as const);
    while (!told.includes(fact)) {
      const woken = new Promise<"told">((resolve) => waiting.add(() => resolve("told")));
      if ((await Promise.race([woken, over])) === "late") throw new Error(`"${fact}" was not told, but: ${told.join(", ")}`);
      waiting.clear();
    }
    late.abort("heard");
  }

  const kept = parts.move();
  return { proxy, told, heard, ...hands(ground, namespace), [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Changes Jobs as other users of the cluster would, without the proxy. */
function hands({ admin }: Ground, namespace: string): Pick<Watched, "create" | "remove" | "unlabel"> {
  const writes = openWrites({ transport: admin, clock, namespace });
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  return {
    async create(name, ends) {
      const body = manifest({
        installation: INSTALLATION,
        group: { name: GROUP, namespace },
        run: { id: RunId.parse(name), labels: undefined, annotations: undefined },
        step: { name: StepName.parse("main"), image: "example.org/none", command: ["sleep", "600"] },
        attempt: 1,
        generation: 1,
        epoch: 1,
        name,
        hashOfRun: name,
        proof: "proof",
        limits: DEFAULTS,
      } as ManifestInput);
      const spec = { ...(member(body, "spec") as object), ...(ends === "soon" && { activeDeadlineSeconds: 1 }) };
      const made = await writes.createJob({ ...body, spec }, forever);
      if (made.kind !== "created") throw new Error(JSON.stringify(made));
      return made.uid;
    },
    async remove(name, uid) {
      await writes.deleteJob(name, uid, { propagation: "Background" }, forever);
      await writes.releaseJob(name, uid, HOLD, {}, forever);
      const { status, body } = await admin.send({ method: "GET", path: `${path}/${name}` }, forever);
      if (status !== 404) throw new Error(`it is still there: ${text(member(member(body, "metadata"), "name"))}`);
    },
    async unlabel(name) {
      const body = { metadata: { labels: { [LABELS.installation]: null } } };
      const { status } = await admin.send(
        { method: "PATCH", path: `${path}/${name}`, body, contentType: "application/merge-patch+json" },
        forever,
      );
      if (status !== 200) throw new Error(`the label was not taken off: ${status}`);
    },
  };
}

/**
 * Shows the watcher the Job "twice", cuts the watcher off, and deletes the Job. The watcher stays cut off. Resolves to the
 * Job's UID.
 */
async function removedUnseen(it: Watched): Promise<string> {
  await it.proxy.flow(jobs);
  const uid = await it.create("twice", "never");
  const marker = await it.create("marker", "soon");
  await it.heard(`job.ended ${marker}`);
  it.proxy.refuse(true);
  it.proxy.cut();
  await it.remove("twice", uid);
  return uid;
}

export function watchFaults(t: Test, open: () => Ground): void {
  t.test("20 a listing from a server that lags behind brings back nothing that is over", async (t) => {
    await using it = await watched(open());
    await it.proxy.flow(jobs);
    const ended = await it.create("over", "soon");
    const kept = it.proxy.keep(listing("jobs"));
    (await it.proxy.flow(jobs)).say("{");
    const { status, body } = await kept;
    await it.heard(`job.ended ${ended}`);
    const before = it.told.length;
    const again = it.proxy.answered(jobs);
    const headers = { "content-type": "application/json" };
    const struck = it.proxy.cause(listing("jobs"), { kind: "answer", status, headers, body });
    (await it.proxy.flow(jobs)).say("{");
    await struck;
    await again;
    const marker = await it.create("marker", "soon");
    await it.heard(`job.ended ${marker}`); // any fact that the old listing led to was told before this one
    const since = it.told.slice(before).filter((fact) => fact.endsWith(ended));
    t.ok(
      since.every((fact) => fact.startsWith("job.ended")),
      since.join(", "),
    );
    t.notOk(it.told.some((fact) => fact.startsWith("job.deleted")));
  });

  t.test("21 a label that somebody took off is no end and no deletion", async (t) => {
    await using it = await watched(open());
    await it.proxy.flow(jobs);
    const live = await it.create("live", "never");
    const marker = await it.create("marker", "soon");
    await it.heard(`job.ended ${marker}`);
    const looked = it.proxy.answered(oneJob("live"));
    await it.unlabel("live");
    await looked;
    const second = await it.create("second", "soon");
    await it.heard(`job.ended ${second}`);
    t.notOk(
      it.told.some((fact) => /job\.(ended|deleted|deleting)/.test(fact) && fact.endsWith(live)),
      it.told.join(", "),
    );
  });

  t.test("22 a name that came back as another Job while nobody could look: both are told right", async (t) => {
    await using it = await watched(open());
    const first = await removedUnseen(it);
    const second = await it.create("twice", "soon");
    it.proxy.refuse(false);
    await it.heard(`job.deleted ${first}`);
    await it.heard(`job.ended ${second}`);
    t.notOk(it.told.includes(`job.deleted ${second}`));
    t.notOk(it.told.includes(`job.ended ${first}`));
  });

  t.test("22 the same, where only a listing could show it", async (t) => {
    await using it = await watched(open());
    const first = await removedUnseen(it);
    const second = await it.create("twice", "never");
    const gone = { kind: "Status", apiVersion: "v1", code: 410, reason: "Expired", message: "too old" };
    void it.proxy.cause(jobs, { kind: "answer", status: 410, body: gone });
    it.proxy.refuse(false);
    await it.heard(`job.deleted ${first}`);
    const last = await it.create("last", "soon");
    await it.heard(`job.ended ${last}`);
    t.notOk(
      it.told.some((fact) => /job\.(ended|deleted|deleting)/.test(fact) && fact.endsWith(second)),
      it.told.join(", "),
    );
  });
}
