/** The real node behaves as nodes of real clusters do, and leaves nothing on the machine that ran it. */
// needs kubernetes, node
// runs at most 12 min
import { once } from "node:events";
import * as fs from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { networkInterfaces } from "node:os";
import t from "tap";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes, type PrivateCluster } from "../../harness/kubernetes/kubernetes.ts";
import { hangingRegistry, refusingRegistry, registry } from "../../harness/kubernetes/registry.ts";
import { jobsOf, type Pod } from "./jobs.ts";

t.setTimeout(0); // each wait has its own bound

const KERNEL_SETTINGS = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"];

const kernelBefore = await kernelSettings();
let traces: readonly Trace[] = [];
{
  await using both = await kubernetes({ nodes: "real", clusters: 2 });
  const [cluster, neighbour] = both.clusters;
  if (cluster === undefined || neighbour === undefined) throw new Error("two clusters were asked for");
  await using images = await registry();
  const { create, podUntil, podGone, jobUntil, get: read, remove, pullWith } = await jobsOf(cluster);
  const terminated = (pod: Pod) => pod.status.containerStatuses?.[0]?.state.terminated;

  await t.test("a Job goes from POST to Complete, and the API server can read its log", async (t) => {
    await create({ name: "hello", command: ["sh", "-c", "echo hello from $(id -u); echo second line"] });
    const pod = await podUntil("hello", ({ status }) => status.phase === "Succeeded");
    const waited = await cluster.kubectl(["-n", pod.metadata.namespace, "wait", "job/hello", "--for=condition=Complete"]);
    t.equal(waited.code, 0, waited.stderr);
    const log = await cluster.kubectl(["-n", pod.metadata.namespace, "logs", pod.metadata.name]);
    t.equal(log.stdout, "hello from 0\nsecond line\n", log.stderr);
  });

  for (const { name, command, memory, exitCode, reason } of [
    { name: "its own exit code", command: ["sh", "-c", "exit 7"], exitCode: 7, reason: "Error" },
    { name: "a command that the shell does not find", command: ["sh", "-c", "no-such-program"], exitCode: 127, reason: "Error" },
    { name: "a program that the image does not have", command: ["/no-such-program"], exitCode: 128, reason: "StartError" },
    { name: "more memory than its limit", command: ["tail", "/dev/zero"], memory: "20Mi", exitCode: 137, reason: "OOMKilled" },
  ]) {
    await t.test(`a pod that ends with ${name} says so`, async (t) => {
      const job = name.replaceAll(" ", "-");
      await create({ name: job, command, ...(memory !== undefined && { limits: { memory } }) });
      const pod = await podUntil(job, ({ status }) => status.phase === "Failed");
      t.match(terminated(pod), { exitCode, reason });
    });
  }

  for (const { name, spec } of [
    { name: "its own files", spec: { limits: { "ephemeral-storage": "10Mi" }, command: ["sh", "-c", fill("/filled")] } },
    { name: "its volume", spec: { scratch: "10Mi", command: ["sh", "-c", fill("/scratch/filled")] } },
  ]) {
    await t.test(`a pod that fills the disk past the limit of ${name} is evicted`, async (t) => {
      const job = `fills-${name.replaceAll(" ", "-")}`;
      await create({ name: job, ...spec });
      const { status } = await podUntil(job, (pod) => pod.status.phase === "Failed");
      t.equal(status.reason, "Evicted");
      t.match(status.message, /exceeds the (total )?limit/);
    });
  }

  for (const { name, image, says } of [
    { name: "locked", image: images.locked, says: /401 Unauthorized/ },
    { name: "forbidden", image: images.forbidden, says: /403 Forbidden/ },
    { name: "missing", image: images.missing, says: /no-such-tag: not found/ },
    { name: "broken", image: images.broken, says: /500 Internal Server Error/ },
    { name: "limited", image: images.limited, says: /429 Too Many Requests/ },
    { name: "on a port that refuses", image: `${await refusingRegistry()}/a/b:1`, says: /connection refused/ },
  ]) {
    await t.test(`a pod whose image is ${name} waits and says why`, async (t) => {
      const job = `image-${name.replaceAll(" ", "-")}`;
      await create({ name: job, image, command: ["true"] });
      const refused = ({ status }: Pod): boolean => status.containerStatuses?.[0]?.state.waiting?.reason === "ErrImagePull";
      const { status } = await podUntil(job, refused);
      t.match(status.containerStatuses?.[0]?.state.waiting?.message, says);
      await remove(job, "Foreground");
    });
  }

  await t.test("a pod whose registry never answers waits without a word, until the registry goes away", async (t) => {
    const silent = await hangingRegistry();
    await create({ name: "silent", image: `${silent.host}/a/b:1`, command: ["true"] });
    const waiting = ({ status }: Pod) => status.containerStatuses?.[0]?.state.waiting;
    await silent.asked;
    t.strictSame(waiting(await podUntil("silent", (pod) => waiting(pod) !== undefined)), { reason: "ContainerCreating" });
    await silent[Symbol.asyncDispose]();
    t.match(waiting(await podUntil("silent", (pod) => waiting(pod)?.reason === "ErrImagePull"))?.message, /EOF|connection re/);
    await remove("silent", "Foreground");
  });

  await t.test("an image is pulled from the registry, and the locked one with its credentials", async (t) => {
    await create({ name: "pulled", image: images.open, command: ["true"] });
    await pullWith("credentials", images.dockerConfig);
    await create({ name: "unlocked", image: images.locked, command: ["true"], pullSecret: "credentials" });
    for (const job of ["pulled", "unlocked"])
      t.equal((await podUntil(job, ({ status }) => status.phase === "Succeeded")).status.phase, "Succeeded", job);
  });

  const running = async (job: string): Promise<Pod> => {
    await create({ name: job, command: ["sleep", "600"], hold: true });
    return await podUntil(job, ({ status }) => status.phase === "Running");
  };

  await t.test("a held Job that is deleted in the background keeps its pod until a foreground deletion", async (t) => {
    await running("in-background");
    await remove("in-background", "Background");
    const deleted = await read("in-background");
    t.type(deleted?.metadata.deletionTimestamp, "string", "the Job is marked");
    t.match(deleted?.status, { active: 1 }, "and its pod goes on");
    await remove("in-background", "Foreground");
    await podGone("in-background");
    const held = await jobUntil("in-background", ({ metadata }) => metadata.finalizers?.length === 1);
    t.same(held.metadata.finalizers, ["longshore.dev/unrecorded"], "the hold alone is left");
  });

  await t.test("a held Job that is deleted in the foreground loses its pod, and stays", async (t) => {
    await running("in-foreground");
    await remove("in-foreground", "Foreground");
    await podGone("in-foreground");
    const left = await jobUntil("in-foreground", ({ metadata }) => metadata.finalizers?.length === 1);
    t.same(left.metadata.finalizers, ["longshore.dev/unrecorded"], "with the hold alone");
    t.same(left.status.conditions ?? [], [], "without a word of how it ended");
  });

  await t.test("what ended while the kubelet was dead is told when it is back", async (t) => {
    const node = cluster.node;
    if (node === undefined) throw new Error("the cluster has a real node");
    await create({ name: "unseen", command: ["sh", "-c", "until [ -e /end ]; do sleep 0.1; done; exit 3"], image: BUSYBOX });
    const { metadata } = await podUntil("unseen", ({ status }) => status.phase === "Running");
    await node.kubelet.kill();
    const [pid] = (await fs.readFile(await procsOf(metadata.uid, node.cgroup), "utf8")).split("\n");
    await fs.writeFile(`/proc/${pid}/root/end`, "");
    await node.kubelet.start();
    t.match(terminated(await podUntil("unseen", ({ status }) => status.phase === "Failed")), { exitCode: 3 });
  });

  await t.test("the kubelet obeys nobody but its API server", async (t) => {
    const { body } = await cluster.admin.send({ method: "GET", path: "/api/v1/nodes/localhost" }, new AbortController().signal);
    const { status } = body as {
      readonly status: { readonly daemonEndpoints: { readonly kubeletEndpoint: { readonly Port: number } } };
    };
    const asked = get({
      host: "127.0.0.1",
      port: status.daemonEndpoints.kubeletEndpoint.Port,
      path: "/pods",
      rejectUnauthorized: false,
    });
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    answer.resume();
    t.equal(answer.statusCode, 401);
  });

  await t.test("a second node beside it runs its own pods", async (t) => {
    const other = await jobsOf(neighbour);
    await other.create({ name: "beside", command: ["true"] });
    await create({ name: "beside", command: ["true"] });
    for (const until of [podUntil, other.podUntil])
      t.equal((await until("beside", ({ status }) => status.phase === "Succeeded")).status.phase, "Succeeded");
  });

  await running("left-running");
  traces = await Promise.all([traceOf(cluster), traceOf(neighbour)]);
  const [here] = await Promise.all(traces.map(remains));
  t.match(here, { folder: true }, "what is looked for afterwards is there now");
  for (const found of [here?.processes, here?.cgroups, here?.interfaces]) t.not(found?.length, 0);
}

