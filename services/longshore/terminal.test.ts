import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Installation } from "@longshore/contract/ids.ts";
import { identityOf, writeIdentity } from "@longshore/runtime/birth.ts";
import t, { type Test } from "tap";
import type { Surroundings } from "./command.ts";
import { findLongshore, readRunning, type Running, writeRunning } from "./which-longshore.ts";
import { PIPE } from "./screen/screen.ts";
import { evidenceBeside, particulars, storyTable, wordOf, isWithoutCommand } from "./terminal.ts";

t.equal(wordOf("run.step.succeeded"), "step succeeded");

interface Case {
  readonly name: string;
  readonly type: string;
  readonly data: object;
  readonly simple?: boolean;
  readonly want: string;
}

const skipped = (group: string, why: string) => ({ group, verdict: "skipped", why });
const diagnosis = { code: "OutOfMemory", sentence: "It needed more." };
const cases: readonly Case[] = [
  { name: "no Job's name, which is long, and stands in the kubectl line", type: "run.launched", data: { job: { namespace: "jobs", name: "a-1" } }, want: "" },
  { name: "that it waits", type: "run.waiting", data: { reason: "GroupsFull" }, want: "GroupsFull" },
  { name: "for what it waits", type: "run.waiting", data: { reason: "NoGroup", considered: [skipped("prod", "No group has this name.")] }, want: "NoGroup: no group has this name (prod)" },
  { name: "for which earlier attempt it waits", type: "run.waiting", data: { reason: "EarlierAttempt", considered: [skipped("prod", "The Job of attempt 1 may still run there.")] }, want: "EarlierAttempt: the Job of attempt 1 may still run there (prod)" },
  { name: "in which line it waits", type: "run.waiting", data: { reason: "ConcurrencyLimit", considered: [], concurrency: { key: "export/1", limit: 2 } }, want: 'ConcurrencyLimit: of "export/1", 2 may go on at a time' },
  { name: "that there is no group to wait for", type: "run.waiting", data: { reason: "NoGroup", considered: [] }, want: "NoGroup: there is no group yet" },
  { name: "for which groups it waits, as many as a line holds", type: "run.waiting", data: { reason: "GroupsPaused", considered: ["a", "b", "c", "d", "e"].map((it) => skipped(it, "It is paused.")) },
    want: "GroupsPaused: it is paused (a); it is paused (b); it is paused (c); and 2 more" },
  { name: "why it is stuck, in a sentence", type: "run.stalled", data: { diagnosis }, want: "OutOfMemory: It needed more." },
  { name: "why it failed, in a word", type: "run.failed", data: { exitCode: 137, diagnosis }, want: "exit 137  OutOfMemory" },
  { name: "no exit code of a program that never ran", type: "run.failed", data: { exitCode: 128, diagnosis: { ...diagnosis, code: "StartError" } }, want: "StartError" },
  { name: "what came of it", type: "run.succeeded", data: { outputs: { n: 1 } }, want: '{"n":1}' },
  { name: "why a text is no output", type: "run.succeeded", data: { outputs: {}, outputsIgnored: "The termination message is not one JSON object." }, want: "no outputs: the termination message is not one JSON object" },
  { name: "nothing if nothing came of it", type: "run.succeeded", data: { outputs: {} }, want: "" },
  { name: "how many slices have ended", type: "run.progressed", data: { slices: { count: 9, succeeded: 4, failed: "" } }, want: "4 of 9 slices succeeded" },
  { name: "which slices failed, as many as a line holds", type: "run.succeeded", data: { slices: { count: 99, succeeded: 77, failed: Array.from({ length: 20 }, (_, at) => 2 * at).join() } }, want: "77 of 99 slices succeeded, failed: 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,…" },
  { name: "where a restart began", type: "run.restarted", data: { from: "load" }, want: "from load" },
  { name: "no `failed` of a run that may have been cancelled", type: "run.restarted", data: { from: "failed" }, want: "" },
  { name: "only what a restart from the failure corrected", type: "run.restarted", data: { from: "failed", corrected: ["image"] }, want: "corrected: image" },
  { name: "what a restart corrected", type: "run.restarted", data: { from: "start", corrected: ["image", "env.A"] }, want: "from start, corrected: image, env.A" },
  { name: "not more corrections than a line holds", type: "run.restarted", data: { from: "start", corrected: ["a", "b", "c", "d", "e", "f", "g"] }, want: "from start, corrected: a, b, c, d, e, 2 more" },
  { name: "which step, in a pipeline", type: "run.started", data: { step: "load", node: "n1" }, simple: false, want: "load  node n1" },
  { name: "no step if there is only one", type: "run.started", data: { step: "main", node: "n1" }, want: "node n1" },
  { name: "when it is tried again", type: "run.attempt.failed", data: { nextAttemptAt: "2030-01-01T09:08:07Z" }, want: "again at 2030-01-01 09:08:07Z" },
]; // biome-ignore format: a table is read down its columns

