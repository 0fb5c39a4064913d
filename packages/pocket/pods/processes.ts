/**
 * The kubelet over local processes: pods as they would run on a node, without images and without isolation.
 *
 * The bugs this prevents: a pod whose end nobody knows because the pocket was away, and processes that are left running. A pod's
 * processes outlive a pocket that is killed, and the next pocket takes them up. A pocket that stops in order ends them, and
 * writes down that it did.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ContainerReport, ContainerState, Kubelet, Look, PodEnd, PodReport, PodRun } from "../api.ts";
import { NEVER_STARTED } from "../api.ts";
import { environmentOf } from "./command.ts";
import { adoptContainer, type ContainerProcess, type End, logIn, runContainer } from "./container.ts";
import { judgeImage } from "./images.ts";
import { openLogFile, readLog } from "./logfile.ts";
import { killGroup } from "./shim.ts";
import { type Container, finishedPhase, isDeleting, type PodObject } from "../objects.ts";

export interface ProcessOptions {
  readonly clock: Clock;
  readonly dataDir: string;
  readonly logBytesMost?: number;
  /** True: stopping kills the pods at once and removes their folders; they end as well if this process is killed. */
  readonly throwaway?: boolean;
}

const LOG_BYTES_MOST = 4_194_304;
const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 30_000;
/** A person who stops the pocket waits this long for commands that do not end by themselves. */
const STOP_GRACE_SECONDS = 5;

const LOCAL_STOP = "LocalStop";
const STOPPED: PodEnd = { reason: LOCAL_STOP, message: "Longshore was stopped while this ran." };
const VANISHED: PodEnd = {
  reason: LOCAL_STOP,
  message: "The machine was restarted while this ran, or its processes were killed, and nobody knows how it ended.",
};

export function startProcesses(options: ProcessOptions): Kubelet & AsyncDisposable {
  const { clock, dataDir, logBytesMost = LOG_BYTES_MOST, throwaway = false } = options;
  const pods = join(dataDir, "pods");
  const lives = new Set<Life>();
  let isEnding = false;
  return {
    retain: (kept) => removeOthers(pods, new Set(kept.map(folderOf))),
    start: (pod, report, look) => {
      const parts = { clock, pod, folder: join(pods, folderOf(pod)), report, look, logBytesMost, throwaway };
      const life: Life = finishedPhase(pod) ? archive(parts) : live(parts);
      lives.add(life);
      void life.over.then(() => lives.delete(life));
      // A cluster that ends after its kubelet forgets its pods, and their folders stay for the next start.
      return { ...life, forget: () => (isEnding ? undefined : life.forget()) };
    },
    [Symbol.asyncDispose]: async () => {
      isEnding = true;
      if (throwaway) for (const life of lives) life.forget();
      await Promise.all([...lives].map((it) => (throwaway ? it.over : it.end(STOPPED))));
    },
  };
}

/** Named so that a person finds it. The UID tells it from the folder of an earlier pod of that name. */
export const folderOf = ({ metadata: { name, uid } }: PodObject): string => `${name}_${uid}`;

/** Ends and removes pods whose objects are gone: their work would go on, and nobody would hear of it. */
function removeOthers(pods: string, kept: ReadonlySet<string>): void {
  if (!existsSync(pods)) return;
  for (const folder of readdirSync(pods)) {
    if (kept.has(folder)) continue;
    for (const it of readdirSync(join(pods, folder), { withFileTypes: true }))
      if (it.isDirectory()) killGroup(join(pods, folder, it.name));
    rmSync(join(pods, folder), { recursive: true, force: true });
  }
}

interface Life extends PodRun {
  /** Resolves when no process of the pod is left, and after `forget` no folder. */
  readonly over: Promise<void>;
  /** Ends what runs, and says why; what waits stays as it is. Resolves when no process is left. */
  end(why: PodEnd): Promise<void>;
}

interface LifeParts {
  readonly clock: Clock;
  readonly pod: PodObject;
  readonly folder: string;
  readonly report: (it: PodReport) => void;
  readonly look: Look;
  readonly logBytesMost: number;
  readonly throwaway: boolean;
}

/** A pod that had ended before this start: only its logs are left. */
function archive({ clock, folder, logBytesMost }: LifeParts): Life {
  const forgotten = Promise.withResolvers<void>();
  const isKept = (container: string): boolean => existsSync(logIn(join(folder, container)));
  return {
    over: forgotten.promise.then(() => rm(folder, { recursive: true, force: true })),
    end: async () => undefined,
    stop: () => undefined,
    forget: () => forgotten.resolve(),
    log: (container) => (isKept(container) ? readLog(logIn(join(folder, container))) : undefined),
    followLog: (container, line) => {
      if (!isKept(container)) return () => undefined;
      const log = openLogFile(logIn(join(folder, container)), logBytesMost, clock);
      log.close();
      return log.follow(line);
    },
  };
}

