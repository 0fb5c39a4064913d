/**
 * `npm test`: finds every test file, runs each as a process of its own, and says at once what failed.
 *
 *   node test/run.ts [unit] [simulation] [integration] [chaos] [kube] [path…]
 *
 * Without an argument all tiers run. A path, or a part of one, runs the files whose paths contain it. Unit tests share the
 * machine's cores. Files that start databases, brokers and clusters run a few at a time, and the simulation runs beside them.
 * Files that share a server get it from this process (runner/lender.ts). The last line is "N passed, N failed".
 */
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { LENDER } from "./harness/lending/borrow.ts";
import { findTests, TIERS, type TestFile, type Tier } from "./runner/find.ts";
import { type Lender, openLender } from "./runner/lender.ts";
import { missing, thisMachine } from "./runner/needs.ts";
import { type Preparing, prepare } from "./runner/prepare.ts";
import { type FileResult, runFile } from "./runner/run-file.ts";

const root = resolve(import.meta.dirname, "..");
const machine = await thisMachine();
const compiled = join(root, "node_modules/.cache/longshore-compiled");
const TICK_MS = 30_000;
/** Files that start servers spend most of their time waiting for them: four at once keep two cores busy. */
const SERVERS_AT_ONCE = 4;

async function main(words: readonly string[]): Promise<number> {
  const began = performance.now();
  const chosen = choose(findTests(root), words);
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort(new Error(name)));

  const results = await runTiers(chosen, stop.signal);
  if (stop.signal.aborted) say("stopped before the end");
  return summary(results, chosen.length, seconds(performance.now() - began)) && !stop.signal.aborted ? 0 : 1;
}

/**
 * The quick tier runs alone, so that its failures come first and at once. Then the other tiers run together: most of them wait
 * for servers, and the simulation computes meanwhile.
 */
async function runTiers(chosen: readonly TestFile[], signal: AbortSignal): Promise<FileResult[]> {
  // A server that this machine cannot have is not prepared: the files that need the server say so.
  const possible = chosen.filter((it) => whyNot(it) === undefined);
  const preparing = prepare(new Set(possible.flatMap(({ needs }) => needs)), root, signal);
  const of = (...tiers: readonly Tier[]): readonly TestFile[] => tiers.flatMap((tier) => chosen.filter((it) => it.tier === tier));
  await using lender = await openLender(chosen, async (what) => {
    const { startLent } = await import("./harness/lending/servers.ts"); // most runs of a few files borrow nothing
    return await startLent(what);
  });
  const run = (files: readonly TestFile[], atOnce: number): Promise<FileResult[]> =>
    runFiles(files, { atOnce, preparing, lender, signal });
  const quick = await run(of("unit"), availableParallelism());
  const slow = await Promise.all([
    run(of("simulation"), 1), // one file at a time, since it uses all cores
    run(of("integration", "chaos", "kube"), SERVERS_AT_ONCE),
  ]);
  return [...quick, ...slow.flat()];
}

function choose(files: readonly TestFile[], words: readonly string[]): readonly TestFile[] {
  if (words.length === 0) return files;
  const unknown = words.filter((word) => !files.some((it) => matches(it, word)));
  if (unknown.length > 0) say(`no test file for ${unknown.join(", ")}; the tiers are ${TIERS.join(", ")}`);
  return files.filter((it) => words.some((word) => matches(it, word)));
}

function matches({ tier, path }: TestFile, word: string): boolean {
  return TIERS.some((it) => it === word) ? tier === word : path.includes(word.replace(/^\.\//, ""));
}

interface Lanes {
  readonly atOnce: number;
  readonly preparing: Preparing;
  readonly lender: Lender;
  readonly signal: AbortSignal;
}

async function runFiles(files: readonly TestFile[], { atOnce, preparing, lender, signal }: Lanes): Promise<FileResult[]> {
  const results: FileResult[] = [];
  // The longest file starts first: a long one that starts last would have the machine to itself at the end. Files that share
  // servers follow each other, so that the servers can end.
  const sharing = ({ borrows }: TestFile): string => borrows.join(", ");
  const waiting = files.toSorted((one, other) => other.boundMs - one.boundMs || sharing(other).localeCompare(sharing(one)));
  /** Takes a file that can begin now before a file that still waits for a build. */
  function next(): TestFile | undefined {
    const at = waiting.findIndex(({ needs }) => preparing.isReady(needs));
    return waiting.splice(Math.max(0, at), 1)[0];
  }
  async function lane(): Promise<void> {
    for (let file = next(); file !== undefined && !signal.aborted; file = next()) {
      await preparing.before(file.needs);
      if (signal.aborted) return;
      results.push(await runOrSkip(file, lender.address, signal));
      await lender.over(file.borrows);
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane));
  return results;
}

const whyNot = ({ needs }: TestFile): string | undefined =>
  needs.map((need) => missing(need, machine)).find((it) => it !== undefined);

async function runOrSkip(file: TestFile, lender: string, signal: AbortSignal): Promise<FileResult> {
  const { path, tier, boundMs } = file;
  const why = whyNot(file);
  if (why !== undefined) {
    say(`skip   ${tier.padEnd(11)} ${path.padEnd(58)} ${why}`);
    return { path, passed: 0, failures: [], skipped: [why], ms: 0 };
  }
  const ticking = tick(path);
  const env = { ...process.env, NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? compiled, [LENDER]: lender };
  const lowPriority = tier === "simulation";
  const result = await runFile(path, { cwd: root, boundMs, env, signal, onPass: ticking.pass, lowPriority });
  ticking.stop();
  report(tier, result);
  return result;
}

function tick(path: string): { readonly pass: () => void; readonly stop: () => void } {
  const began = performance.now();
  let passed = 0;
  const timer = setInterval(() => say(`  …    ${path}: ${passed} passed so far, ${seconds(performance.now() - began)}`), TICK_MS);
  return { pass: () => void passed++, stop: () => clearInterval(timer) };
}

function report(tier: Tier, { path, passed, failures, skipped, ms }: FileResult): void {
  const counts = [`${passed} passed`, ...(failures.length > 0 ? [`${failures.length} failed`] : [])].join(", ");
  say(
    `${failures.length === 0 ? "ok    " : "FAILED"} ${tier.padEnd(11)} ${path.padEnd(58)} ${counts.padStart(11)} ${seconds(ms).padStart(7)}`,
  );
  for (const it of skipped) say(`       skipped: ${it}`);
  for (const { name, detail } of failures) say(`       × ${name}\n${detail.replaceAll(/^/gm, "         ")}`);
}

function summary(results: readonly FileResult[], files: number, took: string): boolean {
  const passed = sum(results, (it) => it.passed);
  const failed = sum(results, (it) => it.failures.length);
  const skipped = sum(results, (it) => it.skipped.length);
  if (failed > 0) say("");
  for (const { path, failures } of results) for (const { name } of failures) say(`failed: ${path}: ${name}`);
  say(`${results.length} of ${files} files in ${took}${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  say(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 && results.length === files;
}

function sum(results: readonly FileResult[], of: (result: FileResult) => number): number {
  return results.reduce((total, it) => total + of(it), 0);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
