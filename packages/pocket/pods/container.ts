/**
 * One container as one local process, in a folder and a session of its own.
 *
 * It isolates nothing: the process is an ordinary process of this machine, with this machine's files and network. Three things of
 * a real container are replaced. Its termination log is a private file, whose path is in `LONGSHORE_TERMINATION_LOG` and
 * replaces `/dev/termination-log` in the command. Its working directory lies in its own folder: "/data" becomes
 * "<folder>/data". The paths of its volumes become those of folders.
 *
 * The bug this prevents: an end that nobody tells. The pocket may be killed while the process runs, so how it ended is read from
 * the folder (shim.ts), by the pocket that started it and by any later one.
 */
import { type ChildProcess } from "node:child_process";
import { appendFileSync, closeSync, constants, mkdirSync, openSync, readSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ContainerState } from "../api.ts";
import { wordsOf } from "./command.ts";
import { type LogFile, openLogFile } from "./logfile.ts";
import { makeMounts, type Mount, withFolders } from "./mounts.ts";
import { killGroup, lookAt, nodeFolder, type Sight, signalCommand, startShim, terminationLogIn, whyNotStarted } from "./shim.ts";
import type { Container } from "../objects.ts";

export interface End {
  readonly state: Extract<ContainerState, { kind: "terminated" }>;
  /** True if the process is gone and left no exit code: the machine was restarted, or somebody killed the shim. */
  readonly vanished: boolean;
}

export interface ContainerProcess {
  readonly log: LogFile;
  readonly startedAtMs: number;
  /** Set if the process had ended before it was found, or could not be started. */
  readonly found?: End;
  /** Resolves when the process and its shim have ended. Never rejects. */
  readonly ended: Promise<End>;
  /** SIGTERM now and SIGKILL after the grace. A later call can only shorten the grace. */
  stop(graceSeconds: number): void;
}

export interface ContainerParts {
  readonly clock: Clock;
  readonly folder: string;
  readonly logBytesMost: number;
}

export interface ContainerStart extends ContainerParts {
  readonly container: Container;
  readonly values: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** True: the process ends with this one, however this one ends. */
  readonly leashed: boolean;
}

const MESSAGE_BYTES_MOST = 4_096;
/** An adopted process is not our child, so its end is looked for. */
const LOOK_MS = 100;
/** A command that has only just been started may have no process yet to which a signal could go. */
const SIGNAL_AGAIN_MS = 20;
/** After SIGKILL the shim writes the exit. If it does not, it is killed as well. */
const SHIM_ENDS_WITHIN_MS = 3_000;

export const logIn = (folder: string): string => join(folder, "log");