function live(parts: LifeParts): Life {
  const { clock, pod, folder, report } = parts;
  const stopping = new AbortController();
  const forgotten = Promise.withResolvers<void>();
  const processes = new Map<string, ContainerProcess>();
  const states = new Map<string, ContainerState>();
  const inits = pod.spec.initContainers ?? [];
  const all = [...inits, ...pod.spec.containers];
  const stopped = join(folder, "stopped");
  let graceSeconds = 0;
  let why: PodEnd | undefined;
  /** Containers that wait are neither started nor given up: the next kubelet goes on with them. */
  let isPaused = false;
  const pending: ContainerState = { kind: "waiting", reason: inits.length > 0 ? "PodInitializing" : "ContainerCreating" };
  for (const it of all) states.set(it.name, pending);

  function tell(): void {
    const told = (it: Container, init: boolean): ContainerReport => ({
      name: it.name,
      init,
      state: states.get(it.name) ?? pending,
    });
    report({
      kind: "placed",
      node: "pocket",
      containers: [...inits.map((it) => told(it, true)), ...pod.spec.containers.map((it) => told(it, false))],
      ...(why && { ended: why }),
    });
  }

  function say(name: string, state: ContainerState): void {
    states.set(name, state);
    tell();
  }

  function note(name: string, { state, vanished }: End): void {
    if (vanished) why = VANISHED;
    states.set(name, state);
  }

  /** Takes up what an earlier kubelet started, and tells at once what ended meanwhile. */
  function adopt(): void {
    if (!existsSync(folder)) return;
    for (const { name } of all) {
      const adopted = adoptContainer({ clock, folder: join(folder, name), logBytesMost: parts.logBytesMost });
      if (adopted === undefined) continue;
      processes.set(name, adopted);
      if (adopted.found !== undefined) note(name, adopted.found);
      else states.set(name, { kind: "running", startedAtMs: adopted.startedAtMs });
    }
    const runs = [...states.values()].some((it) => it.kind === "running");
    // A process that survived an orderly stop that was cut short goes on.
    if (runs) rmSync(stopped, { force: true });
    else if (existsSync(stopped)) why ??= STOPPED;
    if (why !== undefined && !runs) giveUpRest();
    if (processes.size > 0) tell();
  }

  /** The containers that have not begun never will. */
  function giveUpRest(): void {
    stopping.abort();
    for (const { name } of all) if (states.get(name)?.kind === "waiting") states.set(name, NEVER_STARTED);
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
    const { name } = container;
    const adopted = processes.get(name);
    const process = adopted ?? (await make(container));
    if (process === undefined) {
      if (!isPaused && states.get(name) !== NEVER_STARTED) say(name, NEVER_STARTED);
      return false;
    }
    if (adopted === undefined) {
      processes.set(name, process);
      say(name, { kind: "running", startedAtMs: process.startedAtMs });
    }
    if (process.found === undefined) {
      if (adopted === undefined && stopping.signal.aborted) process.stop(graceSeconds);
      note(name, await process.ended);
      tell();
    }
    const ended = states.get(name);
    return ended?.kind === "terminated" && ended.exitCode === 0;
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

  async function end(reason: PodEnd): Promise<void> {
    const runs = [...states.values()].some((it) => it.kind === "running");
    if (runs && !stopping.signal.aborted) {
      // Written first: if this is cut short, the next start still knows why the processes ended.
      writeFileSync(stopped, "");
      why = reason;
    }
    isPaused = !runs;
    stop(Math.min(STOP_GRACE_SECONDS, pod.spec.terminationGracePeriodSeconds ?? STOP_GRACE_SECONDS));
    await finished;
  }

  adopt();
  if (isDeleting(pod)) stopping.abort();
  const finished = runAll();
  return {
    over: Promise.all([finished, forgotten.promise]).then(() => rm(folder, { recursive: true, force: true })),
    stop,
    end,
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

function attempt({ clock, pod, folder, look, logBytesMost, throwaway }: LifeParts, container: Container): Made {
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
  return { kind: "made", process: runContainer({ clock, container, folder: own, values, logBytesMost, leashed: throwaway }) };
}
