/** Starts one of our services as a process of its own, waits until it is ready, and stops or kills it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { leash } from "@longshore/ledger/embedded-postgres.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";

export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Resolves with the exit code, or with the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** The last lines of its log. */
  readonly said: readonly string[];
  signal(name: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL if the process goes on. */
  stop(): Promise<void>;
  metrics(): Promise<string>;
}

export interface Starting {
  readonly config: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** If true, does not wait until the process is ready: the process may be meant to die before. */
  readonly eager?: boolean;
}

const READY_WITHIN_MS = 60_000;
const LINES_KEPT = 200;

export async function startChild(
  name: "launcher" | "watcher" | "recorder",
  { config, env, eager = false }: Starting,
): Promise<Child> {
  const main = fileURLToPath(new URL(`../../${name}/main.ts`, import.meta.url));
  const child = spawn(process.execPath, [main, "--config", config], {
    env: { ...env, LONGSHORE_LOG_FORMAT: "json" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  // However this process ends, the child must not go on alone.
  const leashed = child.pid === undefined ? undefined : leash(child.pid, "KILL");
  const ended = once(child, "exit").then(([code, signal]: unknown[]) => {
    leashed?.release();
    return (code ?? signal) as number | NodeJS.Signals;
  });
  const said: string[] = [];
  const health = Promise.withResolvers<string>();
  createInterface({ input: child.stderr }).on("line", (line) => {
    said.push(line);
    if (said.length > LINES_KEPT) said.shift();
    const { health: url } = parsed(line);
    if (url !== undefined) health.resolve(url);
  });
  void ended.then((how) =>
    health.reject(new Failure("halt", "Died", `the ${name} ended (${how}) before it was ready:\n${said.slice(-5).join("\n")}`)),
  );
  health.promise.catch(() => undefined); // perhaps nobody waits for this; `ended` tells of the death as well
  const stop = () => stopChild(child, ended);
  try {
    if (!eager) await inTime(health.promise, READY_WITHIN_MS, `a ready ${name}`);
  } catch (error) {
    await stop(); // whoever asked for it gets no child that could be stopped
    throw error;
  }
  return {
    pid: child.pid ?? 0,
    ended,
    said,
    stop,
    signal: (it) => void child.kill(it),
    metrics: async () => await (await fetch(`${await health.promise}/metrics`)).text(),
    [Symbol.asyncDispose]: stop,
  };
}

function parsed(line: string): { readonly health?: string } {
  try {
    return JSON.parse(line) as { health?: string };
  } catch {
    return {}; // Node's own words, not a line of the log
  }
}

async function stopChild(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGCONT");
  child.kill("SIGTERM");
  const callOff = clock.alarm(10_000, () => child.kill("SIGKILL"));
  await ended;
  callOff();
}

/** Waits for the promise. If it takes longer than `ms`, throws a Failure that names `what`. */
export async function inTime<T>(promise: Promise<T>, ms: number, what: string, signal?: AbortSignal): Promise<T> {
  const { promise: given, reject } = Promise.withResolvers<never>();
  const giveUp = (code: string, message: string) => reject(new Failure("halt", code, message));
  const stopped = () => giveUp("Stopped", "stopped");
  if (signal?.aborted) stopped();
  signal?.addEventListener("abort", stopped, { once: true });
  const callOff = clock.alarm(ms, () =>
    giveUp("TooSlow", `${what} did not come within ${ms / 1000} s: this machine may be very busy; try again`),
  );
  try {
    return await Promise.race([promise, given]);
  } finally {
    signal?.removeEventListener("abort", stopped);
    callOff();
  }
}
