import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import t, { type Test } from "tap";
import type { Trust } from "../access/connection.ts";
import { openTransport } from "../request/exchange.ts";
import { type Explain, preflight, type Row } from "./preflight.ts";
import { type Need, needsOf, type RoleName } from "../permissions/rbac.ts";
import { authority, serverCertificate, serverKey } from "../testing/certificates.ts";
import { answering, connectionTo, json, listening, never } from "../testing/loopback.ts";
import { status } from "../testing/scripted.ts";
import { standingClock } from "../testing/virtual-clock.ts";

interface ClusterFaults {
  readonly name: string;
  readonly role?: RoleName;
  readonly polls?: boolean;
  readonly may?: (need: Need) => boolean;
  readonly version?: readonly [number, unknown];
  readonly namespace?: readonly [number, unknown];
  readonly create?: readonly [number, unknown, Record<string, string>?];
  readonly quotas?: readonly object[];
  readonly trust?: Partial<Trust>;
  readonly clockOffMs?: number;
  readonly tokenFile?: string;
  readonly token?: { readonly issuedAtMs: number | undefined; readonly expiresAtMs: number };
  readonly want: readonly (Partial<Omit<Row, "detail" | "hint">> & { readonly detail?: RegExp; readonly hint?: RegExp })[];
}

/** The texts of diagnoses have their own tests. This test only checks that preflight asks for them. */
const explain: Explain = (to, unread) => ({
  code: unread.kind === "answered" && unread.status === 403 ? "AdmissionDenied" : "EndpointUnreachable",
  sentence: `${to}: ${unread.kind === "answered" ? JSON.stringify(unread.body) : unread.failure.message}`,
  hint: "Look at it.",
});

const nowMs = Date.parse("2026-11-21T12:00:00Z");
const day = 86_400_000;
const launcherMay = (need: Need) => needsOf("launcher").some((it) => it.resource === need.resource && it.verb === need.verb);
const watcherMay = (need: Need) =>
  needsOf("watcher").some((it) => it.resource === need.resource && it.subresource === need.subresource && it.verb === need.verb);
const well: ClusterFaults["want"] = [
  { step: "network", state: "ok" },
  { step: "version", state: "ok" },
  { step: "clock", state: "ok" },
];

