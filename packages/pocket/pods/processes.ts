/**
 * The kubelet over local processes: pods as they would run on a node, without images and without isolation.
 *
 * The bugs this prevents: a pod whose end nobody knows because the pocket was away, and processes that are left running. A pod's
 * processes outlive a pocket that is killed, and the next pocket takes them up. A pocket that stops in order ends them, and
 * writes down that it did.
 */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { chmod, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ContainerReport, ContainerState, Kubelet, Look, PodEnd, PodReport, PodRun } from "../api.ts";
import { NEVER_STARTED } from "../api.ts";
import { environmentOf } from "./command.ts";
import { adoptContainer, type ContainerProcess, type End, logIn, runContainer } from "./container.ts";
import { judgeImage } from "./images.ts";
import { type LogFile, openLogFile } from "./logfile.ts";
import { mountsOf, removeVolume } from "./mounts.ts";
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
/** The times of files advance in ticks. After one, whatever has ended is older than the file that tells of the stop. */
const FILE_TICK_MS = 20;

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
  let removals: Promise<unknown> = Promise.resolve();
  let isEnding = false;
  return {
    discard: (claimUid) => {
      removals = Promise.all([removals, removeVolume(dataDir, claimUid)]);
    },
    retain: (kept) => {
      removals = endOthers(pods, new Set(kept.map(folderOf)));
    },
    start: (pod, report, look) => {
      const parts = { clock, pod, dataDir, folder: join(pods, folderOf(pod)), report, look, logBytesMost, throwaway };
      const life: Life = finishedPhase(pod) ? archive(parts) : live(parts);
      lives.add(life);
      void life.over.then(() => lives.delete(life));
      // A cluster that ends after its kubelet forgets its pods, and their folders stay for the next start.
      return { ...life, forget: () => (isEnding ? undefined : life.forget()) };
    },
    [Symbol.asyncDispose]: async () => {
      isEnding = true;
      if (throwaway) for (const life of lives) life.forget();
      await Promise.all([removals, ...[...lives].map((it) => (throwaway ? it.over : it.end()))]);
    },
  };
}

/** Named so that a person finds it. The UID tells it from the folder of an earlier pod of that name. */
export const folderOf = ({ metadata: { name, uid } }: PodObject): string => `${name}_${uid}`;

/**
 * Ends pods whose objects are gone, and begins to remove them: their work would go on, and nobody would hear of it. Returns when
 * they are told to end.
 */
function endOthers(pods: string, kept: ReadonlySet<string>): Promise<unknown> {
  if (!existsSync(pods)) return Promise.resolve();
  // A file that is no folder is nobody's pod: a desktop left it there.
  const others = foldersIn(pods).filter((it) => !kept.has(it));
  for (const other of others) for (const it of foldersIn(join(pods, other))) killGroup(join(pods, other, it));
  return Promise.all(others.map((it) => removeFolder(join(pods, it))));
}

const foldersIn = (path: string): readonly string[] =>
  readdirSync(path, { withFileTypes: true }).flatMap((it) => (it.isDirectory() ? [it.name] : []));

