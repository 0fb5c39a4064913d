/** A watcher of one group on the pocket, in virtual time, and what it tells. */
import { readFact } from "@longshore/contract/messages/envelope.ts";
import { GroupName, Installation, RunId, StepName, Uid } from "@longshore/contract/ids.ts";
import { manifest, type ManifestInput } from "@longshore/domain/pod/manifest.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import { type Cluster, openClusters } from "@longshore/kubernetes/clusters.ts";
import { type VirtualClock, virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import { createModel, type Model } from "@longshore/pocket/testing/model.ts";
import { type PodScript, scriptedPods } from "@longshore/pocket/testing/scripted.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { type Parts, TIMING } from "../parts.ts";
import { watchGroup } from "../watch-group.ts";

import type { Test } from "tap";

export const GROUP = GroupName.parse("prod-a");
export const NAMESPACE = "jobs";
const INSTALLATION = Installation.parse("test");
export const never = new AbortController().signal;
const base = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`;

interface Told {
  readonly run: string;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Watching {
  readonly pocket: Model;
  readonly clock: VirtualClock;
  readonly cluster: Cluster;
  readonly told: readonly Told[];
  /** The facts told so far, as "RUN job.started", without heartbeats. */
  readonly facts: (run?: string) => readonly string[];
  create(run: string, step?: Partial<ManifestInput["step"]>): Promise<Uid>;
  release(run: string): Promise<void>;
  watch(
    change?: Partial<Parts>,
    cluster?: Partial<Parts["clusters"][number]>,
  ): { stop(): Promise<unknown>; readonly ended: Promise<unknown> };
  until(done: () => boolean): Promise<void>;
  /** The broker's answer to the n-th message. */
  answer: (n: number) => "stored" | "unrouted" | Error;
}

export async function watching(
  t: Test,
  pods: PodScript = { startsAfterMs: 1_000, runsMs: 5_000 },
  pollMs?: number,
): Promise<Watching> {
  const clock = virtualClock();
  const kubelet = scriptedPods(clock, () => pods);
  const pocket = createModel({ clock, kubelet, namespaces: [NAMESPACE] });
  const clusters = openClusters([{ name: GROUP, namespace: NAMESPACE, transport: pocket.transport(), pollMs }], { clock });
  const stop = new AbortController();
  const told: Told[] = [];
  let tries = 0;
  t.teardown(async () => {
    stop.abort();
    await clusters[Symbol.asyncDispose]();
    await pocket[Symbol.asyncDispose]();
    await kubelet[Symbol.asyncDispose]();
  });
  const it: Watching = {
    pocket, clock, told,
    cluster: clusters.cluster(GROUP),
    facts: (run) => told.filter((it) => it.type !== "group.watched" && (run === undefined || it.run === run)).map(({ run, type }) => `${run} ${type}`),
    answer: () => "stored",
    create: async (run, step) => await create(pocket, run, step),
    release: async (run) => await release(pocket, run),
    watch: (change = {}, cluster = {}) => {
      const own = new AbortController();
      stop.signal.addEventListener("abort", () => own.abort());
      const parts: Parts = {
        installation: INSTALLATION, clock, owner: "watcher-1", log: silentLog,
        metrics: openMetrics("watcher", "test"),
        broker: {
          publish: async (_topic, { body }) => {
            const said = it.answer(++tries);
            if (said instanceof Error) throw said;
            if (said === "stored") told.push(toldIn(body));
            return said;
          },
        },
        clusters: [],
        timing: TIMING,
        fail: noFailpoint,
        pause: backOff(clock),
        ...change,
      }; // biome-ignore format: a parts list
      const ended = watchGroup(parts, { ...clusters.cluster(GROUP), name: GROUP, ...cluster }, own.signal).then(
        () => "stopped",
        (error: unknown) => error,
      );
      return { ended, stop: async () => (own.abort(), await ended) };
    },
    until: async (done) => {
      for (let turns = 0; !done(); turns++) {
        if (turns > 5_000) throw new Error(`it did not come to that: ${JSON.stringify(it.facts())}`);
        await clock.sleep(100);
      }
    },
  }; // biome-ignore format: one value
  return it;
}

function toldIn(body: Uint8Array): Told {
  const read = readFact(body);
  if (read.kind !== "fact") throw new Error(`a fact that the launcher could not read: ${JSON.stringify(read)}`);
  const { type, data } = read.fact;
  return { run: "about" in data ? data.about.run : "", type, data: { ...data } };
}

export async function create(pocket: Model, run: string, step: Partial<ManifestInput["step"]> = {}): Promise<Uid> {
  const body = manifest({
    installation: INSTALLATION,
    group: { name: GROUP, namespace: NAMESPACE },
    run: { id: RunId.parse(run), labels: undefined, annotations: undefined },
    step: { name: StepName.parse("main"), image: "busybox", ...step },
    attempt: 1,
    generation: 1,
    epoch: 1,
    name: `job-of-${run}`,
    hashOfRun: run,
    proof: "proof",
    limits: DEFAULTS,
  } as ManifestInput);
  const { status, body: made } = await pocket.transport().send({ method: "POST", path: base, body }, never);
  if (status !== 201) throw new Error(`the Job was not created: ${status}`);
  return Uid.parse((made as { readonly metadata: { readonly uid: string } }).metadata.uid);
}

export async function release(pocket: Model, run: string): Promise<void> {
  const body = { metadata: { "$deleteFromPrimitiveList/finalizers": [HOLD] }, spec: { ttlSecondsAfterFinished: 60 } };
  const contentType = "application/strategic-merge-patch+json";
  await pocket.transport().send({ method: "PATCH", path: `${base}/job-of-${run}`, contentType, body }, never);
}

export const isOver = (object: unknown): boolean => /"type":"(Complete|Failed)"/.test(JSON.stringify(object));
export const isEnd = (fact: string): boolean => fact.endsWith("job.ended");