const cases: readonly ClusterFaults[] = [
  {
    name: "all is well for the launcher",
    want: [
      { step: "network", state: "ok", detail: /DNS, TCP, TLS \(\d+ d left\)/ },
      { step: "version", state: "ok", detail: /Kubernetes 1.34.4/ },
      { step: "clock", state: "ok" },
      { step: "namespace", state: "ok" },
      { step: "permissions", state: "ok", detail: /create pods\/exec.*refused/ },
      { step: "create", state: "ok" },
    ],
  },
  {
    name: "all is well for the watcher",
    role: "watcher",
    may: watcherMay,
    want: [...well, { step: "permissions", state: "ok", detail: /create, patch and delete jobs.*refused/ }],
  },
  {
    name: "the launcher lacks verbs",
    may: (it) => launcherMay(it) && it.verb !== "patch",
    want: [
      ...well,
      { state: "ok" },
      { step: "permissions", state: "failed", code: "Forbidden", detail: /may not patch jobs\./, hint: /longshore rbac/ },
      {},
    ],
  },
  {
    name: "the launcher has the Role of an older version, which reads Secrets",
    may: (it) => launcherMay(it) || it.resource === "secrets",
    want: [
      ...well,
      { state: "ok" },
      { step: "permissions", state: "warning", detail: /may also get secrets, which it never does/, hint: /longshore rbac/ },
      {},
    ],
  },
  {
    name: "the watcher may write",
    role: "watcher",
    may: (it) => watcherMay(it) || it.verb === "delete",
    want: [...well, { step: "permissions", state: "warning", detail: /may also delete jobs, delete pods, which it never does/ }],
  },
  {
    name: "the watcher may not watch, where nothing is watched",
    role: "watcher",
    polls: true,
    may: (it) => watcherMay(it) && it.verb !== "watch",
    want: [...well, { step: "permissions", state: "ok" }],
  },
  {
    name: "the watcher of a group that is polled lacks another verb",
    role: "watcher",
    polls: true,
    may: (it) => watcherMay(it) && it.verb !== "watch" && it.verb !== "list",
    want: [...well, { step: "permissions", state: "failed", detail: /may not list jobs/ }],
  },
  {
    name: "the watcher may not watch",
    role: "watcher",
    may: (it) => watcherMay(it) && it.verb !== "watch",
    want: [
      ...well,
      { step: "permissions", state: "failed", detail: /may not watch jobs.*pods/, hint: /longshore rbac.*poll: 10s/ },
    ],
  },
  {
    name: "the certificate is not verified",
    trust: { ca: undefined, verify: false },
    want: [
      { step: "network", state: "warning", detail: /not verified.*sent our token/, hint: /caFile.*insecureSkipVerify/ },
      {},
      {},
      {},
      {},
      {},
    ],
  },
  {
    name: "the CA is not the right one",
    trust: { ca: undefined },
    want: [
      {
        step: "network",
        state: "failed",
        code: "TlsUntrusted",
        detail: /TLS: .*authority we do not know.*certificate for server, signed by Longshore test authority/,
        hint: /CA/,
      },
    ],
  },
  {
    name: "the certificate is for another name",
    trust: { serverName: "other.example" },
    want: [{ step: "network", state: "failed", code: "TlsUntrusted", detail: /another name/ }],
  },
  {
    name: "the token is not accepted",
    version: [401, status(401, "Unauthorized")],
    want: [{ state: "ok" }, { step: "version", state: "failed", code: "AuthRejected" }],
  },
  {
    name: "the server that answers is no Kubernetes",
    version: [200, "<html>It works!</html>"],
    want: [{ state: "ok" }, { step: "version", state: "failed", detail: /no Kubernetes API.*It works/ }, {}, {}, {}, {}],
  },
  {
    name: "the clocks differ",
    clockOffMs: -90_000,
    want: [{}, {}, { step: "clock", state: "warning", detail: /90 s ahead of ours/ }, {}, {}, {}],
  },
  {
    name: "the namespace is missing",
    namespace: [404, status(404, "NotFound", { details: { name: "batch" } })],
    want: [...well, { step: "namespace", state: "failed", detail: /no namespace batch/ }, {}, {}],
  },
  {
    name: "the namespace is being deleted",
    namespace: [200, { metadata: { name: "batch", uid: "u", resourceVersion: "1", deletionTimestamp: "2026-01-01T00:00:00Z" } }],
    want: [...well, { step: "namespace", state: "failed", code: "NamespaceTerminating" }, {}, {}],
  },
  {
    name: "admission refuses the Job",
    create: [403, status(403, "Forbidden", { message: "admission webhook denied the request" })],
    want: [...well, {}, {}, { step: "create", state: "failed", code: "AdmissionDenied", detail: /webhook denied/ }],
  },
  {
    name: "Pod Security would refuse the pods",
    create: [201, {}, { warning: '299 - "would violate PodSecurity \\"restricted:latest\\": runAsNonRoot != true"' }],
    want: [
      ...well,
      {},
      {},
      { step: "create", state: "warning", detail: /PodSecurity "restricted/, hint: /enforce=baseline --overwrite`/ },
    ],
  },
  {
    name: "the namespace enforces restricted pods",
    namespace: [
      200,
      {
        metadata: {
          name: "batch",
          uid: "u",
          resourceVersion: "1",
          labels: { "pod-security.kubernetes.io/enforce": "restricted" },
        },
      },
    ],
    create: [201, {}, { warning: '299 - "would violate PodSecurity \\"restricted:latest\\": runAsNonRoot != true"' }],
    want: [
      ...well,
      {},
      {},
      {
        step: "create",
        state: "failed",
        code: "AdmissionDenied",
        detail: /enforces Pod Security "restricted": .*each of its pods refused.*runAsNonRoot/,
        hint: /enforce=baseline --overwrite`/,
      },
    ],
  },
  {
    name: "a quota can hold no pod",
    quotas: [{ metadata: { name: "none" }, status: { hard: { pods: "0" }, used: { pods: "0" } } }],
    want: [
      ...well,
      {},
      {},
      { step: "quota", state: "failed", code: "QuotaImpossible", detail: /0 of 0 pods \(quota none\)\. Each run fails at once/ },
      {},
    ],
  },
  {
    name: "quotas of nothing are about other things and other pods",
    quotas: [
      { metadata: { name: "other" }, status: { hard: { services: "0" } } },
      { metadata: { name: "scoped" }, spec: { scopes: ["BestEffort"] }, status: { hard: { pods: "0" } } },
    ],
    want: [...well, {}, {}, { step: "quota", state: "ok" }, {}],
  },
  {
    name: "a quota is full and another has room",
    quotas: [
      { metadata: { name: "roomy" }, status: { hard: { cpu: "10" }, used: { cpu: "1500m" } } },
      {
        metadata: { name: "few" },
        status: { hard: { "count/jobs.batch": "5", memory: "1Gi" }, used: { "count/jobs.batch": "5", memory: "512Mi" } },
      },
    ],
    want: [
      ...well,
      {},
      {},
      { step: "quota", state: "warning", code: "QuotaExceeded", detail: /^Nothing more goes in: 5 of 5 Jobs \(quota few\)\.$/ },
      {},
    ],
  },
  {
    name: "the quotas have room",
    quotas: [{ metadata: { name: "roomy" }, status: { hard: { cpu: "10", pods: "4" }, used: { cpu: "1500m", pods: "2" } } }],
    want: [...well, {}, {}, { step: "quota", state: "ok", detail: /^fullest: 2 of 4 pods \(quota roomy\)$/ }, {}],
  },
  {
    name: "the namespace may not be read",
    namespace: [403, status(403, "Forbidden")],
    want: [
      ...well,
      { step: "namespace", state: "failed", code: "Forbidden", detail: /none of this name, or its Role is missing/ },
      {},
      {},
    ],
  },
  {
    name: "the launcher may do nothing",
    may: () => false,
    want: [
      ...well,
      {},
      { step: "permissions", state: "failed", detail: /^The launcher may do nothing in the namespace batch\.$/ },
    ],
  },
  {
    name: "the cluster is old",
    version: [200, { gitVersion: "v1.28.15" }],
    want: [{}, { step: "version", state: "warning", hint: /tested with 1\.31 to 1\.36/ }, {}, {}, {}, {}],
  },
  {
    name: "the cluster is too old",
    version: [200, { gitVersion: "v1.24.0+rke2" }],
    want: [{}, { step: "version", state: "failed", detail: /1\.24\.0/ }, {}, {}, {}, {}],
  },
  {
    name: "a person's token ends soon",
    token: { issuedAtMs: nowMs - 300 * day, expiresAtMs: nowMs + 6 * day },
    want: [{}, {}, { step: "token", state: "warning", detail: /in 6 d/, hint: /new credential/ }, {}, {}, {}, {}],
  },
  {
    name: "a token of an hour is rotated by a machine",
    token: { issuedAtMs: nowMs, expiresAtMs: nowMs + 3_600_000 },
    want: [{}, {}, { step: "token", state: "ok", detail: /in 60 min/ }, {}, {}, {}, {}],
  },
  {
    name: "a token of a day has an hour left",
    tokenFile: "/secrets/prod a",
    token: { issuedAtMs: nowMs - 23 * 3_600_000, expiresAtMs: nowMs + 3_600_000 },
    want: [
      {},
      {},
      {
        step: "token",
        state: "warning",
        detail: /in 60 min/,
        hint: /file: kubectl -n batch create token longshore-launcher --duration 24h > '\/secrets\/prod a\.new' && mv '\/secrets\/prod a\.new' '\/secrets\/prod a'$/,
      },
      {},
      {},
      {},
      {},
    ],
  },
  {
    name: "a token of a day is new",
    tokenFile: "/secrets/prod-a",
    token: { issuedAtMs: nowMs, expiresAtMs: nowMs + 24 * 3_600_000 },
    want: [{}, {}, { step: "token", state: "ok", detail: /in 24 h/ }, {}, {}, {}, {}],
  },
  {
    name: "a token of two days has a tenth of its life left",
    tokenFile: "/secrets/prod-a",
    token: { issuedAtMs: nowMs - 44 * 3_600_000, expiresAtMs: nowMs + 4 * 3_600_000 },
    want: [{}, {}, { step: "token", state: "warning", detail: /in 4 h/ }, {}, {}, {}, {}],
  },
  {
    name: "the token has expired",
    token: { issuedAtMs: undefined, expiresAtMs: nowMs - 1 },
    want: [{}, {}, { step: "token", state: "failed", code: "AuthRejected" }, {}, {}, {}, {}],
  },
];

for (const faults of cases) {
  t.test(`says so when ${faults.name}`, async (t) => {
    const role = faults.role ?? "launcher";
    const { connection, transport } = await cluster(t, faults);
    const clock = standingClock(nowMs + (faults.clockOffMs ?? 0));
    const rows = await preflight(
      {
        connection,
        transport,
        clock,
        namespace: "batch",
        role,
        tokenFile: faults.tokenFile,
        polls: faults.polls ?? false,
        manifest: { kind: "Job" },
        explain,
      },
      never,
    );
    t.match(rows, faults.want);
    t.equal(rows.length, faults.want.length, rows.map((it) => `${it.step} ${it.state} ${it.detail}`).join("\n"));
  });
}

async function cluster(t: Test, faults: ClusterFaults) {
  const server = createTlsServer(
    { cert: serverCertificate, key: serverKey },
    answering((...args) => answer(faults, ...args)),
  );
  const port = await listening(t, server);
  const connection = {
    ...connectionTo(`https://127.0.0.1:${port}`, { trust: { ca: authority, ...faults.trust } }),
    tokenTimes: () => faults.token,
  };
  const transport = openTransport(connection);
  t.teardown(() => transport[Symbol.asyncDispose]());
  return { connection, transport };
}

function answer(faults: ClusterFaults, request: IncomingMessage, response: ServerResponse, body: string): void {
  const { version = [200, { gitVersion: "v1.34.4" }], namespace, create = [201, {}], may = launcherMay } = faults;
  const say = ([code, what, headers = {}]: readonly [number, unknown, Record<string, string>?]) =>
    response.writeHead(code, { ...json, date: new Date(nowMs).toUTCString(), ...headers }).end(JSON.stringify(what));
  const path = request.url ?? "";
  if (path === "/version") say(version);
  else if (path === "/api/v1/namespaces/batch")
    say(namespace ?? [200, { metadata: { name: "batch", uid: "u", resourceVersion: "1" } }]);
  else if (path.includes("/jobs?dryRun=All")) say(create);
  else if (path.includes("/resourcequotas?"))
    say([200, { kind: "ResourceQuotaList", metadata: { resourceVersion: "1" }, items: faults.quotas ?? [] }]);
  else {
    const review = JSON.parse(body) as { readonly spec: { readonly resourceAttributes: Need } };
    say([201, { ...review, status: { allowed: may(review.spec.resourceAttributes) } }]);
  }
}

t.test("says which step fails when nothing listens there, and when the name is unknown", async (t) => {
  const port = await listening(t, createTlsServer({}));
  for (const [server, want] of [
    [`https://no-such-cluster.invalid:${port}`, /DNS: .*DNS/],
    ["https://127.0.0.1:1", /TCP: .*nothing listens/],
  ] as const) {
    const connection = connectionTo(server);
    const transport = openTransport(connection);
    t.teardown(() => transport[Symbol.asyncDispose]());
    const rows = await preflight(
      { connection, transport, clock: standingClock(nowMs), namespace: "batch", role: "watcher", explain },
      never,
    );
    t.match(rows, [{ step: "network", state: "failed", code: "EndpointUnreachable", detail: want }]);
  }
});