/** Never rejects: a folder that cannot be removed stays, with a warning, and each later start tries again. */
async function removeFolder(folder: string): Promise<void> {
  // A process that was killed just now may still have written a file.
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 3 });
  try {
    // A command may leave folders that take no change: Go makes its module cache so.
    await remove().catch(() => openFolders(folder).then(remove));
  } catch (error) {
    process.emitWarning(`${folder} could not be removed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function openFolders(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const it of await readdir(folder, { withFileTypes: true })) if (it.isDirectory()) await openFolders(join(folder, it.name));
}

interface Life extends PodRun {
  /** Resolves when no process of the pod is left, and after `forget` no folder. */
  readonly over: Promise<void>;
  /** Ends what runs, and says why; what waits stays as it is. Resolves when no process is left. */
  end(): Promise<void>;
}

interface LifeParts {
  readonly clock: Clock;
  readonly pod: PodObject;
  readonly dataDir: string;
  readonly folder: string;
  readonly report: (it: PodReport) => void;
  readonly look: Look;
  readonly logBytesMost: number;
  readonly throwaway: boolean;
}

/** A pod that had ended before this start: only its logs are left. */
function archive({ clock, folder, logBytesMost }: LifeParts): Life {
  const forgotten = Promise.withResolvers<void>();
  function logOf(container: string): LogFile | undefined {
    const path = logIn(join(folder, container));
    if (!existsSync(path)) return undefined;
    const log = openLogFile(path, logBytesMost, clock);
    log.close();
    return log;
  }
  return {
    over: forgotten.promise.then(() => removeFolder(folder)),
    end: async () => undefined,
    stop: () => undefined,
    forget: () => forgotten.resolve(),
    log: (container) => logOf(container)?.read(),
    followLog: (container, line) => logOf(container)?.follow(line),
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
  const stopSeconds = Math.min(STOP_GRACE_SECONDS, pod.spec.terminationGracePeriodSeconds ?? STOP_GRACE_SECONDS);
  let graceSeconds = 0;
  let stoppedAtMs = statSync(stopped, { throwIfNoEntry: false })?.mtimeMs;
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

  /** A process that had ended before the stop was written down is told as it ended, though nobody had seen its end. */
  function note(name: string, { state, vanished }: End): void {
    if (stoppedAtMs !== undefined && (state.finishedAtMs ?? 0) >= stoppedAtMs) why = STOPPED;
    else if (vanished) why ??= VANISHED;
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
    // The stop that an earlier kubelet began was cut short. It goes on: else the SIGTERM's exit would be told as the command's.
    if (isRunning() && stoppedAtMs !== undefined) stop(Math.max(0, stopSeconds - (clock.now() - stoppedAtMs) / 1000));
    else if (!isRunning() && (why ?? stoppedAtMs) !== undefined) giveUpRest();
    if (processes.size > 0) tell();
  }

  const isRunning = (): boolean => [...states.values()].some((it) => it.kind === "running");

  /** The containers that have not begun never will. */
  function giveUpRest(): void {
    stopping.abort();
    for (const { name } of all) if (states.get(name)?.kind === "waiting") giveUp(name);
  }

  function giveUp(name: string): void {
    if (stoppedAtMs !== undefined) why ??= STOPPED;
    states.set(name, NEVER_STARTED);
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
      if (isPaused || states.get(name) === NEVER_STARTED) return false;
      giveUp(name);
      tell();
      return false;
    }
    if (adopted === undefined) {
      processes.set(name, process);
      if (process.found === undefined) states.set(name, { kind: "running", startedAtMs: process.startedAtMs });
      else note(name, process.found); // it could not be started, so nobody may be told that it ran
      tell();
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

  async function end(): Promise<void> {
    const runs = isRunning();
    if (runs && !stopping.signal.aborted) {
      await clock.sleep(FILE_TICK_MS);
      // Written first: if this is cut short, the next start still knows why the processes ended.
      writeFileSync(stopped, "");
      stoppedAtMs = statSync(stopped).mtimeMs;
    }
    isPaused = !runs;
    stop(stopSeconds);
    await finished;
  }

  adopt();
  if (isDeleting(pod)) stopping.abort();
  const finished = runAll();
  return {
    over: Promise.all([finished, forgotten.promise]).then(() => removeFolder(folder)),
    stop,
    end,
    forget: () => {
      stop(0);
      forgotten.resolve();
    },
    log: (container) => processes.get(container)?.log.read(),
    followLog: (container, line) => processes.get(container)?.log.follow(line),
  };
}

type Made =
  | { readonly kind: "made"; readonly process: ContainerProcess }
  | { readonly kind: "waits"; readonly first: ContainerState; readonly then?: ContainerState };

function attempt({ clock, pod, dataDir, folder, look, logBytesMost, throwaway }: LifeParts, container: Container): Made {
  const waits = (reason: string, message: string): ContainerState => ({ kind: "waiting", reason, message });
  const image = judgeImage(container.image);
  if (image.kind === "invalid") return { kind: "waits", first: waits("InvalidImageName", image.message) };
  if (image.kind === "absent") {
    const backsOff = waits(
      "ImagePullBackOff",
      `Back-off pulling image ${JSON.stringify(container.image)}: ErrImagePull: ${image.message}`,
    );
    return { kind: "waits", first: waits("ErrImagePull", image.message), then: backsOff };
  }
  const environment = environmentOf(pod, container, look);
  if (!("values" in environment)) return { kind: "waits", first: waits(environment.reason, environment.message) };
  const own = join(folder, container.name);
  const values = { HOSTNAME: pod.metadata.name, ...environment.values };
  try {
    mkdirSync(own, { recursive: true });
    const mounts = mountsOf(pod, container, { dataDir, podFolder: folder, look });
    if ("reason" in mounts) return { kind: "waits", first: waits(mounts.reason, mounts.message) };
    return {
      kind: "made",
      process: runContainer({ clock, container, folder: own, values, mounts, logBytesMost, leashed: throwaway }),
    };
  } catch (error) {
    // The disk is full, or a path is too long.
    return { kind: "waits", first: waits("CreateContainerError", error instanceof Error ? error.message : String(error)) };
  }
}
