/**
 * The one node of the pocket: hands each new pod to the kubelet, and writes what the kubelet reports into its status.
 *
 * The bug this prevents: a pod whose containers end and whose phase changes in the same instant. On a real node the phase
 * changes about a second after the containers' end, and a product that trusts the containers' end acts too early.
 */
import type { ContainerReport, Kubelet, Look, PodReport, PodRun } from "../api.ts";
import { pick } from "./delays.ts";
import type { Parts } from "./parts.ts";
import { deleteObject } from "../server/delete.ts";
import { claimMissing, claimsOf } from "./volumes.ts";
import type { ApiObject, Condition, Fields, PodObject, PodPhase, PodStatus } from "../objects.ts";
import { finishedPhase, isDeleting, timestamp } from "../objects.ts";
import type { Change } from "../server/store.ts";

export interface Nodes {
  runOf(podUid: string): PodRun | undefined;
  /**
   * Takes up the pods that stood before this start. Pods that ended meanwhile have their final phase when this returns, so that
   * no controller acts on what they were before.
   */
  resume(): void;
  stop(): void;
}

export function startNodes({ store, clock, agenda, delays }: Parts, kubelet: Kubelet): Nodes {
  const runs = new Map<string, PodRun>();
  let resuming = false;

  const current = (uid: string): PodObject | undefined => store.exists(uid) as PodObject | undefined;

  function start(uid: string): void {
    const pod = current(uid);
    if (pod === undefined || isDeleting(pod) || runs.has(uid)) return;
    const elsewhere = Object.entries(pod.spec.nodeSelector ?? {}).find(([label]) => !label.startsWith("kubernetes.io/"));
    if (elsewhere !== undefined) {
      const why = `didn't match Pod's node affinity/selector`;
      return learn(uid, { kind: "unschedulable", message: `0/1 nodes are available: 1 node(s) ${why}.` });
    }
    const missing = claimMissing(store, pod);
    if (missing !== undefined) return learn(uid, { kind: "unschedulable", message: `0/1 nodes are available: ${missing}.` });
    run(pod);
  }

  function run(pod: PodObject): void {
    const { uid, namespace = "" } = pod.metadata;
    const look: Look = (resource, name) => store.get(resource, namespace, name);
    const started = kubelet.start(pod, (report) => learn(uid, report), look);
    // A first report of a pod that ended meanwhile may have removed the pod, before there was anything to forget.
    if (current(uid) === undefined) started.forget();
    else runs.set(uid, started);
  }

  function resume(): void {
    const pods = store.list("pods", undefined) as readonly PodObject[];
    kubelet.retain?.(pods);
    resuming = true;
    for (const pod of pods) if (pod.spec.nodeName !== undefined) run(pod);
    resuming = false;
  }

  /** The grace is read now: a later DELETE may have shortened it since this was planned. */
  function stop(uid: string, graceOf: (pod: PodObject) => number): void {
    const pod = current(uid);
    if (pod === undefined || !isDeleting(pod)) return;
    const run = runs.get(uid);
    // A kill between the two writes of `finish` has left the grace, and nobody else takes it away.
    if (finishedPhase(pod)) deleteObject(store, "pods", pod, { graceSeconds: 0 }, clock.now());
    else if (run !== undefined && pod.spec.nodeName !== undefined) run.stop(graceOf(pod));
    else agenda.soon(`give-up:${uid}`, pick(delays.podCollectorMs, clock), () => giveUp(uid));
  }

  /** Marks a pod that no node ever had as failed, as the cluster's own collector does, so that its Job can count it. */
  function giveUp(uid: string): void {
    const pod = current(uid);
    if (pod === undefined) return;
    write({ ...pod, status: { ...pod.status, phase: "Failed" } });
    const after = current(uid);
    if (after !== undefined) deleteObject(store, "pods", after, { graceSeconds: 0 }, clock.now());
  }

  function learn(uid: string, report: PodReport): void {
    const pod = current(uid);
    if (pod === undefined || finishedPhase(pod)) return;
    if (report.kind === "unschedulable") {
      const condition = unscheduled(report.message, clock.now());
      write({ ...pod, status: { ...pod.status, phase: "Pending", conditions: [condition] } });
      return;
    }
    const ended = finalPhase(report);
    const placed: PodObject = { ...pod, spec: { ...pod.spec, nodeName: report.node } };
    const delayMs = pick(delays.phaseMs, clock);
    const waits = delayMs > 0 && !resuming && report.ended === undefined;
    if (ended === undefined || waits) write({ ...placed, status: statusOf(pod, report, undefined, clock.now()) });
    if (ended === undefined) return;
    if (waits) agenda.at(`phase:${uid}`, clock.now() + delayMs, () => finish(uid, report, ended));
    else finish(uid, report, ended);
  }

  function finish(uid: string, report: Placed, phase: PodPhase): void {
    const pod = current(uid);
    if (pod === undefined || finishedPhase(pod)) return;
    const spec = { ...pod.spec, nodeName: report.node };
    write({ ...pod, spec, status: statusOf(pod, report, phase, clock.now()) });
    const after = current(uid);
    // The kubelet removes its pod when the containers are gone; a finalizer may still keep the object.
    if (after !== undefined && isDeleting(after)) deleteObject(store, "pods", after, { graceSeconds: 0 }, clock.now());
  }

  const write = (pod: PodObject): PodObject => store.replace("pods", pod);

  /** A claim that came lets the pods start that waited for it. */
  function startUsers({ metadata: { namespace = "", name } }: ApiObject): void {
    for (const pod of store.list("pods", namespace) as readonly PodObject[]) {
      const { uid } = pod.metadata;
      if (pod.spec.nodeName === undefined && claimsOf(pod).includes(name))
        agenda.soon(`start:${uid}`, pick(delays.scheduleMs, clock), () => start(uid));
    }
  }

  function hear(change: Change): void {
    if (change.resource === "persistentvolumeclaims" && change.type === "ADDED") startUsers(change.object);
    if (change.resource === "persistentvolumeclaims" && change.type === "DELETED") kubelet.discard?.(change.object.metadata.uid);
    if (change.resource !== "pods") return;
    const pod = change.object as PodObject;
    const { uid } = pod.metadata;
    if (change.type === "ADDED" && isDeleting(pod))
      agenda.soon(`stop:${uid}`, 0, () => stop(uid, (it) => secondsLeft(it, clock.now())));
    else if (change.type === "ADDED") agenda.soon(`start:${uid}`, pick(delays.scheduleMs, clock), () => start(uid));
    else if (change.type === "DELETED") {
      for (const it of ["phase", "start", "stop", "give-up"]) agenda.cancel(`${it}:${uid}`);
      runs.get(uid)?.forget();
      runs.delete(uid);
    } else if (
      isDeleting(pod) &&
      pod.metadata.deletionGracePeriodSeconds !== change.before?.metadata.deletionGracePeriodSeconds
    ) {
      // Stops the pod later, not here: a listener must not change an object before all listeners have heard of this change. The
      // delay is a kubelet's: it hears of a deletion after others do.
      const inMs = pod.spec.nodeName === undefined ? 0 : pick(delays.noticeMs, clock);
      agenda.soon(`stop:${uid}`, inMs, () => stop(uid, (it) => it.metadata.deletionGracePeriodSeconds ?? 0));
    }
  }

  store.listen(hear);
  return {
    runOf: (uid) => runs.get(uid),
    resume,
    stop: () => {
      for (const run of runs.values()) run.forget();
      runs.clear();
    },
  };
}