for (const { name, type, data, simple = true, want } of cases) t.equal(particulars(type, data, simple), want, name);

t.same(
  storyTable({ columns: 60, styled: false })(
    { sequence: 3, atMs: Date.UTC(2030, 0, 1), type: "run.failed", data: { exitCode: 3, diagnosis: { code: "ExitCode" } } },
    { sinceMs: Date.UTC(2030, 0, 1) - 461_000, simple: true },
  ),
  ["  #  2030-01-01  AFTER      EVENT", "  3  00:00:00Z   +7 m 41 s  failed     exit 3  ExitCode"],
  "a narrow terminal has room for the particulars",
);

t.test("tries that fail in the same way tell their sentence once, and not at all below the verdict", async (t) => {
  const failed = (sequence: number) => ({ sequence, atMs: 0, type: "run.attempt.failed", data: { diagnosis } });
  const lines = (verdict?: string) => {
    const lineOf = storyTable(PIPE, verdict);
    return [1, 2].flatMap((n) => lineOf(failed(n), { sinceMs: 0, simple: true })).filter((it) => it.includes("OutOfMemory"));
  };
  t.match(lines(), [/OutOfMemory: It needed more\.$/, /OutOfMemory$/]);
  t.match(lines("It needed more."), [/OutOfMemory$/, /OutOfMemory$/]);
});

for (const { name, request, want } of [
  { name: "an image alone", request: { run: "a", image: "nginx" }, want: true },
  { name: "an image with a command", request: { run: "a", image: "nginx", command: ["ls"] }, want: false },
  { name: "a definition, whose command is not in the request", request: { run: "a", definition: "greet" }, want: false },
]) // biome-ignore format: a table is read down its columns
  t.equal(isWithoutCommand(request as never), want, `without a command: ${name}`);

const job = "Job a-1: BackoffLimitExceeded: Job has reached the specified backoff limit";
for (const { name, sentence, evidence, want } of [
  { name: "nothing of the Job's limit beside the pod's own end", sentence: "It ended.", evidence: ["main: Error, exit code 3: no room", job], want: ["main: Error, exit code 3: no room"] },
  { name: "the Job's word where there is no other", sentence: "It ended.", evidence: [job], want: [job] },
  { name: "no exit code that the sentence has", sentence: "The program ended with exit code 3.", evidence: ["main: Error, exit code 3", job], want: [] },
  { name: "nothing that the sentence says", sentence: "It could not start: here is no x.", evidence: ["main: StartError, exit code 128: here is no x"], want: [] },
]) // biome-ignore format: a table is read down its columns
  t.same(evidenceBeside({ sentence, evidence }), want, `seen: ${name}`);

t.match(
  storyTable(PIPE)(
    { sequence: 4, atMs: 90_000, type: "run.succeeded", data: {} },
    { sinceMs: 60_000, simple: true, finishedMs: 20_000 },
  )[1],
  /00:01:00Z +\+0\.0 s +succeeded +told 30 s later$/,
  "an end is not shown before the event before it",
);

// ── Which Longshore is meant ─────────────────────────────────────────────────────────────────────────────────────────

