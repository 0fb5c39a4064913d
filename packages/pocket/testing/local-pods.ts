/** Pods for tests of the kubelet over local processes, and what it reports of them. */
import { readFile } from "node:fs/promises";
import { systemClock } from "@longshore/runtime/clock.ts";
import type { ContainerState, Kubelet, PodReport, PodRun } from "../api.ts";
import type { Container, Metadata, PodObject } from "../objects.ts";

let pods = 0;

export function podOf(
  container: Partial<Container>,
  initContainers: readonly Partial<Container>[] = [],
  metadata: Partial<Metadata> = {},
): PodObject {
  const n = pods++;
  const whole = (it: Partial<Container>, name: string): Container => ({ name, image: "busybox", ...it });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `pod-${n}`,
      namespace: "tests",
      uid: `uid-${n}`,
      resourceVersion: "1",
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { "app.example/name": "shop" },
      ...metadata,
    },
    spec: {
      restartPolicy: "Never",
      containers: [whole(container, "main")],
      initContainers: initContainers.map((it, i) => whole(it, `init-${i}`)),
    },
    status: { phase: "Pending" },
  };
}

export const sh = (script: string, more: Partial<Container> = {}): Partial<Container> => ({
  command: ["sh", "-c", script],
  ...more,
});

export type Looking = (resource: string, name: string) => object | undefined;
export type Placed = Extract<PodReport, { kind: "placed" }>;

export interface Watched {
  readonly run: PodRun;
  /** Every state of the container so far, in order. */
  readonly states: readonly ContainerState[];
  readonly reports: readonly Placed[];
  /** Resolves when the container has a state of this kind, or waits for this reason. */
  readonly until: (kind: string) => Promise<ContainerState>;
}

export function watched(kubelet: Kubelet, pod: PodObject, look: Looking = () => undefined, container = "main"): Watched {
  const states: ContainerState[] = [];
  const reports: Placed[] = [];
  const waiting = new Set<() => void>();
  const report = (it: PodReport): void => {
    const state = it.kind === "placed" ? it.containers.find((one) => one.name === container)?.state : undefined;
    if (it.kind === "placed") reports.push(it);
    if (state !== undefined && state !== states.at(-1)) states.push(state);
    for (const wake of waiting) wake();
  };
  const run = kubelet.start(pod, report, (resource, name) => look(resource, name) as never);
  const is = (state: ContainerState, kind: string): boolean =>
    state.kind === kind || (state.kind === "waiting" && state.reason === kind);
  return {
    run,
    states,
    reports,
    until: (kind) =>
      new Promise((resolve) => {
        const wake = (): void => {
          const found = states.find((it) => is(it, kind));
          if (found === undefined) return;
          waiting.delete(wake);
          resolve(found);
        };
        waiting.add(wake);
        wake();
      }),
  };
}

/** Resolves when the container has printed this line. */
export function said(run: PodRun, word: string): Promise<void> {
  return new Promise((resolve) => {
    const stop = run.followLog("main", (line) => {
      if (line !== word) return;
      queueMicrotask(() => stop?.());
      resolve();
    });
  });
}

/** A killed process needs a moment to end, and only its parent can wait for it, so this asks again and again. */
export async function ends(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 500; tries++) {
    if (await isGone(pid)) return true;
    await systemClock.sleep(10);
  }
  return false;
}

export async function isGone(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat === "" || /\) Z /.test(stat);
}