type Placed = Extract<PodReport, { kind: "placed" }>;

/** The rest of a grace that began before this start. */
function secondsLeft({ metadata }: PodObject, nowMs: number): number {
  const untilMs = metadata.deletionTimestamp === undefined ? 0 : Date.parse(metadata.deletionTimestamp);
  return Math.max(0, Math.min(metadata.deletionGracePeriodSeconds ?? 0, Math.ceil((untilMs - nowMs) / 1000)));
}

function finalPhase({ containers, ended }: Placed): PodPhase | undefined {
  const ends = containers.map(({ state, init }) => ({ state, init: init === true }));
  if (ends.some(({ state, init }) => init && state.kind === "terminated" && state.exitCode !== 0)) return "Failed";
  if (!ends.every(({ state }) => state.kind === "terminated")) return undefined;
  const good = ended === undefined && ends.every(({ state }) => state.kind === "terminated" && state.exitCode === 0);
  return good ? "Succeeded" : "Failed";
}

function unscheduled(message: string, nowMs: number): Condition {
  return { type: "PodScheduled", status: "False", reason: "Unschedulable", message, lastTransitionTime: timestamp(nowMs) };
}

function statusOf(pod: PodObject, { containers, ended }: Placed, final: PodPhase | undefined, nowMs: number): PodStatus {
  const main = containers.filter((it) => it.init !== true);
  const init = containers.filter((it) => it.init === true);
  const running = main.some((it) => it.state.kind !== "waiting");
  const ready = final === undefined && main.every((it) => it.state.kind === "running");
  const initialized = init.every((it) => it.state.kind === "terminated" && it.state.exitCode === 0);
  const reason = final === "Succeeded" ? "PodCompleted" : final === "Failed" ? "PodFailed" : "ContainersNotReady";
  /** A condition that stays true keeps its time: else a pod would seem to be scheduled when it ends. */
  const since = (type: string): string | undefined =>
    pod.status.conditions?.find((it) => it.type === type && it.status === "True")?.lastTransitionTime;
  const condition = (type: string, yes: boolean): Condition => ({
    type,
    status: yes ? "True" : "False",
    ...(yes ? {} : { reason }),
    lastTransitionTime: (yes ? since(type) : undefined) ?? timestamp(nowMs),
  });
  return {
    phase: final ?? (running ? "Running" : "Pending"),
    ...(final === undefined ? {} : ended),
    conditions: [
      condition("PodScheduled", true),
      condition("Initialized", initialized),
      condition("ContainersReady", ready),
      condition("Ready", ready),
      // Conditions that others wrote on the pod (an eviction, a preemption) stay.
      ...(pod.status.conditions ?? []).filter((it) => it.type === "DisruptionTarget"),
    ],
    startTime: pod.status.startTime ?? timestamp(nowMs),
    ...(init.length > 0 ? { initContainerStatuses: init.map((it) => containerStatus(pod, it)) } : {}),
    containerStatuses: main.map((it) => containerStatus(pod, it)),
  };
}

function containerStatus(pod: PodObject, { name, state }: ContainerReport): Fields {
  const image = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].find((it) => it.name === name)?.image ?? "";
  const common = { name, image, imageID: "", restartCount: 0, lastState: {} };
  switch (state.kind) {
    case "waiting": {
      const message = state.message === undefined ? {} : { message: state.message };
      return { ...common, ready: false, started: false, state: { waiting: { reason: state.reason, ...message } } };
    }
    case "running":
      return { ...common, ready: true, started: true, state: { running: { startedAt: timestamp(state.startedAtMs) } } };
    case "terminated": {
      const { exitCode, signal, reason, message } = state;
      const terminated = {
        exitCode,
        ...(signal === undefined ? {} : { signal }),
        reason,
        ...(message === undefined || message === "" ? {} : { message }),
        startedAt: when(state.startedAtMs),
        finishedAt: when(state.finishedAtMs),
        containerID: `pocket://${pod.metadata.uid}/${name}`,
      };
      return { ...common, ready: false, started: false, state: { terminated } };
    }
  }
}

const when = (ms: number | undefined): string | null => (ms === undefined ? null : timestamp(ms));
