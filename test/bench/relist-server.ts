/**
 * An API server for one bench: lists as many Jobs and pods as it is told, page by page, each object made as it is written, and
 * keeps watches open. A process of its own, so that what it holds is not counted as a watcher's.
 *
 *   node test/bench/relist-server.ts 50000        prints its URL; POST /expire ends every watch with 410
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";

const NAMESPACE = "longshore-jobs";
const VERSION = 10_000_000;

/** As a cluster shows them, with what its controllers add: about 4 kB a Job and 8 kB a pod. */
const managed = (manager: string) => ({
  manager,
  operation: "Update",
  apiVersion: "batch/v1",
  time: "2026-11-21T12:00:00Z",
  fieldsType: "FieldsV1",
  fieldsV1: { "f:metadata": { "f:labels": Object.fromEntries(Array.from({ length: 24 }, (_, i) => [`f:field-${i}`, {}])) } },
});

function job(n: number): object {
  const labels = {
    "app.kubernetes.io/managed-by": "longshore",
    "longshore.dev/installation": "bench",
    "longshore.dev/step": "main",
    "longshore.dev/attempt": "1",
  };
  const annotations = {
    "longshore.dev/run-id": `orders/${n}/export`,
    "longshore.dev/group": "bench",
    "longshore.dev/proof": n.toString(16).padStart(64, "0"),
  };
  const env = Array.from({ length: 12 }, (_, i) => ({ name: `SETTING_${i}`, value: `value-${i}-of-this-run` }));
  const containers = [{ name: "main", image: "registry.example.org/team/export:2026-11-20", env }];
  return {
    metadata: {
      name: nameOf(n),
      namespace: NAMESPACE,
      uid: uidOf(1, n),
      resourceVersion: String(1_000_000 + n),
      creationTimestamp: "2026-11-21T12:00:00Z",
      labels,
      annotations,
      finalizers: ["longshore.dev/unrecorded"],
      managedFields: [managed("longshore"), managed("kube-controller-manager")],
    },
    spec: { backoffLimit: 0, parallelism: 1, template: { metadata: { labels }, spec: { restartPolicy: "Never", containers } } },
    status: { active: 1, ready: 1, startTime: "2026-11-21T12:00:00Z", uncountedTerminatedPods: {} },
  };
}

function pod(n: number): object {
  const labels = { "batch.kubernetes.io/controller-uid": uidOf(1, n), "longshore.dev/installation": "bench" };
  const env = Array.from({ length: 20 }, (_, i) => ({ name: `SETTING_${i}`, value: `value-${i}-of-this-run` }));
  const imageID = `registry.example.org/team/export@sha256:${"ab".repeat(32)}`;
  const running = { running: { startedAt: "2026-11-21T12:00:03Z" } };
  return {
    metadata: {
      name: `${nameOf(n)}-abcde`,
      namespace: NAMESPACE,
      uid: uidOf(2, n),
      resourceVersion: String(2_000_000 + n),
      creationTimestamp: "2026-11-21T12:00:01Z",
      labels,
      managedFields: [managed("kubelet"), managed("kube-controller-manager"), managed("kube-scheduler")],
    },
    spec: {
      nodeName: `node-${n % 500}.example.org`,
      containers: [{ name: "main", image: "registry.example.org/team/export:2026-11-20", env }],
    },
    status: {
      phase: "Running",
      conditions: ["PodScheduled", "Initialized", "Ready"].map((type) => ({ type, status: "True" })),
      containerStatuses: [{ name: "main", ready: true, restartCount: 0, imageID, state: running }],
    },
  };
}

const nameOf = (n: number): string => `orders-8812-export-main-1-${n.toString(36).padStart(10, "x")}`;
const uidOf = (kind: number, n: number): string =>
  `${String(kind).padStart(8, "0")}-0000-4000-8000-${String(n).padStart(12, "0")}`;

function page(kind: "jobs" | "pods", query: URLSearchParams, count: number): object {
  const first = Number(query.get("continue") ?? 0);
  const end = Math.min(count, first + Number(query.get("limit") ?? count));
  const metadata = { resourceVersion: String(VERSION), ...(end < count && { continue: String(end) }) };
  const make = kind === "jobs" ? job : pod;
  return {
    kind: kind === "jobs" ? "JobList" : "PodList",
    metadata,
    items: Array.from({ length: Math.max(0, end - first) }, (_, at) => make(first + at)),
  };
}

async function serve(count: number): Promise<void> {
  const watches = new Set<ServerResponse>();
  /** Jobs and pods: one that is still listing would be missed. */
  const bothWatch = async (): Promise<void> => {
    while (watches.size < 2) await once(server, "watch");
  };
  const expired = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://any");
    response.setHeader("content-type", "application/json");
    if (pathname === "/expire") {
      void bothWatch().then(() => {
        for (const it of watches) it.end(`${JSON.stringify({ type: "ERROR", object: expired })}\n`);
        response.end("{}");
      });
    } else if (searchParams.get("watch") === "true") {
      watches.add(response);
      server.emit("watch");
      response.on("close", () => watches.delete(response)).flushHeaders();
    } else {
      response.end(JSON.stringify(page(pathname.endsWith("/jobs") ? "jobs" : "pods", searchParams, count)));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server without a port");
  process.stdout.write(`http://127.0.0.1:${address.port}\n`);
}

if (import.meta.main) await serve(Number(process.argv[2] ?? "50000"));
