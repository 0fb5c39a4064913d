// runs with integration
/**
 * The pocket, killed with kill -9 and started again: its Jobs go on as if it had been away, and what came due is done.
 *
 * The failure this prevents: a cluster that is another one after each restart, so that its Jobs are called lost.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import type { ApiObject, JobObject, PodObject } from "./objects.ts";
import { startPocket } from "./start.ts";

const folder = await mkdtemp(join(tmpdir(), "pocket-restart-"));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const dataDir = join(folder, "data");
const PROGRAM = join(import.meta.dirname, "testing/main.ts");
const JOBS = "/apis/batch/v1/namespaces/default/jobs";
const HOLD = "longshore.dev/unrecorded";
const file = (name: string): string => join(folder, name);

interface Client {
  readonly ask: (method: string, path: string, body?: object) => Promise<unknown>;
}

async function started(): Promise<Client & { readonly child: ChildProcess }> {
  const child = spawn(process.execPath, [PROGRAM, "--data", dataDir], { stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(() => child.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { url, token } = JSON.parse(line) as { readonly url: string; readonly token: string };
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/merge-patch+json" };
  return {
    child,
    ask: async (method, path, body) =>
      await (await fetch(url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) })).json(),
  };
}

const job = (name: string, script: string, spec: object = {}, pod: object = {}) => ({
  metadata: { name, finalizers: [HOLD] },
  spec: {
    backoffLimit: 0,
    podReplacementPolicy: "Failed",
    ...spec,
    template: {
      spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox", command: ["sh", "-c", script] }], ...pod },
    },
  },
});

const podsOf = (name: string): string => `/api/v1/namespaces/default/pods?labelSelector=batch.kubernetes.io/job-name=${name}`;
const begins = (name: string, then: string): string =>
  `touch ${file(`${name}-runs`)}; until [ -e ${file(`${name}-may-end`)} ]; do sleep 0.05; done; ${then}`;
const letEnd = (name: string): void => writeFileSync(file(`${name}-may-end`), "");

async function until(what: string, is: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++, await systemClock.sleep(20)) if (await is()) return;
  throw new Error(`not so within 20 s: ${what}`);
}
const begun = (name: string): Promise<void> => until(`${name} runs`, () => existsSync(file(`${name}-runs`)));

const first = await started();
const create = (...of: Parameters<typeof job>) => first.ask("POST", JOBS, job(...of));
await create("ends", begins("ends", "echo alone"));
await create("overruns", begins("overruns", "exit 0"));
await create("fails", begins("fails", "exit 7"));
await create("goes-on", begins("goes-on", "echo the end"));
await create("grace", `trap '' TERM; ${begins("grace", "exit 0")}`, {}, { terminationGracePeriodSeconds: 2 });
await create("held", begins("held", "exit 0"));
for (const it of ["ends", "overruns", "fails", "goes-on", "grace", "held"]) await begun(it);
letEnd("held");
const jobOf = async ({ ask }: Client, name: string) =>
  (await ask("GET", `${JOBS}/${name}`)) as JobObject & { readonly code?: number };
const endOf = (it: JobObject): string | undefined =>
  it.status.conditions?.find(({ type, status }) => (type === "Complete" || type === "Failed") && status === "True")?.reason;
await until("held ends", async () => endOf(await jobOf(first, "held")) !== undefined);
await first.ask("DELETE", `${JOBS}/grace`, { propagationPolicy: "Foreground" });
await until("its pod is told to end", async () => {
  const { items } = (await first.ask("GET", podsOf("grace"))) as { readonly items: readonly PodObject[] };
  return items.some((it) => it.metadata.deletionTimestamp !== undefined);
});
const before = (await first.ask("GET", "/api/v1/namespaces/default")) as ApiObject;
const { metadata } = (await first.ask("GET", JOBS)) as { readonly metadata: { readonly resourceVersion: string } };
const held = await jobOf(first, "held");
/** Long enough for the kill, however busy the machine is. */
const DEADLINE_SECONDS = 4;
for (const it of ["ends", "overruns"]) {
  const ranSeconds = (systemClock.now() - Date.parse((await jobOf(first, it)).status.startTime ?? "")) / 1_000;
  await first.ask("PATCH", `${JOBS}/${it}`, { spec: { activeDeadlineSeconds: Math.ceil(ranSeconds) + DEADLINE_SECONDS } });
}
first.child.kill("SIGKILL");
await once(first.child, "exit");
letEnd("ends");
letEnd("fails");
await systemClock.sleep((DEADLINE_SECONDS + 1) * 1_000); // the deadlines and the grace come due
const second = await started();

