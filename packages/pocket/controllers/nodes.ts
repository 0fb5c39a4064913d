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
import type { Condition, Fields, PodObject, PodPhase, PodStatus } from "../objects.ts";
import { finishedPhase, isDeleting, timestamp } from "../objects.ts";
import type { Change } from "../server/store.ts";

export interface Nodes {
  runOf(podUid: string): PodRun | undefined;
  stop(): void;
}

export function startNodes({ store, clock, agenda, delays }: Parts, kubelet: Kubelet): Nodes {
  const runs = new Map<string, PodRun>();

  const current = (uid: string): PodObject | undefined => store.exists(uid) as PodObject | undefined;

  function start(uid: string): void {
    const pod = current(uid);
    if (pod === undefined || isDeleting(pod) || runs.has(uid)) return;
    const { namespace = "" } = pod.metadata;
    const elsewhere = Object.entries(pod.spec.nodeSelector ?? {}).find(([label]) => !label.startsWith("kubernetes.io/"));
    if (elsewhere !== undefined) {
      const why = `didn't match Pod's node affinity/selector`;
      return learn(uid, { kind: "unschedulable", message: `0/1 nodes are available: 1 node(s) ${why}.` });
    }
    const look: Look = (resource, name) => store.get(resource, namespace, name);
    runs.set(
      uid,
      kubelet.start(pod, (report) => learn(uid, report), look),
    );
  }

  function stop(uid: string): void {
    const pod = current(uid);
    if (pod === undefined || !isDeleting(pod)) return;
    const run = runs.get(uid);
    if (run !== undefined && pod.spec.nodeName !== undefined) run.stop(pod.metadata.deletionGracePeriodSeconds ?? 0);
    else if (!finishedPhase(pod)) agenda.soon(`give-up:${uid}`, pick(delays.podCollectorMs, clock), () => giveUp(uid));
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
    const ended = finalPhase(report.containers);
    const placed: PodObject = { ...pod, spec: { ...pod.spec, nodeName: report.node } };
    const delayMs = pick(delays.phaseMs, clock);
    if (ended === undefined || delayMs > 0)
      write({ ...placed, status: statusOf(pod, report.containers, undefined, clock.now()) });
    if (ended === undefined) return;
    if (delayMs > 0) agenda.at(`phase:${uid}`, clock.now() + delayMs, () => finish(uid, report.containers, ended));
    else finish(uid, report.containers, ended, report.node);
  }

  function finish(uid: string, containers: readonly ContainerReport[], phase: PodPhase, node?: string): void {
    const pod = current(uid);
    if (pod === undefined || finishedPhase(pod)) return;
    const spec = node === undefined ? pod.spec : { ...pod.spec, nodeName: node };
    write({ ...pod, spec, status: statusOf(pod, containers, phase, clock.now()) });
    const after = current(uid);
    // The kubelet removes its pod when the containers are gone; a finalizer may still keep the object.
    if (after !== undefined && isDeleting(after)) deleteObject(store, "pods", after, { graceSeconds: 0 }, clock.now());
  }

  const write = (pod: PodObject): PodObject => store.replace("pods", pod);

  function hear(change: Change): void {
    if (change.resource !== "pods") return;
    const pod = change.object as PodObject;
    const { uid } = pod.metadata;
    if (change.type === "ADDED") agenda.soon(`start:${uid}`, pick(delays.scheduleMs, clock), () => start(uid));
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
      agenda.soon(`stop:${uid}`, pod.spec.nodeName === undefined ? 0 : pick(delays.noticeMs, clock), () => stop(uid));
    }
  }

  store.listen(hear);
  return {
    runOf: (uid) => runs.get(uid),
    stop: () => {
      for (const run of runs.values()) run.forget();
      runs.clear();
    },
  };
}

function finalPhase(containers: readonly ContainerReport[]): PodPhase | undefined {
  const ends = containers.map(({ state, init }) => ({ state, init: init === true }));
  if (ends.some(({ state, init }) => init && state.kind === "terminated" && state.exitCode !== 0)) return "Failed";
  if (!ends.every(({ state }) => state.kind === "terminated")) return undefined;
  return ends.every(({ state }) => state.kind === "terminated" && state.exitCode === 0) ? "Succeeded" : "Failed";
}

function unscheduled(message: string, nowMs: number): Condition {
  return { type: "PodScheduled", status: "False", reason: "Unschedulable", message, lastTransitionTime: timestamp(nowMs) };
}

function statusOf(pod: PodObject, containers: readonly ContainerReport[], final: PodPhase | undefined, nowMs: number): PodStatus {
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
