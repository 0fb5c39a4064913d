/**
 * Answers of a real API server that cannot, may not or will not create a Job, and what a person is told. Each is made to
 * happen.
 */
// needs kubernetes
// runs with kube
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import type { ApiAnswer, Transport } from "@longshore/kubernetes/transport.ts";
import { openWrites } from "@longshore/kubernetes/request/write.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import t, { type Test } from "tap";
import { authority } from "../../../packages/kubernetes/testing/certificates.ts";
import { found, adminOf, heldJob, jobPath, only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { type Happening, recorded, silenceOf } from "../../harness/recording.ts";
import { startWebhook, type Verdict, webhookConfiguration } from "../../harness/faults/webhook.ts";

t.setTimeout(0);
const forever = new AbortController().signal;
const test = await kubernetes({ nodes: "none" });
t.teardown(() => test[Symbol.asyncDispose]());
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);

interface Place {
  readonly namespace: string;
  readonly launcher: Transport;
}

/** Makes a namespace with our Roles, and returns the launcher's credential there. */
async function place(): Promise<Place> {
  const namespace = await cluster.namespace();
  return { namespace, launcher: await cluster.as(await cluster.token(namespace, "longshore-launcher")) };
}

const create = ({ namespace, launcher }: Place, step = {}): Promise<ApiAnswer> =>
  launcher.send({ method: "POST", path: jobPath(namespace), body: heldJob("export-1", namespace, step) }, forever);

type Replied = Pick<Happening, "name" | "happened" | "code" | "says" | "varies">;

function reply(t: Test, { status, body }: ApiAnswer, namespace: string, happening: Replied): void {
  const seen = { kind: "reply", to: "create", status, body } as const;
  recorded(t, { ...happening, kubernetes: cluster.version, seen, renamed: { [namespace]: "batch" } });
}

t.test("a token that it does not know", async (t) => {
  const { namespace } = await place();
  const stranger = await cluster.as("no-such-token");
  reply(t, await create({ namespace, launcher: stranger }), namespace, {
    name: "token-not-accepted",
    happened: "the token is not one that the cluster knows",
    code: "AuthRejected",
    says: /token/,
  });
});

t.test("a credential that may not create Jobs", async (t) => {
  const { namespace } = await place();
  const watcher = await cluster.as(await cluster.token(namespace, "longshore-watcher"));
  reply(t, await create({ namespace, launcher: watcher }), namespace, {
    name: "may-not-create",
    happened: "the credential's Role does not let it create Jobs",
    code: "Forbidden",
    says: /may not create jobs in the namespace "batch"/,
  });
});

t.test("a namespace that is going away", async (t) => {
  const { namespace, launcher } = await place();
  const held = await create({ namespace, launcher });
  t.equal(held.status, 201, "its hold keeps the namespace from being gone at once");
  await admin.must("DELETE", `/api/v1/namespaces/${namespace}`);
  const again = { ...(heldJob("export-2", namespace) as object) };
  const answer = await cluster.admin.send({ method: "POST", path: jobPath(namespace), body: again }, forever);
  reply(t, answer, namespace, {
    name: "namespace-terminating",
    happened: "the namespace is being deleted",
    code: "NamespaceTerminating",
    says: /namespace "batch" of group "prod-a" is being deleted/,
  });
  await admin.must("PATCH", jobPath(namespace, "export-1"), { metadata: { "$deleteFromPrimitiveList/finalizers": [HOLD] } });
});

t.test("a namespace that nobody made", async (t) => {
  const namespace = "nobody-made-this";
  const gone = await cluster.admin.send(
    { method: "POST", path: jobPath(namespace), body: heldJob("export-1", namespace) },
    forever,
  );
  reply(t, gone, namespace, {
    name: "namespace-missing",
    happened: "there is no such namespace",
    code: "NamespaceTerminating",
    says: /namespace "batch" of group "prod-a" does not exist/,
  });
});

for (const [limit, name, happened, code, says] of [
  [
    "0",
    "quota-of-jobs-is-nothing",
    "the namespace's quota allows no Job at all",
    "QuotaImpossible",
    /asks for 1 Jobs?, and the quota "few" allows 0/,
  ],
  ["1", "quota-of-jobs-is-full", "the namespace's quota of Jobs is used up", "QuotaExceeded", /"few" has no room now/],
] as const)
  t.test(`a quota of ${limit} Jobs`, async (t) => {
    const { namespace, launcher } = await place();
    await quota(namespace, { "count/jobs.batch": limit });
    if (limit === "1")
      t.equal(
        (await launcher.send({ method: "POST", path: jobPath(namespace), body: heldJob("other", namespace) }, forever)).status,
        201,
      );
    const answer = await found("the quota to be in force", async () => {
      const it = await create({ namespace, launcher });
      if (it.status === 201) await admin.must("DELETE", jobPath(namespace, "export-1"));
      return it.status === 403 && it;
    });
    reply(t, answer, namespace, { name, happened, code, says });
  });

