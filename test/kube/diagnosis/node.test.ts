/**
 * Pods that cannot start, end badly or are taken away: what a real kubelet shows, and what a person is told. Each happens to
 * the very Job that the launcher makes.
 */
// needs kubernetes, node
// runs at most 8 min
import { toldOf } from "@longshore/domain/diagnosis/testing/recorded.ts";
import t, { type Test } from "tap";
import { found, adminOf, heldJob, jobPath, only, podPath, type Shown } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { hangingRegistry, refusingRegistry, registry } from "../../harness/kubernetes/registry.ts";
import { type Happening, recorded } from "../../harness/recording.ts";
import type { Trouble, View } from "./node-troubles.ts";
import { ENDING, failed, imageTroubles, runs, sleeps, STANDING, TAKEN, unpulled } from "./node-troubles.ts";

t.setTimeout(0); // each wait has its own bound

await using test = await kubernetes({ nodes: "real" });
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);
await using images = await registry();
const JOB = "export-1";
const WITHIN_MS = 120_000;
type Wanted = Pick<Trouble, "step" | "job" | "pod" | "container" | "before">;

const taken = await Promise.all(TAKEN(images).map(async (it) => ({ it, namespace: await begin(it) })));
const GROUPS = { images: imageTroubles(images, await refusingRegistry()), standing: STANDING, ending: ENDING };
for (const [what, troubles] of Object.entries(GROUPS)) {
  const all = await Promise.all(troubles.map(async (it) => ({ it, namespace: await begin(it) })));
  for (const { it, namespace } of all)
    await t.test(`${what}: ${it.happened}`, async (t) => {
      show(t, namespace, it, await until(namespace, it.happened, it.until));
      await end(namespace);
    });
}

await t.test("images: a registry that takes connections and says nothing, until it goes away", async (t) => {
  const silent = await hangingRegistry();
  const namespace = await begin({ step: { image: `${silent.host}/a/b:1` } });
  await silent.asked;
  const seen = await until(namespace, "an Event Pulling", ({ events }) => events.some((it) => it["reason"] === "Pulling"));
  t.equal(toldOf({ kind: "objects", ...seen }), undefined, "nothing in the cluster says that it hangs");
  await silent[Symbol.asyncDispose]();
  show(
    t,
    namespace,
    {
      name: "registry-hangs-up",
      happened: "the registry broke the connection off",
      code: "RegistryUnreachable",
      says: /breaks connections off/,
    },
    await until(namespace, "the failed pull", unpulled),
  );
  await end(namespace);
});

for (const { it, namespace } of taken)
  await t.test(`taken: ${it.happened}`, async (t) => {
    const before = await until(namespace, "the pod to be there", it.ready);
    const [pod] = before.pods;
    const history = await watched(namespace, async () => {
      const args = it.kubectl.map((word) => word.replace("JOB", JOB).replace("POD", pod?.metadata.name ?? ""));
      const { code, stderr } = await cluster.kubectl(["-n", namespace, ...args]);
      t.equal(code, 0, stderr);
      await until(namespace, it.happened, it.until);
    });
    const now = await look(namespace);
    const last = history.at(-1);
    if (it.code === undefined) t.match(now.job["status"], { succeeded: 1 });
    else show(t, namespace, { ...it, code: it.code }, now, last && { ...before, pods: [last] });
    await end(namespace);
  });

await t.test("taken: the node is removed from the cluster while its kubelet runs on", async (t) => {
  const namespace = await begin({ step: sleeps });
  const before = await until(namespace, "the program to run", runs);
  const history = await watched(namespace, async () => {
    await admin.must("DELETE", "/api/v1/nodes/localhost");
    await until(namespace, "the Job to have failed", failed);
  });
  const now = await look(namespace);
  const last = history.at(-1);
  const happening = {
    name: "node-removed",
    happened: "somebody removed the node from the cluster while the pod ran on it",
    code: "NodeLost",
    says: /node localhost was lost/,
  } as const;
  show(t, namespace, happening, now, last && { ...before, pods: [last] });
});

async function begin({ step = {}, job = {}, pod = {}, container = {}, before }: Wanted): Promise<string> {
  const namespace = await cluster.namespace();
  await before?.(admin, namespace);
  const made = heldJob(JOB, namespace, step) as {
    readonly spec: { readonly template: { readonly spec: { readonly containers: readonly [object] } } };
  };
  const { template } = made.spec;
  const containers = template.spec.containers.map((it) => ({ ...it, ...container }));
  const spec = { ...made.spec, ...job, template: { ...template, spec: { ...template.spec, containers, ...pod } } };
  await admin.must("POST", jobPath(namespace), { ...made, spec });
  return namespace;
}

async function end(namespace: string): Promise<void> {
  const foreground = { propagationPolicy: "Foreground" };
  await admin.ask({ method: "DELETE", path: jobPath(namespace, JOB), body: foreground });
}

async function look(namespace: string): Promise<View> {
  const job = await admin.must("GET", jobPath(namespace, JOB));
  const pods = await admin.podsOf(namespace, JOB);
  const events = await Promise.all([job, ...pods].map(({ metadata }) => admin.eventsOf(namespace, metadata.uid)));
  return { job, pods, events: events.flat() };
}

/** Waits for a view that satisfies `is`. If none comes, the error has the last view. */
async function until(namespace: string, what: string, is: (view: View) => boolean): Promise<View> {
  let last: View | undefined;
  try {
    return await found(
      what,
      async () => {
        last = await look(namespace);
        return is(last) && last;
      },
      WITHIN_MS,
    );
  } catch (cause) {
    const stood = [...(last?.pods ?? []), ...(last?.job ? [last.job] : [])].map((it) => it["status"]);
    throw new Error(`${what}; instead: ${JSON.stringify([stood, last?.events.map((it) => it["message"])])}`, { cause });
  }
}

/**
 * Returns each state of the Job's pod while `meanwhile` runs, as a watcher sees them: the last state may be gone a moment
 * later.
 */
async function watched(namespace: string, meanwhile: () => Promise<void>): Promise<readonly Shown[]> {
  const stop = new AbortController();
  const list = `${podPath(namespace)}?labelSelector=batch.kubernetes.io/job-name=${JOB}`;
  const { metadata } = await admin.must("GET", list);
  const path = `${list}&watch=1&resourceVersion=${String(metadata["resourceVersion"])}`;
  const seen: Shown[] = [];
  const { lines } = await cluster.admin.open({ method: "GET", path }, stop.signal);
  const reading = (async () => {
    for await (const line of lines) {
      const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: Shown };
      if (type === "MODIFIED") seen.push(object);
    }
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  try {
    await meanwhile();
  } finally {
    stop.abort();
    await reading;
  }
  return seen;
}

function show(
  t: Test,
  namespace: string,
  it: Pick<Happening, "name" | "happened" | "code" | "says" | "varies">,
  seen: View,
  earlier?: View,
): void {
  const { name, happened, code, says, varies = false } = it;
  const renamed = { [namespace]: "batch", [cluster.folder]: "/var/lib" };
  const objects = { kind: "objects", ...(earlier && { earlier: { job: earlier.job, pods: earlier.pods } }), ...seen } as const;
  recorded(t, { name, happened, code, says, varies, renamed, kubernetes: cluster.version, seen: objects });
}
