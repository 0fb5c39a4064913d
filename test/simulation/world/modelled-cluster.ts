/**
 * One modelled cluster: the pocket's API server and controllers, pods that follow the scenario's script, and its own history.
 *
 * The bug this prevents: judging a run by what the launcher believes about a Job. Here the cluster's own changes say whether a
 * Job was complete, and which pods ran.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { ANNOTATIONS, HOLD, LABELS, WITHOUT_HOLD } from "@longshore/domain/run/marks.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import type { Kubelet, PodReport } from "@longshore/pocket/api.ts";
import type { RequestEntry } from "@longshore/pocket/cluster.ts";
import { expand } from "@longshore/pocket/pods/command.ts";
import { createModel, type Model } from "@longshore/pocket/testing/model.ts";
import { CONTROLLER_UID, JOB_NAME, type JobObject, type PodObject } from "@longshore/pocket/objects.ts";
import { type PodScript, type ScriptedPods, scriptedPods } from "@longshore/pocket/testing/scripted.ts";
import type { ModelDelays } from "@longshore/pocket/testing/delays.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { failureCountOf, indexesIn, indexOf } from "@longshore/pocket/controllers/indexes.ts";
import type { ScriptOf } from "../scenario/behaviour.ts";
import type { Child, History, JobLife, Owned } from "../judge/history.ts";
import type { Trace } from "./trace.ts";
import { mortal, type Mortal } from "./mortal.ts";

export interface SimulatedCluster {
  readonly name: string;
  readonly model: Model;
  readonly pods: ScriptedPods;
  /** Another destination for the requests of some processes. The key is the beginning of a process's name. */
  readonly ways: Map<string, Way>;
  /** Opens the process's line to this cluster. */
  transport(process: Mortal): Transport;
}

/** "another": a cluster that has the same namespaces and nothing of ours in them, and takes the same credentials. */
export type Way = "nowhere" | "another";

export interface ClusterOptions {
  readonly name: string;
  readonly namespaces: readonly string[];
  readonly clock: Clock;
  readonly skewMs: number;
  readonly delays: Partial<ModelDelays>;
  readonly script: (of: ScriptOf) => PodScript;
  readonly history: History;
  readonly trace: Trace;
}

/** A change of an object, as the store tells it. */
type Change = Parameters<NonNullable<Parameters<typeof createModel>[0]["onChange"]>>[0];