async function quota(namespace: string, hard: object): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/resourcequotas`;
  await admin.must("POST", path, { metadata: { name: "few" }, spec: { hard } });
  await found("the quota to be counted", async () => {
    const status = (await admin.must("GET", `${path}/few`))["status"] as { readonly used?: object };
    return status.used !== undefined;
  });
}

const REFUSING: readonly (Replied & { readonly verdict: Verdict })[] = [
  {
    name: "webhook-refuses",
    happened: "an admission webhook refuses the Job and says why",
    verdict: { kind: "refuse", message: "image registry.example/orders/export:1 is not signed" },
    code: "AdmissionDenied",
    says: /"images.example.com" refuses the Job: image registry.example\/orders\/export:1 is not signed\./,
  },
  {
    name: "webhook-refuses-with-400",
    happened: "an admission webhook refuses the Job with a status of its own",
    verdict: { kind: "refuse", message: "no team label", code: 400 },
    code: "AdmissionDenied",
    says: /"images.example.com" refuses the Job: no team label\./,
  },
  {
    name: "webhook-refuses-without-a-reason",
    happened: "an admission webhook refuses the Job and does not say why",
    verdict: { kind: "refuse" },
    code: "AdmissionDenied",
    says: /"images.example.com" refuses the Job.*no reason/,
  },
  {
    name: "webhook-is-broken",
    happened: "an admission webhook answers 500",
    verdict: { kind: "broken", status: 500 },
    code: "EndpointUnreachable",
    says: /its webhook "images.example.com" before it takes a Job, and that is out of order/,
  },
  {
    name: "webhook-is-silent",
    happened: "an admission webhook does not answer in time",
    verdict: { kind: "silent" },
    code: "EndpointUnreachable",
    says: /its webhook "images.example.com" before it takes a Job, and that does not answer in time/,
  },
];

for (const { verdict, ...happening } of REFUSING)
  t.test(happening.happened, async (t) => {
    const it = await place();
    await using webhook = await startWebhook(() => verdict);
    await using _configured = await configured("ValidatingWebhookConfiguration", it.namespace, webhook);
    reply(t, await create(it), it.namespace, happening);
    t.ok(webhook.asked.length > 0, "it was asked");
  });

t.test("an admission webhook that nobody runs any more", async (t) => {
  const it = await place();
  const port = await closedPort();
  const clientConfig = { url: `https://127.0.0.1:${port}/admit`, caBundle: Buffer.from(authority).toString("base64") };
  await using _configured = await configured("ValidatingWebhookConfiguration", it.namespace, { clientConfig });
  reply(t, await create(it), it.namespace, {
    name: "webhook-is-gone",
    happened: "nothing listens where an admission webhook should be",
    code: "EndpointUnreachable",
    says: /its webhook "images.example.com" before it takes a Job, and that is not there/,
  });
});

t.test("a webhook that strips our hold: the create says so, and it can be put back", async (t) => {
  const { namespace, launcher } = await place();
  await using webhook = await startWebhook(() => ({ kind: "change", patch: [{ op: "remove", path: "/metadata/finalizers" }] }));
  await using _configured = await configured("MutatingWebhookConfiguration", namespace, webhook);
  const writes = openWrites({ transport: launcher, clock, namespace });
  const created = await writes.createJob(heldJob("export-1", namespace), forever);
  t.match(created, { kind: "created", finalizers: [] });
  if (created.kind !== "created") return;
  const again = await writes.holdAgain("export-1", created.uid, HOLD, forever);
  t.match(again, { kind: "done", object: { finalizers: [HOLD] } });
});

t.test("an admission policy of the cluster's own", async (t) => {
  const it = await place();
  await using _policy = await policy(it.namespace);
  const answer = await found("the policy to be in force", async () => {
    const said = await create(it);
    if (said.status === 201) await admin.must("DELETE", `${jobPath(it.namespace, "export-1")}`);
    if (said.status === 201)
      await admin.must("PATCH", jobPath(it.namespace, "export-1"), {
        metadata: { "$deleteFromPrimitiveList/finalizers": [HOLD] },
      });
    return said.status !== 201 && said.status !== 409 && said;
  });
  reply(t, answer, it.namespace, {
    name: "admission-policy-refuses",
    happened: "a ValidatingAdmissionPolicy of the cluster refuses the Job",
    code: "AdmissionDenied",
    says: /"no-tags.example.com" refuses the Job: images must be named by digest/,
  });
});

