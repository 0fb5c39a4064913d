/**
 * The kubelet over local processes: pods as they would run on a node, without images and without isolation.
 *
 * The bug this prevents: pods left running when the pocket stops. Every process is in a group that is known here, and
 * stopping waits until all of them are gone.
 */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ContainerReport, ContainerState, Kubelet, Look, PodReport, PodRun } from "../api.ts";
import { NEVER_STARTED } from "../api.ts";
import { environmentOf } from "./command.ts";
import { type ContainerProcess, runContainer } from "./container.ts";
import { judgeImage } from "./images.ts";
import { endLeftovers } from "./leftovers.ts";
import type { Container, PodObject } from "../objects.ts";

export interface ProcessOptions {
  readonly clock: Clock;
  readonly dataDir: string;
  readonly logBytesMost?: number;
}

const LOG_BYTES_MOST = 4_194_304;
const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 30_000;

export function startProcesses({ clock, dataDir, logBytesMost = LOG_BYTES_MOST }: ProcessOptions): Kubelet & AsyncDisposable {
  endLeftovers(dataDir);
  const lives = new Set<Life>();
  return {
    start: (pod, report, look) => {
      const folder = join(dataDir, "pods", pod.metadata.uid);
      const life: Life = live({ clock, pod, folder, report, look, logBytesMost });
      lives.add(life);
      void life.over.then(() => lives.delete(life));
      return life;
    },
    [Symbol.asyncDispose]: async () => {
      for (const life of lives) life.forget();
      await Promise.all([...lives].map((it) => it.over));
    },
  };
}

interface Life extends PodRun {
  /** Resolves when no process of the pod is left, and after `forget` no folder. */
  readonly over: Promise<void>;
}

interface LifeParts {
  readonly clock: Clock;
  readonly pod: PodObject;
  readonly folder: string;
  readonly report: (it: PodReport) => void;
  readonly look: Look;
  readonly logBytesMost: number;
}

function live(parts: LifeParts): Life {
  const { clock, pod, folder, report } = parts;
  const stopping = new AbortController();
  const forgotten = Promise.withResolvers<void>();
  const processes = new Map<string, ContainerProcess>();
  const states = new Map<string, ContainerState>();
  const inits = pod.spec.initContainers ?? [];
  let graceSeconds = 0;
  const pending: ContainerState = { kind: "waiting", reason: inits.length > 0 ? "PodInitializing" : "ContainerCreating" };
  for (const it of [...inits, ...pod.spec.containers]) states.set(it.name, pending);

  function say(name: string, state: ContainerState): void {
    states.set(name, state);
    const told = (it: Container, init: boolean): ContainerReport => ({
      name: it.name,
      init,
      state: states.get(it.name) ?? pending,
    });
    report({
      kind: "placed",
      node: "pocket",
      containers: [...inits.map((it) => told(it, true)), ...pod.spec.containers.map((it) => told(it, false))],
    });
  }

  /**
   * Tries until the container can be made, and reports why it cannot be made yet. `undefined` if the pod is stopped meanwhile.
   */
  async function make(container: Container): Promise<ContainerProcess | undefined> {
    for (let tries = 0; !stopping.signal.aborted; tries++) {
      const made = attempt(parts, container);
      if (made.kind === "made") return made.process;
      say(container.name, made.first);
      const waitMs = Math.min(RETRY_FIRST_MS * 2 ** tries, RETRY_MOST_MS);
      if (made.then !== undefined) {
        await clock.sleep(waitMs / 10, stopping.signal);
        if (!stopping.signal.aborted) say(container.name, made.then);
      }
      await clock.sleep(waitMs, stopping.signal);
    }
    return undefined;
  }

  async function run(container: Container): Promise<boolean> {
    const made = await make(container);
    if (made === undefined) {
      say(container.name, NEVER_STARTED);
      return false;
    }
    processes.set(container.name, made);
    say(container.name, { kind: "running", startedAtMs: made.startedAtMs });
    if (stopping.signal.aborted) made.stop(graceSeconds);
    const ended = await made.ended;
    say(container.name, ended);
    return ended.kind === "terminated" && ended.exitCode === 0;
  }

  async function runAll(): Promise<void> {
    for (const it of inits) if (!(await run(it))) return;
    await Promise.all(pod.spec.containers.map(run));
  }

  function stop(seconds: number): void {
    graceSeconds = seconds;
    stopping.abort();
    for (const [name, it] of processes) if (states.get(name)?.kind === "running") it.stop(seconds);
  }

  const finished = runAll();
  return {
    over: Promise.all([finished, forgotten.promise]).then(() => rm(folder, { recursive: true, force: true })),
    stop,
    forget: () => {
      stop(0);
      forgotten.resolve();
    },
    log: (container) => processes.get(container)?.log.read(),
    followLog: (container, line) => processes.get(container)?.log.follow(line) ?? (() => undefined),
  };
}

type Made =
  | { readonly kind: "made"; readonly process: ContainerProcess }
  | { readonly kind: "waits"; readonly first: ContainerState; readonly then?: ContainerState };

function attempt({ clock, pod, folder, look, logBytesMost }: LifeParts, container: Container): Made {
  const waits = (reason: string, message: string): ContainerState => ({ kind: "waiting", reason, message });
  const image = judgeImage(container.image);
  if (image.kind === "invalid") return { kind: "waits", first: waits("InvalidImageName", image.message) };
  if (image.kind === "absent") {
    const backsOff = waits("ImagePullBackOff", `Back-off pulling image ${JSON.stringify(container.image)}`);
    return { kind: "waits", first: waits("ErrImagePull", image.message), then: backsOff };
  }
  const environment = environmentOf(pod, container, look);
  if (!("values" in environment)) return { kind: "waits", first: waits(environment.reason, environment.message) };
  const own = join(folder, container.name);
  mkdirSync(own, { recursive: true });
  const values = { HOSTNAME: pod.metadata.name, ...environment.values };
  return { kind: "made", process: runContainer({ clock, container, folder: own, values, logBytesMost }) };
}
