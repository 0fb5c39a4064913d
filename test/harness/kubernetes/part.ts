/**
 * One server program of a test's cluster: started, stopped, killed and frozen by its process id and nothing else.
 *
 * The failure this prevents: a server that outlives its test and holds a port, a core or a folder. The server ends with the
 * process that started it, even if that process is killed. Signals go to its whole process group, because the program may be
 * behind another one, such as nsenter, that passes no signals on. Its output goes to a file; if it dies, the error has the last
 * lines.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, leash } from "@longshore/ledger/embedded-postgres.ts";
import { processesOfGroup, untilStopped } from "../servers/processes.ts";

export interface Part {
  readonly pid: number | undefined;
  /** Sends SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  kill(): Promise<void>;
  /** Resolves when the server is ready. */
  start(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

export interface PartOptions {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Throws or returns false while the server is not ready. */
  readonly ready: () => Promise<boolean>;
}

/** A server whose port nobody else has to know gets one at each start: one that was free a while ago may be taken by then. */
export type Starting = Omit<PartOptions, "args" | "ready"> & {
  readonly on: (port: number) => Pick<PartOptions, "args" | "ready">;
};

const READY_WITHIN_MS = 120_000; // enough on two cores that others use too
const STOP_WITHIN_MS = 20_000;
const ASK_EVERY_MS = 50;
/** All parts are Go programs and start often, so they may use more memory to spend less time on garbage collection. */
const GARBAGE = { GOGC: "400" };

export function part(options: PartOptions | Starting): Part {
  const { name } = options;
  let child: ChildProcess | undefined;

  const running = (): ChildProcess & { readonly pid: number } => {
    if (child?.pid === undefined || hasEnded(child)) throw new Error(`${name} is not running`);
    return child as ChildProcess & { readonly pid: number };
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || hasEnded(child)) return;
    const gone = once(child, "exit");
    const group = await processesOfGroup(child.pid ?? 0);
    send(child, "SIGCONT"); // a frozen process would not act on the signal
    send(child, signal);
    const late = setTimeout(() => child !== undefined && send(child, "SIGKILL"), STOP_WITHIN_MS);
    await gone;
    clearTimeout(late);
    if (signal === "SIGKILL") await untilStopped(group);
  };

  return {
    get pid() {
      return child !== undefined && !hasEnded(child) ? child.pid : undefined;
    },
    start: async () => {
      if (child !== undefined && !hasEnded(child)) return;
      child = await started("on" in options ? { ...options, ...options.on(await freePort()) } : options);
    },
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    freeze: async () => {
      const frozen = running();
      send(frozen, "SIGSTOP");
      await untilStopped(await processesOfGroup(frozen.pid));
    },
    thaw: () => Promise.resolve(send(running(), "SIGCONT")),
  };
}

function send({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // the process has just ended by itself
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

async function started({ name, program, args, logFile, env, ready }: PartOptions): Promise<ChildProcess> {
  await using log = await open(logFile, "a");
  const child = spawn(program, args, {
    stdio: ["ignore", log.fd, log.fd],
    detached: true, // a Ctrl-C in the terminal must not reach the parts: we end them in order
    env: { ...process.env, ...GARBAGE, ...env },
  });
  await once(child, "spawn");
  const leashed = leash(-(child.pid ?? 0), "KILL");
  child.once("exit", () => leashed.release());
  for (const began = performance.now(); ; await sleep(ASK_EVERY_MS)) {
    if (hasEnded(child)) throw new Error(`${name} ended before it was ready:\n${await lastLines(logFile)}`);
    if (await ready().catch(() => false)) return child;
    if (performance.now() - began < READY_WITHIN_MS) continue;
    send(child, "SIGKILL");
    throw new Error(`${name} was not ready within ${READY_WITHIN_MS / 1000} s:\n${await lastLines(logFile)}`);
  }
}

async function lastLines(file: string): Promise<string> {
  const text = await readFile(file, "utf8");
  return text.trimEnd().split("\n").slice(-25).join("\n");
}