t.test("a Job that the API server cannot accept", async (t) => {
  const it = await place();
  reply(
    t,
    await create(it, { image: "registry.example/orders/export:1", resources: { limits: { memory: "much" } } }),
    it.namespace,
    {
      name: "quantity-that-is-none",
      happened: "the request has a memory limit that is no amount",
      code: "RequestInvalid",
      says: /amount/,
    },
  );
  reply(t, await create(it, { env: { "a=b": "x" } }), it.namespace, {
    name: "environment-name-invalid",
    happened: "the request has a variable whose name holds a sign that no variable may have",
    code: "RequestInvalid",
    says: /env\[0\]\.name/,
  });
});

t.test("no answer at all", async (t) => {
  const refused = await closedPort();
  await using deaf = await listening(() => undefined);
  await using other = await listening((socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n"));
  const silences: readonly (Replied & { readonly server: string; readonly ca?: string })[] = [
    { name: "nothing-listens", happened: "nothing listens at the group's address", server: `https://127.0.0.1:${refused}`, code: "EndpointUnreachable", says: /nothing listens at its address/ },
    { name: "connection-is-swallowed", happened: "what is at the group's address takes connections and says nothing", server: `https://127.0.0.1:${deaf.port}`, code: "EndpointUnreachable", says: /in time/ },
    { name: "another-program-listens", happened: "what listens at the group's address is not an API server", server: `https://127.0.0.1:${other.port}`, code: "EndpointUnreachable", says: /TLS/ },
    { name: "name-without-address", happened: "the group's address is a name that does not exist", server: "https://no-such-cluster.invalid:6443", code: "EndpointUnreachable", says: /name/, varies: true },
    { name: "authority-unknown", happened: "the cluster's certificate is signed by another authority than the group's CA", server: cluster.url, ca: authority, code: "TlsUntrusted", says: /authority/ },
    { name: "certificate-of-another-name", happened: "the cluster's certificate is for another name than the group's address", server: cluster.url, code: "TlsUntrusted", says: /another name/ },
  ]; // biome-ignore format: rows are read side by side
  for (const { server, ca = cluster.ca, ...happening } of silences) {
    const serverName = happening.name === "certificate-of-another-name" ? { serverName: "kubernetes.example" } : {};
    const connected = await connect({ cluster: { server, ca, ...serverName }, credential: { token: "any" }, clock });
    if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
    await using transport = openTransport(connected.connection, { connectTimeoutMs: 1_000, silenceMs: 1_000 });
    const error: unknown = await transport.send({ method: "GET", path: "/version" }, forever).catch((it: unknown) => it);
    t.ok(error instanceof Error, `${happening.name}: it throws`);
    recorded(t, { ...happening, kubernetes: cluster.version, seen: { kind: "silence", error: silenceOf(error) } });
  }
});

/**
 * Has the API server ask the webhook about Jobs of this namespace until disposal. Resolves when the API server knows of the
 * webhook.
 */
async function configured(
  kind: "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
  namespace: string,
  webhook: { readonly clientConfig: { readonly url: string; readonly caBundle: string }; readonly asked?: readonly unknown[] },
): Promise<AsyncDisposable> {
  const path = `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`;
  const { metadata } = await admin.must(
    "POST",
    path,
    webhookConfiguration(kind, "images.example.com", webhook, { namespace, resource: "jobs" }),
  );
  const dry = { method: "POST", path: `${jobPath(namespace)}?dryRun=All`, body: heldJob("probe", namespace) } as const;
  await found("the webhook to be asked", async () => (await admin.ask(dry)).status !== 201 || (webhook.asked?.length ?? 0) > 0);
  return { [Symbol.asyncDispose]: async () => void (await admin.must("DELETE", `${path}/${metadata.name}`)) };
}

async function policy(namespace: string): Promise<AsyncDisposable> {
  const path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
  const bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
  const name = "no-tags.example.com";
  const rule = { apiGroups: ["batch"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["jobs"] };
  const expression = "object.spec.template.spec.containers.all(it, it.image.contains('@sha256:'))";
  await admin.must("POST", path, {
    metadata: { name },
    spec: {
      matchConstraints: { resourceRules: [rule] },
      validations: [{ expression, message: "images must be named by digest" }],
    },
  });
  const namespaceSelector = { matchLabels: { "kubernetes.io/metadata.name": namespace } };
  await admin.must("POST", bindings, {
    metadata: { name },
    spec: { policyName: name, validationActions: ["Deny"], matchResources: { namespaceSelector } },
  });
  return {
    async [Symbol.asyncDispose]() {
      await admin.must("DELETE", `${bindings}/${name}`);
      await admin.must("DELETE", `${path}/${name}`);
    },
  };
}

async function listening(greet: (socket: Socket) => void): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined)); // either side may reset the connection first
    greet(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const it of sockets) it.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

async function closedPort(): Promise<number> {
  await using once = await listening(() => undefined);
  return once.port;
}
