/**
 * Runs one test file as a process of its own and reads its TAP.
 *
 * The bugs this prevents: a file that asserts nothing and counts as passed, a crash after the last assertion that nobody sees,
 * a hang that takes the whole run with it, and processes left behind. Each of them counts as a failure of the file.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { constants, setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Parser, type Result } from "tap-parser";
import { endAll, endProcess, leftovers, MARK } from "./leftovers.ts";

export interface FileResult {
  readonly path: string;
  readonly passed: number;
  readonly failures: readonly TestFailure[];
  readonly skipped: readonly string[];
  readonly ms: number;
}

export interface TestFailure {
  readonly name: string;
  /** The text for a person, without indentation. */
  readonly detail: string;
}

export interface RunFileOptions {
  readonly cwd: string;
  readonly boundMs: number;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** How long the processes that the file started may take to end after the file. */
  readonly leaveMs?: number;
  /** True if the file runs with low priority, so that everything else on the machine goes first. */
  readonly lowPriority?: boolean;
  /** Called for each assertion that passed. */
  readonly onPass?: () => void;
}

const KEPT_CHARACTERS = 20_000;
const LEAVE_MS = 3_000;

export async function runFile(
  path: string,
  { cwd, boundMs, env, signal, leaveMs = LEAVE_MS, lowPriority = false, onPass }: RunFileOptions,
): Promise<FileResult> {
  const began = performance.now();
  const mark = randomUUID();
  const tap = readTap(onPass);
  const child = spawn(process.execPath, [path], {
    cwd,
    // Raises tap's own bound, half a minute for each test, to the file's bound: a busy machine may need more than half a
    // minute.
    env: { TAP_TIMEOUT: String(Math.ceil(boundMs / 1000)), ...env, [MARK]: mark },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (lowPriority && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  const group = child.pid === undefined ? undefined : -child.pid;
  const end = () => {
    if (group !== undefined) endProcess(group);
    endAll(leftovers(mark));
  };

  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-KEPT_CHARACTERS)));
  child.stdout.setEncoding("utf8").on("data", (text: string) => tap.write(text));

  let late = false;
  const bound = setTimeout(() => {
    late = true;
    end();
  }, boundMs);
  signal.addEventListener("abort", end, { once: true });
  const ending = await new Promise<string>((done) => {
    child.on("error", (error) => done(`could not be started: ${error.message}`));
    child.on("exit", (code, killed) => done(code === 0 ? "" : code === null ? `was ended by ${killed}` : `exited with ${code}`));
  });
  clearTimeout(bound);
  signal.removeEventListener("abort", end);

  const left = await leave(mark, leaveMs);
  if (group !== undefined) endProcess(group);
  const { passed, failures, skipped, faults } = await tap.end();

  const problems = [...faults];
  if (late) problems.push(`took longer than ${boundMs / 1000} s and was ended`);
  else if (ending !== "" && !(failures.length > 0 && ending === "exited with 1")) problems.push(ending);
  if (passed + failures.length + skipped.length === 0) problems.push("asserted nothing");
  if (left.length > 0)
    problems.push(`left processes behind:\n${left.map((it) => `  ${it.pid} ${it.command.slice(0, 200)}`).join("\n")}`);
  const whole = problems.map((it) => ({
    name: "the file itself",
    detail: [it, stderr.trimEnd()].filter((text) => text !== "").join("\n"),
  }));
  return { path, passed, failures: [...failures, ...whole], skipped, ms: performance.now() - began };
}

/** Waits a moment for processes that were told to end. Then ends those that are left, and returns them. */
async function leave(mark: string, leaveMs: number): Promise<ReturnType<typeof leftovers>> {
  const until = performance.now() + leaveMs;
  let left = leftovers(mark);
  while (left.length > 0 && performance.now() < until) {
    await sleep(50);
    left = leftovers(mark);
  }
  endAll(left);
  return left;
}

function readTap(onPass: (() => void) | undefined) {
  const failures: TestFailure[] = [];
  const skipped: string[] = [];
  const faults: string[] = [];
  let passed = 0;
  let extra = "";
  const ended = Promise.withResolvers<void>();
  const parser = new Parser((results) => {
    for (const it of results.failures)
      if ("tapError" in it && typeof it.tapError === "string") faults.push(`its TAP is wrong: ${it.tapError}`);
    if (results.bailout !== false) faults.push(`bailed out: ${String(results.bailout)}`);
    ended.resolve();
  });
  // Counts single assertions only: the line that closes a subtest repeats its assertions' results.
  parser.on("result", (result: Result) => {
    if (result.skip !== false || result.todo !== false) skipped.push(`${result.fullname}: ${reasonOf(result)}`);
    else if (!result.ok) failures.push({ name: result.fullname, detail: detail(result) });
    else {
      passed++;
      onPass?.();
    }
  });
  parser.on("extra", (text: string) => (extra = (extra + text).slice(-KEPT_CHARACTERS)));
  return {
    write: (text: string) => parser.write(text),
    async end() {
      parser.end();
      await ended.promise;
      if (failures.length + faults.length > 0 && extra.trim() !== "") faults.push(`it also printed:\n${extra.trimEnd()}`);
      return { passed, failures, skipped, faults };
    },
  };
}

function reasonOf({ skip, todo }: Result): string {
  return typeof skip === "string" ? skip : typeof todo === "string" ? `todo, ${todo}` : "no reason given";
}

/** Returns the assertion's difference, then its place. tap's copy of the source lines adds nothing to the place. */
function detail({ diag }: Result): string {
  if (typeof diag !== "object" || diag === null) return "";
  const parts = ["diff", "found", "wanted", "error", "code", "stack"].flatMap((name) => {
    const value: unknown = Reflect.get(diag, name);
    if (value === undefined || value === null || value === "") return [];
    const text = (typeof value === "string" ? value : JSON.stringify(value, undefined, 2)).trimEnd();
    return [name === "diff" || name === "stack" ? text : `${name}: ${text}`];
  });
  return parts.join("\n");
}