export function simulatedCluster(options: ClusterOptions): SimulatedCluster {
  const { name, namespaces, history, trace, skewMs } = options;
  // The cluster has a clock of its own that is wrong by its own amount, so its times must never be compared with ours.
  const { clock } = mortal({ name, clock: options.clock, skewMs });
  const pods = scriptedPods(clock, (pod) =>
    options.script({ ...attemptOf(pod), index: indexOf(pod), failures: failureCountOf(pod) }),
  );
  const model = createModel({
    clock,
    kubelet: watched(options, pods, (pod) => makePod(model, pod)),
    delays: options.delays,
    namespaces,
    onChange: (change) => note(options, change),
    onRequest: (entry) => heard(options, entry),
  });
  let sent = 0;
  const ways = new Map<string, Way>();
  let another: Model | undefined;
  /** Made lazily, because it draws random numbers. */
  const anotherCluster = (): Model => (another ??= clusterOfOthers(options, clock, pods));
  const wayOf = (process: Mortal): Way | undefined => [...ways].find(([whose]) => process.name.startsWith(whose))?.[1];
  return {
    name,
    model,
    pods,
    ways,
    transport: (process) => {
      const inner = model.transport({ user: process.name });
      return {
        send: (request, signal) => {
          const to = wayOf(process);
          if (to === "nowhere")
            return process.hear(Promise.reject(new Failure("retry", "unsent", `There is no way to ${name}.`)));
          if (to === "another") return process.hear(anotherCluster().transport({ user: process.name }).send(request, signal));
          if (request.method !== "POST") return process.hear(inner.send(request, signal));
          // Marks the create, so that the history can tell who sent the create that lands, and when.
          const post = `${name}-${sent++}`;
          history.posts.set(post, {
            cluster: name,
            occupant: isOccupantIn(request.body),
            resource: request.path.split("?")[0]?.split("/").at(-1) ?? "",
            name: jobNameIn(request.body),
            by: process.name,
            sentMs: options.clock.now(),
          });
          trace.say(`${process.name} sends ${post} POST ${jobNameIn(request.body)}`);
          return process.hear(inner.send({ ...request, path: `${request.path}&post=${post}` }, signal));
        },
        open: async (request, signal) => {
          const { status, body, lines } = await process.hear(inner.open(request, signal));
          return { status, body, lines: heardLines(process, lines) };
        },
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
  };
}

function clusterOfOthers({ name, namespaces, delays, history, trace }: ClusterOptions, clock: Clock, kubelet: Kubelet): Model {
  return createModel({
    clock,
    kubelet,
    delays,
    namespaces,
    onChange: ({ type, object }) => {
      if (object.kind !== "Job" || type !== "ADDED") return;
      trace.say(`another cluster than ${name}: Job ${object.metadata.name} created`);
      history.astray.push(`${object.metadata.name} was created in another cluster than ${name}`);
    },
  });
}

function heardLines(process: Mortal, lines: AsyncIterable<string>): AsyncIterable<string> {
  return {
    [Symbol.asyncIterator]: () => {
      const inner = lines[Symbol.asyncIterator]();
      return {
        next: () => process.hear(inner.next()),
        return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

function heard(
  { name, history, trace, clock }: ClusterOptions,
  { method, path, status, user, name: object }: RequestEntry,
): void {
  const post = /[?&]post=([\w-]+)/.exec(path)?.[1];
  const known = post === undefined ? undefined : history.posts.get(post);
  if (known !== undefined) Object.assign(known, { landedMs: clock.now(), status });
  if (method !== "GET" || status !== 200) trace.say(`${name} ${user} ${method} ${post === undefined ? object : post} ${status}`);
}

const attemptOf = ({ metadata }: PodObject): { readonly run: string; readonly step: string; readonly attempt: number } => ({
  run: metadata.annotations?.["longshore.dev/run-id"] ?? "",
  step: metadata.labels?.[LABELS.step] ?? "",
  attempt: Number(metadata.labels?.[LABELS.attempt] ?? 0),
});

interface Posted {
  readonly metadata?: { readonly name?: string; readonly labels?: Readonly<Record<string, string>> };
}

const jobNameIn = (body: unknown): string => (body as Posted).metadata?.name ?? "";
const isOccupantIn = (body: unknown): boolean => (body as Posted).metadata?.labels?.[LABELS.occupant] === "true";

// ── The history of Jobs ─────────────────────────────────────────────────────────────────────────────────────────────

/** Notes the anchors of runs and what they own beside Jobs. Nobody else makes any. */
function noteOwned({ name: cluster, clock, history, trace }: ClusterOptions, { resource, type, object }: Change): void {
  if (resource !== "configmaps" && resource !== "persistentvolumeclaims" && resource !== "secrets") return;
  const { uid, name, ownerReferences = [], deletionTimestamp } = object.metadata;
  const known = history.owned.get(uid);
  const life: Owned = known ?? { cluster, resource, name, uid, owner: ownerReferences[0]?.uid, createdMs: clock.now() };
  history.owned.set(uid, life);
  const isNew = known === undefined;
  if (deletionTimestamp !== undefined || type === "DELETED") life.deletedMs ??= clock.now();
  if (type === "DELETED") life.goneMs = clock.now();
  if (isNew || type === "DELETED")
    trace.say(`${cluster} ${resource} ${name} ${uid.slice(0, 4)} ${type === "DELETED" ? "gone" : "created"}`);
}

const claimsIn = (volumes: PodObject["spec"]["volumes"] = []): readonly string[] =>
  volumes.flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []);

function note(options: ClusterOptions, { resource, type, object }: Change): void {
  const { name: cluster, clock, history, trace } = options;
  noteOwned(options, { resource, type, object } as Change);
  noteChild(options, { resource, type, object } as Change);
  if (resource !== "jobs") return;
  const job = object as JobObject;
  const { uid, name, namespace = "" } = job.metadata;
  const nowMs = clock.now();
  const life = history.jobs.get(uid) ?? begun(cluster, job, nowMs);
  history.jobs.set(uid, life);
  const say = (what: string): void => trace.say(`${cluster} Job ${name} ${uid.slice(0, 4)} ${what}`);
  if (type === "ADDED") say(life.occupant ? "created (occupant)" : "created");
  if (type === "DELETED") {
    life.goneMs ??= nowMs;
    // Only the hold kept this Job: one change removed both.
    life.unheldMs ??= nowMs;
    say("gone");
    return;
  }
  const is = (condition: string): boolean =>
    (job.status.conditions ?? []).some((it) => it.type === condition && it.status === "True");
  if (is("Complete") && life.completeMs === undefined) say("Complete");
  if (is("Failed") && (life.failedMs ?? life.completeMs) === undefined) say("Failed");
  const isTolerated = is("Failed") && endsWell(job);
  if (is("Complete") || isTolerated) life.completeMs ??= nowMs;
  if (is("Failed") && !isTolerated) life.failedMs ??= nowMs;
  if (job.metadata.deletionTimestamp !== undefined && life.deletedMs === undefined) {
    life.deletedMs = nowMs;
    say(`deleting in ${namespace}`);
  }
  const held = job.metadata.finalizers?.includes(HOLD) === true || isAwaited(job);
  if (held) delete life.unheldMs;
  else if (life.unheldMs === undefined) {
    life.unheldMs = nowMs;
    say("not held");
  }
}

/** Every slice has ended, and no more of them failed than may. */
function endsWell({ spec, status }: JobObject): boolean {
  const reason = status.conditions?.find(({ type }) => type === "Failed")?.reason;
  return reason === "FailedIndexes" && indexesIn(status.failedIndexes).size <= (spec.maxFailedIndexes ?? 0);
}

const isAwaited = ({ metadata }: JobObject): boolean => metadata.annotations?.[ANNOTATIONS.hold] === WITHOUT_HOLD.awaited;

function begun(cluster: string, job: JobObject, nowMs: number): JobLife {
  const { uid, name, labels, annotations } = job.metadata;
  const { env = [], args: [said] = [] } = job.spec.template.spec.containers[0] ?? {};
  const values = Object.fromEntries(env.map((it) => [it.name, it.value ?? ""]));
  const content = env.find((it) => it.name === "CONTENT")?.value;
  const proof = annotations?.[ANNOTATIONS.proof];
  const origin = proof === undefined || proof === "forged" ? "theirs" : name.startsWith("copy-") ? "copied" : "ours";
  return {
    cluster,
    name,
    uid,
    origin,
    owner: job.metadata.ownerReferences?.[0]?.uid,
    claims: claimsIn(job.spec.template.spec.volumes),
    occupant: labels?.[LABELS.occupant] === "true",
    unheld: isAwaited(job),
    createdMs: nowMs,
    content,
    said: said === undefined ? undefined : expand(said, values),
  };
}

// ── The history of pods ─────────────────────────────────────────────────────────────────────────────────────────────

const LABELS_OF_CHILDREN = "LONGSHORE_CHILD_LABELS";

/** A program with a token makes a pod as soon as it runs. The pod's name says whose it is. */
function makePod(model: Model, parent: PodObject): void {
  const env = parent.spec.containers[0]?.env ?? [];
  const words = env.find(({ name }) => name === LABELS_OF_CHILDREN)?.value?.split(",") ?? [];
  if (words.length === 0) return;
  const { name, namespace = "" } = parent.metadata;
  const labels = Object.fromEntries(words.map((it) => it.split("=") as [string, string]));
  const annotations = { [PARENT]: JSON.stringify({ parent: parent.metadata.uid, ...attemptOf(parent) }) };
  const spec = { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] };
  const body = { apiVersion: "v1", kind: "Pod", metadata: { name: `${name}-child`, labels, annotations }, spec };
  const path = `/api/v1/namespaces/${namespace}/pods?`;
  // Its request may be lost, as any other: then there is no such pod.
  const sent = model.transport({ user: "program" }).send({ method: "POST", path, body }, new AbortController().signal);
  void sent.catch(() => undefined);
}

/** On a program's pod: what the history has to know of its parent. */
const PARENT = "simulation/parent";

function noteChild({ clock, history, trace, name: cluster }: ClusterOptions, { resource, type, object }: Change): void {
  const said = resource === "pods" ? object.metadata.annotations?.[PARENT] : undefined;
  if (said === undefined) return;
  const { name } = object.metadata;
  if (type === "ADDED") {
    history.children.push({
      name,
      ...(JSON.parse(said) as Pick<Child, "parent" | "run" | "step" | "attempt">),
      createdMs: clock.now(),
    });
    trace.say(`${cluster} pod ${name} made by a program`);
  } else if (type === "DELETED") {
    const child = history.children.findLast((it) => it.name === name);
    if (child !== undefined) child.goneMs = clock.now();
    trace.say(`${cluster} pod ${name} gone`);
  }
}

function watched(
  { name: cluster, clock, history, trace }: ClusterOptions,
  pods: ScriptedPods,
  onRuns: (pod: PodObject) => void,
): Kubelet {
  return {
    start: (pod, report, look) => {
      const { uid, name, labels = {} } = pod.metadata;
      const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
      // A pod that was orphaned before it was placed has no owner any more, and runs all the same.
      const job = owner?.uid ?? labels[CONTROLLER_UID];
      const say = (what: string): void => trace.say(`${cluster} pod ${name} ${what}`);
      const see = (it: PodReport): void => {
        const ran = it.kind === "placed" ? it.containers.map(({ state }) => state).find((state) => state.kind === "running" || (state.kind === "terminated" && state.startedAtMs !== undefined)) : undefined; // biome-ignore format: one question
        if (ran === undefined || job === undefined) return;
        const known = history.pods.get(uid);
        if (known === undefined) {
          say("runs");
          onRuns(pod);
        }
        const life = known ?? {
          cluster,
          job,
          jobName: owner?.name ?? labels[JOB_NAME] ?? "",
          uid,
          startedMs: clock.now(),
          claims: claimsIn(pod.spec.volumes),
          generation: Number(pod.metadata.annotations?.[ANNOTATIONS.generation] ?? 0),
        };
        history.pods.set(uid, life);
        if (ran.kind !== "terminated" || life.endedMs !== undefined) return;
        life.endedMs = clock.now();
        life.exitCode = ran.exitCode;
        say(`ended ${ran.exitCode}`);
      };
      const run = pods.start(
        pod,
        (it) => {
          see(it);
          report(it);
        },
        look,
      );
      return {
        ...run,
        forget: () => {
          const life = history.pods.get(uid);
          if (life !== undefined && life.endedMs === undefined) {
            life.endedMs = clock.now();
            say("forgotten while it ran");
          }
          run.forget();
        },
      };
    },
  };
}
