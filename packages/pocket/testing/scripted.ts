/**
 * Pods that follow a script instead of running anything: for the simulation, and for benches.
 *
 * The bug this prevents: a simulation of pods that always start and always end. A script may never be scheduled, wait
 * for an image until the world heals, or stay on a lost node and never answer to being stopped.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { createAgenda } from "../controllers/agenda.ts";
import { type ContainerState, type Kubelet, NEVER_STARTED, type PodReport, type PodRun } from "../api.ts";
import type { PodObject } from "../objects.ts";

export interface PodScript {
  /** The scheduler's message. If given, the pod is never placed on a node. */
  readonly unschedulable?: string;
  /** Placed, and waits with this reason until `startsAfterMs` has passed; without `startsAfterMs`, for ever. */
  readonly waits?: { readonly reason: string; readonly message?: string };
  readonly startsAfterMs?: number;
  /** How long it runs; absent: until it is stopped. */
  readonly runsMs?: number;
  readonly exitCode?: number;
  /** "OOMKilled" and the like; absent: "Completed" or "Error". */
  readonly reason?: string;
  /** Its termination message. */
  readonly message?: string;
  readonly log?: string;
  /**
   * On SIGTERM the pod ends after this time with this code, or with SIGKILL after its grace; "stuck": it never ends. Absent: it
   * ends at once with 143.
   */
  readonly onStop?: { readonly kind: "ends"; readonly afterMs: number; readonly exitCode?: number } | { readonly kind: "stuck" };
}

export interface ScriptedPods extends Kubelet, AsyncDisposable {
  /** Brings lost nodes back: pods that were stuck in stopping end now. */
  heal(): void;
}

export function scriptedPods(clock: Clock, script: (pod: PodObject) => PodScript): ScriptedPods {
  const agenda = createAgenda(clock);
  const stuck = new Map<string, () => void>();
  return {
    start: (pod, report) => startScript({ clock, agenda, stuck }, pod, script(pod), report),
    heal: () => {
      for (const end of [...stuck.values()]) end();
      stuck.clear();
    },
    [Symbol.asyncDispose]: async () => agenda.stop(),
  };
}

/** Pods that succeed at once, for benches that measure everything around them. */
export function instantPods(clock: Clock): ScriptedPods {
  return scriptedPods(clock, () => ({ startsAfterMs: 0, runsMs: 0 }));
}

export interface HeldPods extends ScriptedPods {
  /** Lets all pods that run now end well. */
  endAll(): void;
}

/** Pods that start at once and run until they are told to end, for benches of many Jobs that are live at the same time. */
export function heldPods(clock: Clock): HeldPods {
  const running = new Set<PodRun>();
  const pods = scriptedPods(clock, () => ({ startsAfterMs: 0, onStop: { kind: "ends", afterMs: 0, exitCode: 0 } }));
  return {
    ...pods,
    start(...pod) {
      const run = pods.start(...pod);
      running.add(run);
      return run;
    },
    endAll() {
      for (const run of running) run.stop(1);
      running.clear();
    },
  };
}

interface Stage {
  readonly clock: Clock;
  readonly agenda: ReturnType<typeof createAgenda>;
  readonly stuck: Map<string, () => void>;
}

function startScript(
  { clock, agenda, stuck }: Stage,
  pod: PodObject,
  script: PodScript,
  report: (it: PodReport) => void,
): PodRun {
  const key = pod.metadata.uid;
  const containers = pod.spec.containers.map((it) => it.name);
  const listeners = new Set<(line: string | undefined) => void>();
  let startedAtMs: number | undefined;
  let over = false;

  const say = (state: ContainerState): void => {
    if (over) return;
    report({ kind: "placed", node: "pocket", containers: containers.map((name) => ({ name, state })) });
  };
  const later = (ms: number, work: () => void): void => agenda.at(key, clock.now() + ms, work);

  function run(): void {
    startedAtMs = clock.now();
    if (script.runsMs !== 0) say({ kind: "running", startedAtMs });
    if (script.runsMs === 0) end(script.exitCode ?? 0, script.reason);
    else if (script.runsMs !== undefined) later(script.runsMs, () => end(script.exitCode ?? 0, script.reason));
  }

  function end(exitCode: number, reason = exitCode === 0 ? "Completed" : "Error"): void {
    if (over) return;
    agenda.cancel(key);
    stuck.delete(key);
    if (startedAtMs === undefined) {
      say(NEVER_STARTED);
      over = true;
      return;
    }
    const signal = exitCode > 128 && exitCode < 160 ? { signal: exitCode - 128 } : {};
    const message = script.message === undefined ? {} : { message: script.message };
    const atMs = clock.now();
    say({ kind: "terminated", exitCode, ...signal, reason, ...message, startedAtMs, finishedAtMs: atMs });
    over = true;
    for (const tell of listeners) tell(undefined);
    listeners.clear();
  }

  function stop(graceSeconds: number): void {
    const graceMs = graceSeconds * 1000;
    if (script.onStop?.kind === "stuck") {
      // If a pod on a lost node is told to stop, it starts nothing more, but nobody hears that its containers are gone.
      if (startedAtMs === undefined) agenda.cancel(key);
      stuck.set(key, () => end(137));
    } else if (startedAtMs === undefined || script.onStop === undefined) later(0, () => end(143));
    else if (script.onStop.afterMs < graceMs)
      later(script.onStop.afterMs, () => end(script.onStop?.kind === "ends" ? (script.onStop.exitCode ?? 143) : 143));
    else later(graceMs, () => end(137));
  }

  if (script.unschedulable !== undefined) report({ kind: "unschedulable", message: script.unschedulable });
  else if (script.startsAfterMs === 0) run();
  else {
    say({ kind: "waiting", ...(script.waits ?? { reason: "ContainerCreating" }) });
    if (script.waits === undefined || script.startsAfterMs !== undefined) later(script.startsAfterMs ?? 1, run);
  }
  return {
    stop,
    forget: () => {
      agenda.cancel(key);
      stuck.delete(key);
      over = true;
    },
    log: () => (startedAtMs === undefined ? undefined : (script.log ?? "")),
    followLog: (_, line) => {
      if (startedAtMs === undefined) return undefined;
      for (const it of (script.log ?? "").split("\n").filter((text) => text !== "")) line(it);
      if (over) line(undefined);
      else listeners.add(line);
      return () => listeners.delete(line);
    },
  };
}
