/**
 * One container as one local process, in a folder and a process group of its own.
 *
 * It isolates nothing: the process is an ordinary process of this machine, with this machine's files and network. Two things of
 * a real container are replaced. Its termination log is a private file, whose path is in `LONGSHORE_TERMINATION_LOG` and
 * replaces `/dev/termination-log` in the command. Its working directory lies in its own folder: "/data" becomes
 * "<folder>/data".
 *
 * The bug this prevents: a process that outlives its container. When the first process ends, its whole group is killed, as a
 * container's other processes are.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readSync, closeSync, openSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ContainerState } from "../api.ts";
import { wordsOf } from "./command.ts";
import { killGroup, notePid } from "./leftovers.ts";
import { type LogFile, openLogFile } from "./logfile.ts";
import type { Container } from "../objects.ts";

export interface ContainerProcess {
  readonly log: LogFile;
  readonly startedAtMs: number;
  /** Resolves when the process, its group and its output have ended. Never rejects. */
  readonly ended: Promise<ContainerState>;
  /** SIGTERM now and SIGKILL after the grace. */
  stop(graceSeconds: number): void;
}

export interface ContainerParts {
  readonly clock: Clock;
  readonly container: Container;
  readonly folder: string;
  readonly values: Readonly<Record<string, string>>;
  readonly logBytesMost: number;
}

const MESSAGE_BYTES_MOST = 4_096;
const OUTPUT_WAIT_MS = 1_000;

export function runContainer(parts: ContainerParts): ContainerProcess {
  const { clock, container, folder, values } = parts;
  const terminationLog = join(folder, "termination-log");
  const cwd = join(folder, "root", resolve("/", container.workingDir ?? "."));
  mkdirSync(cwd, { recursive: true });
  writeFileSync(terminationLog, "");
  const log = openLogFile(join(folder, "log"), parts.logBytesMost);
  const startedAtMs = clock.now();
  const [program, ...words] = wordsOf(container, values, terminationLog);
  if (container.command === undefined || container.command.length === 0 || program === undefined) {
    log.write(Buffer.from("The pocket runs commands, not images: this container has no command, so it ends at once.\n"));
    return endedAtOnce(ending(0, "Completed", ""));
  }
  const begun = start(program, words, cwd, { ...values, LONGSHORE_TERMINATION_LOG: terminationLog });
  if (typeof begun === "string") return endedAtOnce(ending(128, "StartError", begun));
  const child = begun;
  const { pid } = child;
  if (pid !== undefined) notePid(folder, pid);
  const kill = (): void => (pid === undefined ? undefined : killGroup(pid));
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => log.write(bytes));
  const over = new AbortController();

  function endedAtOnce(state: ContainerState): ContainerProcess {
    log.close();
    return { log, startedAtMs, ended: Promise.resolve(state), stop: () => undefined };
  }

  function ending(exitCode: number, reason: string, message: string, signal?: number): ContainerState {
    const said = message === "" ? {} : { message };
    const by = signal === undefined ? {} : { signal };
    return { kind: "terminated", exitCode, ...by, reason, ...said, startedAtMs, finishedAtMs: clock.now() };
  }

  async function follow(): Promise<ContainerState> {
    const exit = await exitOf(child);
    over.abort();
    kill();
    await outputOf(child, clock);
    log.close();
    if (exit.kind === "unstarted") return ending(128, "StartError", `exec: ${JSON.stringify(program)}: ${exit.why}`);
    const { code } = exit;
    const message = readMessage(terminationLog);
    return ending(code, code === 0 ? "Completed" : "Error", message, exit.signal);
  }

  function stop(graceSeconds: number): void {
    if (graceSeconds === 0) return kill();
    child.kill("SIGTERM");
    void clock.sleep(graceSeconds * 1000, over.signal).then(() => {
      if (!over.signal.aborted) kill();
    });
  }

  return { log, startedAtMs, ended: follow(), stop };
}

/** Returns a sentence if the words cannot be executed: one of them holds a NUL. */
function start(program: string, words: readonly string[], cwd: string, values: Readonly<Record<string, string>>) {
  // The folder of this Node comes first, so that a command may say "node" on a machine without one.
  const path = `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
  try {
    return spawn(program, words, {
      cwd,
      env: { PATH: path, HOME: cwd, ...values },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
  } catch (error) {
    return `exec: ${JSON.stringify(program)}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

type Exit =
  | { readonly kind: "unstarted"; readonly why: string }
  | { readonly kind: "ended"; readonly code: number; readonly signal?: number };

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) =>
      resolve({ kind: "unstarted", why: error.code === "ENOENT" ? "executable file not found in $PATH" : error.message }),
    );
    child.once("exit", (code, signal) => {
      const number = signal === null ? undefined : constants.signals[signal];
      resolve({
        kind: "ended",
        code: number === undefined ? (code ?? 0) : 128 + number,
        ...(number === undefined ? {} : { signal: number }),
      });
    });
  });
}

/**
 * Reads the output that was written before the end. A process that left its group and keeps the pipe open is not waited for.
 */
async function outputOf(child: ChildProcess, clock: Clock): Promise<void> {
  const read = new AbortController();
  const closed = new Promise<void>((resolve) => {
    if (child.stdout?.closed !== false && child.stderr?.closed !== false) return resolve();
    child.once("close", () => resolve());
  });
  await Promise.race([closed, clock.sleep(OUTPUT_WAIT_MS, read.signal)]);
  read.abort();
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function readMessage(path: string): string {
  const bytes = Buffer.alloc(MESSAGE_BYTES_MOST);
  const file = openSync(path, "r");
  try {
    return bytes.subarray(0, readSync(file, bytes, 0, MESSAGE_BYTES_MOST, 0)).toString();
  } finally {
    closeSync(file);
  }
}
