/**
 * A container's process under its shim (shim.sh), which outlives the pocket and writes how the process ended.
 *
 * The bugs this prevents: a process that nobody hears of any more because the pocket was killed, and a process of somebody else
 * that is signalled because it got the id of ours. Every process is known by its id and its birth, from the shim's own files.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, readFileSync, statSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Identity, isAlive, readIdentity } from "@longshore/runtime/birth.ts";

const SCRIPT = fileURLToPath(new URL("shim.sh", import.meta.url));

export interface ShimStart {
  readonly folder: string;
  readonly words: readonly string[];
  readonly cwd: string;
  readonly values: Readonly<Record<string, string>>;
  /** The descriptor of the log, opened for appending. */
  readonly log: number;
  /** True: the command ends with this process, however this process ends. */
  readonly leashed: boolean;
}

export interface Exit {
  readonly code: number;
  readonly atMs: number;
}

export type Sight =
  | { readonly kind: "unstarted" }
  | { readonly kind: "running"; readonly startedAtMs: number }
  | { readonly kind: "ended"; readonly startedAtMs: number; readonly exit: Exit }
  /** The shim is gone and left no exit code: the machine was restarted, or somebody killed the shim. */
  | { readonly kind: "vanished"; readonly startedAtMs: number };

/** A shim makes its file and writes into it. It may be looked for in between. */
const SHIM_WRITES_WITHIN_MS = 5_000;

/** The file in a container's folder for what its program says at its end. The shim finds its folder by it. */
export const terminationLogIn = (folder: string): string => join(folder, "termination-log");

/** Throws if the words cannot be executed: one of them holds a NUL. */
export function startShim({ folder, words, cwd, values, log, leashed }: ShimStart): ChildProcess {
  const all = { ...values, LONGSHORE_TERMINATION_LOG: terminationLogIn(folder) };
  const odd = Object.entries(all).filter(([name]) => isChangedByShells(name));
  if (odd.length > 0) {
    const assigned = odd.map(([name, value]) => quoted(`${name}=${value}`)).join(" ");
    writeFileSync(join(folder, "names"), `set -- /usr/bin/env ${assigned} "$@"\n`, { mode: 0o600 });
  }
  const child = spawn("/bin/sh", [SCRIPT, leashed ? "leashed" : "lasting", ...words], {
    cwd,
    env: Object.fromEntries(Object.entries(all).filter(([name]) => !isChangedByShells(name))),
    stdio: ["ignore", log, log, leashed ? "pipe" : "ignore"],
    detached: true,
  });
  // A pocket that has stopped may exit, although a process of its pods goes on.
  child.unref();
  const leash = child.stdio[3];
  if (leash instanceof Socket) leash.on("error", () => leash.destroy()).unref();
  return child;
}

/** Shells set these by themselves, and drop names that they could not write. */
const OF_SHELLS = /^(?:PWD|OLDPWD|SHLVL|_|IFS|PPID|OPTIND|OPTARG|LINENO|PS[0-4]|ENV|BASH.*|SHELLOPTS|POSIXLY_CORRECT|UID|EUID)$/;
const isChangedByShells = (name: string): boolean => OF_SHELLS.test(name) || !/^[A-Za-z_]\w*$/.test(name);
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The state of the container's process, by its folder and the system. */
export function lookAt(folder: string, nowMs: number): Sight {
  const file = join(folder, "shim");
  const startedAtMs = changedAtMs(file);
  if (startedAtMs === undefined) return { kind: "unstarted" };
  const shim = identityIn(folder, "shim");
  // An exit that is written between these two looks is found by the second.
  const runs = shim === undefined ? nowMs - startedAtMs < SHIM_WRITES_WITHIN_MS : isAlive(shim);
  const exit = exitIn(folder);
  if (exit !== undefined) return { kind: "ended", startedAtMs, exit };
  return { kind: runs ? "running" : "vanished", startedAtMs };
}

function exitIn(folder: string): Exit | undefined {
  const path = join(folder, "exit");
  const atMs = changedAtMs(path);
  const [, code] = /^(\d+)\n/.exec(read(path)) ?? [];
  return code === undefined || atMs === undefined ? undefined : { code: Number(code), atMs };
}

const changedAtMs = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.mtimeMs;

/**
 * Sends the signal to the command alone, as a kubelet does. Returns false if it was not sent: the command has not begun, has
 * ended, or belongs to another user (sudo).
 */
export function signalCommand(folder: string, signal: "SIGTERM" | "SIGKILL"): boolean {
  const command = identityIn(folder, "command");
  if (command === undefined || !isAlive(command)) return false;
  return send(command.pid, signal);
}

/**
 * Kills the shim and all that the command started. Does nothing if neither the shim nor the command is left, or if the shim was
 * killed before the command had written its file.
 */
export function killGroup(folder: string): void {
  const shim = identityIn(folder, "shim");
  const command = identityIn(folder, "command");
  const isCommandLeft = command !== undefined && isAlive(command);
  // The group keeps its id, which is the shim's, as long as one of the two is in it.
  if (shim !== undefined && (isAlive(shim) || isCommandLeft)) send(-shim.pid, "SIGKILL");
  // A command that has called setsid has left the group.
  if (isCommandLeft && !send(command.pid, "SIGKILL") && isAlive(command))
    process.emitWarning(`process ${command.pid} of ${folder} belongs to another user, so it cannot be ended and runs on`);
}

/** Returns false if there is no such process any more, or if it belongs to another user. */
function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["ESRCH", "EPERM"].includes(code)) throw error;
    return false;
  }
}

const identityIn = (folder: string, file: "shim" | "command"): Identity | undefined => readIdentity(read(join(folder, file)));

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it is not written yet
  }
}

/**
 * Why the program cannot be started, in words for the person who asked for it; `undefined` if it can. The shim's shell would only
 * end with 127 or 126, as a program may that ran.
 */
export function whyNotStarted(program: string, path: string, cwd: string): string | undefined {
  const named = JSON.stringify(program);
  if (!program.includes("/")) {
    const found = path.split(":").some((it) => isProgram(join(it === "" ? cwd : it, program)));
    return found ? undefined : `the pocket runs programs of this machine, and no folder of PATH has ${named}`;
  }
  const file = resolve(cwd, program);
  if (isProgram(file)) return undefined;
  const it = statSync(file, { throwIfNoEntry: false });
  if (it === undefined) return `the pocket runs programs of this machine, and here is no ${named}`;
  return it.isFile() ? `${named} may not be executed` : `${named} is no file`;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // it is not there, or may not be executed
  }
}

export const nodeFolder = dirname(process.execPath);