/** Throws if the folder takes no files: the disk is full, or a path is too long. A later call goes on where this one ended. */
export function runContainer(parts: ContainerStart): ContainerProcess {
  const { clock, container, folder, mounts } = parts;
  const values = Object.fromEntries(Object.entries(parts.values).map(([name, it]) => [name, withFolders(it, mounts)]));
  const terminationLog = terminationLogIn(folder);
  const root = join(folder, "root"); // stands for "/" of the container
  const cwd = join(root, resolve("/", container.workingDir ?? "."));
  makeMounts(mounts, root);
  mkdirSync(cwd, { recursive: true });
  writeFileSync(terminationLog, "");
  const startedAtMs = clock.now();
  const endsAtOnce = (exitCode: number, reason: string, message: string): ContainerProcess => {
    const log = openLogFile(logIn(folder), parts.logBytesMost, clock);
    log.close();
    const said = message === "" ? {} : { message };
    const state = { kind: "terminated", exitCode, reason, ...said, startedAtMs, finishedAtMs: clock.now() } as const;
    const found = { state, vanished: false };
    return { log, startedAtMs, found, ended: Promise.resolve(found), stop: () => undefined };
  };
  const words = wordsOf(container, parts.values, terminationLog).map((it) => withFolders(it, mounts));
  const [program] = words;
  if (container.command === undefined || container.command.length === 0 || program === undefined) {
    appendFileSync(logIn(folder), "The pocket runs commands, not images: this container has no command, so it ends at once.\n");
    return endsAtOnce(0, "Completed", "");
  }
  // The folder of this Node comes first, so that a command may say "node" on a machine without one.
  const path = `${nodeFolder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
  const all = { PATH: path, HOME: cwd, ...values };
  const why = whyNotStarted(program, all.PATH, cwd);
  if (why !== undefined) return endsAtOnce(128, "StartError", why);
  const log = openSync(logIn(folder), "a");
  let child: ChildProcess;
  try {
    child = startShim({ folder, words, cwd, values: all, log, leashed: parts.leashed });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return endsAtOnce(128, "StartError", `exec: ${JSON.stringify(program)}: ${why}`);
  } finally {
    closeSync(log);
  }
  return follow(parts, startedAtMs, child);
}

/** Takes up a container that an earlier pocket started; `undefined` if none did. */
export function adoptContainer(parts: ContainerParts): ContainerProcess | undefined {
  const sight = lookAt(parts.folder, parts.clock.now());
  if (sight.kind === "unstarted") return undefined;
  if (sight.kind === "running") return follow(parts, sight.startedAtMs);
  if (sight.kind === "vanished") killGroup(parts.folder);
  const log = openLogFile(logIn(parts.folder), parts.logBytesMost, parts.clock);
  log.close();
  const found = endOf(parts, sight, sight.startedAtMs);
  return { log, startedAtMs: sight.startedAtMs, found, ended: Promise.resolve(found), stop: () => undefined };
}

/** Follows a process of ours, or an adopted one if there is no child. */
function follow({ clock, folder, logBytesMost }: ContainerParts, startedAtMs: number, child?: ChildProcess): ContainerProcess {
  const log = openLogFile(logIn(folder), logBytesMost, clock);
  const over = new AbortController();
  const born = child === undefined ? Promise.resolve() : exitOf(child);
  let killsAtMs = Number.POSITIVE_INFINITY;
  let stops = 0;

  async function untilOver(): Promise<Sight> {
    await born;
    for (;;) {
      const sight = lookAt(folder, clock.now());
      if (sight.kind !== "running") return sight;
      await clock.sleep(LOOK_MS);
    }
  }

  async function end(): Promise<End> {
    const sight = await untilOver();
    over.abort();
    if (sight.kind !== "ended") killGroup(folder);
    log.close();
    return endOf({ clock, folder }, sight, startedAtMs);
  }

  async function signal(name: "SIGTERM" | "SIGKILL", untilMs: number): Promise<void> {
    while (!over.signal.aborted && clock.now() < untilMs && !signalCommand(folder, name))
      await clock.sleep(SIGNAL_AGAIN_MS, over.signal);
  }

  async function kill(): Promise<void> {
    const untilMs = clock.now() + SHIM_ENDS_WITHIN_MS;
    await signal("SIGKILL", untilMs);
    await clock.sleep(Math.max(0, untilMs - clock.now()), over.signal);
    if (!over.signal.aborted) killGroup(folder);
  }

  async function terminate(graceMs: number): Promise<void> {
    const nth = ++stops;
    if (graceMs > 0) {
      void signal("SIGTERM", killsAtMs);
      await clock.sleep(graceMs, over.signal);
    }
    // A later call has shortened the grace, and kills by itself.
    if (nth === stops && !over.signal.aborted) await kill();
  }

  return {
    log,
    startedAtMs,
    ended: end(),
    stop: (graceSeconds) => {
      const atMs = clock.now() + graceSeconds * 1000;
      if (atMs >= killsAtMs) return;
      killsAtMs = atMs;
      void terminate(graceSeconds * 1000);
    },
  };
}

function endOf({ clock, folder }: Pick<ContainerParts, "clock" | "folder">, sight: Sight, startedAtMs: number): End {
  const ending = (exitCode: number, reason: string, message: string, finishedAtMs: number): End["state"] => ({
    kind: "terminated",
    exitCode,
    reason,
    ...(message === "" ? {} : { message }),
    startedAtMs,
    finishedAtMs,
  });
  if (sight.kind === "ended") {
    const { code, atMs } = sight.exit;
    const message = readMessage(terminationLogIn(folder));
    return { state: ending(code, code === 0 ? "Completed" : "Error", message, atMs), vanished: false };
  }
  if (sight.kind === "unstarted")
    return { state: ending(128, "StartError", "/bin/sh did not start", clock.now()), vanished: false };
  const why = "The container could not be located when the node looked for it";
  return { state: ending(137, "ContainerStatusUnknown", why, clock.now()), vanished: true };
}

/** Resolves when the child has ended, or could not be started. */
const exitOf = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });

/** The command may have put anything in the file's place: nothing, a folder, or a pipe that never says anything. */
function readMessage(path: string): string {
  const bytes = Buffer.alloc(MESSAGE_BYTES_MOST);
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return bytes.subarray(0, readSync(file, bytes, 0, MESSAGE_BYTES_MOST, null)).toString();
  } catch {
    return ""; // as on a node: an unreadable message is no message
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