await t.test("nothing of it is left: no process, cgroup, mount, folder, interface or kernel setting", async (t) => {
  for (const it of traces) t.same(await remains(it), { processes: [], cgroups: [], mounts: [], folder: false, interfaces: [] });
  t.same(await kernelSettings(), kernelBefore);
});

function fill(file: string): string {
  return `dd if=/dev/zero of=${file} bs=1M count=30; sleep 600`;
}

/** Returns the cgroup.procs file of a pod's container, whose cgroup lies below the pod's. */
async function procsOf(uid: string, cgroup: string): Promise<string> {
  const pod = `/sys/fs/cgroup/pids${cgroup}/kubepods/besteffort/pod${uid}`;
  for (const name of await fs.readdir(pod, { withFileTypes: true })) {
    const procs = `${pod}/${name.name}/cgroup.procs`;
    if (!name.isDirectory()) continue;
    const [pid] = (await fs.readFile(procs, "utf8")).split("\n");
    if ((await fs.readFile(`/proc/${pid}/cmdline`, "utf8")).includes("/end")) return procs;
  }
  throw new Error(`no container of pod ${uid} is in ${pod}`);
}

interface Trace {
  readonly folder: string;
  readonly cgroup: string;
  readonly addresses: string;
  /** The process namespace of the node's machine. */
  readonly namespace: string;
}