await t.test("the namespace is the same, versions go on, and an earlier watch is told to list again", async (t) => {
  const after = (await second.ask("GET", "/api/v1/namespaces/default")) as ApiObject;
  t.equal(after.metadata.uid, before.metadata.uid);
  const list = (await second.ask("GET", JOBS)) as { readonly metadata: { readonly resourceVersion: string } };
  t.ok(Number(list.metadata.resourceVersion) > Number(metadata.resourceVersion));
  const path = `${JOBS}?watch=true&resourceVersion=${metadata.resourceVersion}`;
  t.match(await second.ask("GET", path), { type: "ERROR", object: { code: 410 } });
});

await t.test("what ended while it was away is told as it ended, also after its deadline", async (t) => {
  await until(
    "both end",
    async () => endOf(await jobOf(second, "ends")) !== undefined && endOf(await jobOf(second, "fails")) !== undefined,
  );
  t.match(await jobOf(second, "ends"), {
    status: { succeeded: 1, conditions: [{ type: "SuccessCriteriaMet" }, { type: "Complete" }] },
  });
  t.equal(endOf(await jobOf(second, "fails")), "BackoffLimitExceeded");
  const { items } = (await second.ask("GET", podsOf("fails"))) as {
    readonly items: readonly PodObject[];
  };
  t.match(items, [{ status: { phase: "Failed", containerStatuses: [{ state: { terminated: { exitCode: 7 } } }] } }]);
});

await t.test("a deadline that passed meanwhile is carried out", async (t) => {
  await until("it ends", async () => endOf(await jobOf(second, "overruns")) !== undefined);
  t.equal(endOf(await jobOf(second, "overruns")), "DeadlineExceeded");
});

await t.test("a deletion goes on: the pod's grace is over, so it is killed, and the held Job stays", async (t) => {
  await until(
    "the pod goes",
    async () => ((await second.ask("GET", podsOf("grace"))) as { readonly items: readonly unknown[] }).items.length === 0,
  );
  t.match(await jobOf(second, "grace"), { metadata: { deletionTimestamp: String, finalizers: [HOLD] } });
});

await t.test("what had ended before is as it was, and can be released", async (t) => {
  t.same(await jobOf(second, "held"), held);
  await second.ask("PATCH", `${JOBS}/held`, { metadata: { finalizers: null }, spec: { ttlSecondsAfterFinished: 0 } });
  await until("it goes", async () => (await jobOf(second, "held")).code === 404);
});

await t.test("what runs is followed to its end, and a second pocket in the folder is refused meanwhile", async (t) => {
  await t.rejects(startPocket({ dataDir }), { message: `another pocket, in process ${second.child.pid}, uses ${dataDir}` });
  letEnd("goes-on");
  await until("it ends", async () => endOf(await jobOf(second, "goes-on")) !== undefined);
  t.match(await jobOf(second, "goes-on"), { status: { succeeded: 1 } });
});

await t.test("a stop in order leaves no process, and the next start fails the Job with its reason", async (t) => {
  await second.ask("POST", JOBS, job("stopped", begins("stopped", "exit 0")));
  await begun("stopped");
  second.child.kill("SIGTERM");
  t.same(await once(second.child, "exit"), [0, null]);
  const third = await started();
  await until("it ends", async () => endOf(await jobOf(third, "stopped")) !== undefined);
  const { items } = (await third.ask("GET", podsOf("stopped"))) as {
    readonly items: readonly PodObject[];
  };
  t.match(items, [{ status: { phase: "Failed", reason: "LocalStop", message: "Longshore was stopped while this ran." } }]);
  third.child.kill("SIGTERM");
  await once(third.child, "exit");
});