async function folder(t: Test): Promise<{ readonly data: string; readonly surroundings: Surroundings }> {
  const cwd = await mkdtemp(join(tmpdir(), "longshore-place-"));
  t.teardown(() => rm(cwd, { recursive: true, force: true }));
  const surroundings = { out: () => undefined, env: {}, cwd, signal: new AbortController().signal };
  return { data: join(cwd, ".longshore"), surroundings };
}

/** The process that started this test, which lives as long as the test. */
const running: Running = {
  pid: process.ppid,
  installation: Installation.parse("local"),
  brokerUrl: "postgres://broker",
  ledgerUrl: "postgres://ledger",
  groupsFile: "groups.yaml",
};

t.test("finds the Longshore that runs from this folder, and no longer when it has stopped", async (t) => {
  const { data, surroundings } = await folder(t);
  const written = await writeRunning(data, running);
  t.match(await findLongshore({ config: undefined }, surroundings), {
    ledgerUrl: "postgres://ledger",
    broker: { url: "postgres://broker" },
  });
  await written[Symbol.asyncDispose]();
  await t.rejects(findLongshore({ config: undefined }, surroundings), /no running Longshore in this folder/);
});

t.test("where none runs, the folder that was looked in is named, and what to do if one runs elsewhere", async (t) => {
  const { surroundings } = await folder(t);
  await mkdir(join(surroundings.cwd, "config"));
  await writeFile(join(surroundings.cwd, "config/launcher.yaml"), "");
  const error: unknown = await findLongshore({ config: undefined }, surroundings).catch((error: unknown) => error);
  const said = error instanceof Error ? error.message : "";
  t.match(said, `in this folder, ${surroundings.cwd}. \`npm start\` in the folder of the checkout starts one.`);
  t.match(said, /If one runs elsewhere, go to its folder, or name its settings file: `--config FILE`\.$/);
});

for (const { name, text } of [
  {
    name: "a Longshore that was killed is not running, though its file is there",
    text: JSON.stringify({ ...running, pid: 2 ** 22 + 1 }),
  },
  {
    name: "a file of an earlier process that had our own number shows nothing running",
    text: JSON.stringify({ ...running, pid: process.pid }),
  },
  { name: "a file that a full disk cut off shows nothing running", text: '{"pid":' },
  { name: "a file that is no record shows nothing running", text: "[]" },
]) {
  t.test(name, async (t) => {
    const { data } = await folder(t);
    await writeRunning(data, running);
    await writeFile(join(data, "running.json"), text);
    t.equal(await readRunning(data), undefined);
  });
}

t.test(
  "says whether this folder's Longshore was stopped, was killed or is just starting, in three sentences at most",
  async (t) => {
    const { data, surroundings } = await folder(t);
    const says = async (text: RegExp) => {
      const error: unknown = await findLongshore({ config: undefined }, surroundings).catch((error: unknown) => error);
      const said = error instanceof Error ? error.message : "";
      t.match(said, text);
      t.match(said, /^([^.]|\.longshore|\.yaml)+\.( ([^.]|\.longshore|\.yaml)+\.){0,2}$/);
    };
    await says(/in this folder, \S+\. `npm start` in the folder of the checkout starts one\./);
    await mkdir(data);
    await writeFile(join(data, "key"), "");
    await says(/: it was stopped\. `npm start`, with the other options as before, goes on with its runs\./);
    await writeFile(join(data, "broker-url"), "amqp://ada:secret@mq:5672/shop");
    await says(/`npm start -- --broker amqp:\/\/mq:5672\/shop`, with its user and password and the other options as before/);
    await writeFile(join(data, "running.json"), JSON.stringify({ ...running, pid: 2 ** 22 + 1 }));
    await says(/: it was killed\./);
    const starting = identityOf(process.ppid);
    await writeFile(join(data, "pid"), starting === undefined ? "" : writeIdentity(starting));
    await says(/is just starting or stopping, as process \d+\./);
  },
);

t.test("its record holds passwords: nobody else may read it", async (t) => {
  const { data } = await folder(t);
  await writeRunning(data, running);
  const { mode } = await stat(join(data, "running.json"));
  t.equal(mode & 0o777, 0o600);
  t.match(JSON.parse(await readFile(join(data, "running.json"), "utf8")), { pid: process.ppid });
});