async function traceOf({ folder, node }: PrivateCluster): Promise<Trace> {
  if (node === undefined) throw new Error("the cluster has a real node");
  return {
    folder,
    cgroup: node.cgroup,
    addresses: node.addresses,
    namespace: await fs.readlink(`/proc/${node.machine.pid}/ns/pid`),
  };
}

async function remains({ folder, cgroup, addresses, namespace }: Trace) {
  const hierarchies = (await fs.readdir("/sys/fs/cgroup")).map((it) => `/sys/fs/cgroup/${it}`);
  const mine = await Promise.all(["/sys/fs/cgroup", ...hierarchies].map((it) => isThere(`${it}${cgroup}`)));
  return {
    processes: await processesOf(cgroup, namespace),
    cgroups: mine.filter((it) => it),
    mounts: (await fs.readFile("/proc/self/mounts", "utf8")).split("\n").filter((it) => it.includes(folder)),
    folder: await isThere(folder),
    interfaces: Object.values(networkInterfaces()).flatMap((them) =>
      (them ?? []).filter((it) => it.address.startsWith(addresses)),
    ),
  };
}

/** Returns the node's processes: the containers' are in the cgroup, all others in the namespace. */
async function processesOf(cgroup: string, namespace: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of (await fs.readdir("/proc")).filter((it) => /^\d+$/.test(it))) {
    const its = await fs.readlink(`/proc/${pid}/ns/pid`).catch(() => ""); // the process ended meanwhile
    const where = await fs.readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
    if (its === namespace || where.includes(cgroup)) found.push(pid);
  }
  return found;
}

async function kernelSettings(): Promise<readonly string[]> {
  return await Promise.all(KERNEL_SETTINGS.map((it) => fs.readFile(`/proc/sys/${it}`, "utf8")));
}

async function isThere(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}
