/**
 * A whole Longshore of real processes for one fault test: Postgres, a broker, the pocket, launchers and watchers that can be
 * killed, and journals kept by others than they: what consumers received, what the cluster created, what the ledger holds.
 *
 * The failure this prevents: a test that asks the program under test whether it did well.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { openBroker } from "@longshore/broker/open.ts";
import type { Broker } from "@longshore/broker/port.ts";
import { type Child, startChild } from "@longshore/cli/child.ts";
import { INSTALLATION, NAMESPACE, writeConfig } from "@longshore/cli/home.ts";
import type { CommandType } from "@longshore/contract/command.ts";
import { PREFIX, type ReceivedEvent, readEvent, writeCommand } from "@longshore/contract/envelope.ts";
import { isTerminal } from "@longshore/contract/event.ts";
import { Installation, RunId } from "@longshore/contract/ids.ts";
import { isOpen } from "@longshore/domain/run/record.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { postgres, type TestPostgres } from "./postgres.ts";

export interface SystemOptions {
  /** The broker's URL; kept in the ledger's Postgres unless told. */
  readonly brokerUrl?: string;
  /** Puts something of the test's own between: `(url) => proxied url`. For the programs only, not for the journals. */
  readonly through?: {
    readonly kubernetes?: (url: string) => Promise<string>;
    readonly broker?: (url: string) => Promise<string>;
    readonly ledger?: (url: string) => Promise<string>;
  };
  /** Beside the launcher's settings: defaults, pace. */
  readonly launcher?: object;
  readonly instant?: boolean;
  readonly jobs?: number;
}

export interface Created {
  readonly name: string;
  readonly at: string;
}

export interface System extends AsyncDisposable {
  readonly home: string;
  readonly postgres: TestPostgres;
  readonly broker: Broker;
  readonly ledger: Ledger;
  readonly pocket: { readonly url: string; readonly token: string };
  launcher(env?: Readonly<Record<string, string>>, options?: { readonly eager?: boolean }): Promise<Child>;
  watcher(env?: Readonly<Record<string, string>>, options?: { readonly eager?: boolean }): Promise<Child>;
  command(type: CommandType, data: object, id?: string): Promise<void>;
  /** What a consumer received, repeats too, in the order it came. */
  readonly received: readonly ReceivedEvent[];
  /** Resolves when each of these runs' terminal events was received. */
  ended(runs: readonly string[], withinMs?: number): Promise<void>;
  heard(type: string, run: string, withinMs?: number): Promise<ReceivedEvent>;
  /** POSTs of Jobs that the cluster answered with 201, from its own log. */
  created(): Promise<readonly Created[]>;
  /** Waits until nothing is left to do, then everything that is wrong with what happened; none is the wanted answer. */
  faults(runs: readonly string[], options?: { readonly withinMs?: number }): Promise<readonly string[]>;
}

/** Fast enough for tests: a claim that runs out, a tally that looks. */
const PACE = { claim: "2s", hold: "1s", poll: "200ms", probe: "500ms", tally: "3s", lease: "2s" };
const PATIENCE_MS = 60_000;

export async function openSystem(options: SystemOptions = {}): Promise<System> {
  await using parts = new AsyncDisposableStack();
  const home = await mkdtemp(path.join(tmpdir(), "longshore-system-"));
  parts.defer(() => rm(home, { recursive: true, force: true }));
  const database = parts.use(await postgres());
  const brokerUrl = options.brokerUrl ?? database.url;
  const requestLog = path.join(home, "requests.jsonl");
  const pocket = parts.use(await startPocketProcess(home, requestLog, options.instant === true));

  const tokenFile = path.join(home, "token");
  await writeFile(tokenFile, pocket.token, { mode: 0o600 });
  const { kubernetes, broker: toBroker, ledger: toLedger } = options.through ?? {};
  const server = (await kubernetes?.(pocket.url)) ?? pocket.url;
  const files = await writeConfig({
    home,
    brokerUrl: (await toBroker?.(brokerUrl)) ?? brokerUrl,
    ledgerUrl: (await toLedger?.(database.url)) ?? database.url,
    cluster: { name: "pocket", namespace: NAMESPACE, cluster: { server }, launch: { tokenFile }, watch: { tokenFile } },
    jobs: options.jobs ?? 100,
    launcher: { pace: PACE, ...options.launcher },
  });

  const broker = parts.use(await openBroker({ url: brokerUrl, log: silentLog, clock }));
  const jobName = (): never => {
    throw new Error("a test begins no attempts itself");
  };
  const installation = Installation.parse(INSTALLATION);
  const ledger = parts.use(await openLedger({ url: database.url, installation, jobName, migrate: true, log: silentLog }));
  const journal = await listen(broker);
  parts.defer(journal.stop);
  const kept = parts.move();

  const child =
    (name: "launcher" | "watcher", config: string) =>
    async (env: Readonly<Record<string, string>> = {}, { eager = false }: { readonly eager?: boolean } = {}): Promise<Child> =>
      kept.use(await startChild(name, { config, env: { ...process.env, ...env }, eager }));

  async function command(type: CommandType, data: object, id = `${type}/${crypto.randomUUID()}`): Promise<void> {
    const body = writeCommand({ id, source: "/tests", type, data } as Parameters<typeof writeCommand>[0]);
    await broker.publish("commands", { id, key: PREFIX + type, body }, new AbortController().signal);
  }

  async function created(): Promise<readonly Created[]> {
    const lines = (await readFile(requestLog, "utf8")).split("\n").filter((line) => line.endsWith("}"));
    const requests = lines.map(
      (line) => JSON.parse(line) as { method: string; path: string; name?: string; status: number; time?: string },
    );
    return requests
      .filter((it) => it.method === "POST" && it.status === 201 && /\/jobs(\?|$)/.test(it.path))
      .map((it) => ({ name: it.name ?? "", at: it.time ?? "" }));
  }

  const ofRun = (run: string): readonly ReceivedEvent[] => journal.received.filter((it) => it.subject === run);
  const until = (what: string, ready: () => boolean | Promise<boolean>, withinMs: number): Promise<void> =>
    waitUntil(what, ready, withinMs, journal);
  const ended = (runs: readonly string[], withinMs = PATIENCE_MS): Promise<void> =>
    until(`the end of ${runs.length} runs`, () => runs.every((run) => ofRun(run).some(({ type }) => isTerminal(type))), withinMs);

  async function faults(runs: readonly string[], { withinMs = PATIENCE_MS } = {}): Promise<readonly string[]> {
    await ended(runs, withinMs);
    // An ended attempt of which a create may still land keeps its hold until the fence has passed: that is rest, not work.
    const quiet = async () => {
      const { outbox, strays } = await ledger.counts();
      if (outbox > 0 || strays > 0) return false;
      const records = await Promise.all(runs.map((run) => ledger.find(RunId.parse(run))));
      return records.every((it) =>
        it?.record.attempts.every((attempt) => attempt.state === "done" || (attempt.state === "ended" && isOpen(attempt))),
      );
    };
    await until("everything to be released, published and swept", quiet, withinMs);
    const found = [
      ...runs.flatMap((run) => faultsOfStory(run, ofRun(run))),
      ...(await faultsOfJobs(runs, ledger, await created())),
    ];
    const { overdue } = await ledger.counts();
    return overdue === 0 ? found : [...found, `${overdue} attempts are overdue`];
  }

  return {
    home, postgres: database, broker, ledger, pocket, command, created, ended, faults,
    received: journal.received,
    launcher: child("launcher", files.launcher),
    watcher: child("watcher", files.watcher),
    async heard(type, run, withinMs = PATIENCE_MS) {
      await until(`${type} of ${run}`, () => ofRun(run).some((it) => it.type === type), withinMs);
      return ofRun(run).find((it) => it.type === type) as ReceivedEvent;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }; // biome-ignore format: names in one look
}

/** One terminal event a generation, a dense sequence, every repeat the same event: judged by what a consumer received. */
function faultsOfStory(run: string, events: readonly ReceivedEvent[]): readonly string[] {
  const byId = new Map<string, ReceivedEvent>();
  const found: string[] = [];
  for (const event of events) {
    const before = byId.get(event.id);
    if (before !== undefined && (before.type !== event.type || before.sequence !== event.sequence))
      found.push(`${run}: one id for two events: ${before.type}, ${event.type}`);
    byId.set(event.id, event);
  }
  const story = [...byId.values()].toSorted((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0));
  const gap = story.findIndex(({ sequence }, at) => sequence !== at + 1);
  if (gap >= 0)
    found.push(`${run}: the sequence is not dense: ${story.map(({ sequence, type }) => `${sequence} ${type}`).join(", ")}`);
  const firsts = events
    .filter(({ id }, at) => events.findIndex((it) => it.id === id) === at)
    .map(({ sequence }) => sequence ?? 0);
  if (firsts.some((sequence, at) => at > 0 && sequence < (firsts[at - 1] ?? 0)))
    found.push(`${run}: told out of order: ${firsts.join(" ")}`);
  for (const generation of new Set(story.map((it) => it.generation))) {
    const ends = story.filter((it) => it.generation === generation && isTerminal(it.type));
    if (ends.length !== 1) found.push(`${run}: ${ends.length} terminal events in generation ${generation}`);
    if (ends.length === 1 && story.filter((it) => it.generation === generation).at(-1) !== ends[0])
      found.push(`${run}: something was told after its end`);
  }
  return found;
}

/** At most one Job per attempt, by the cluster's own log; and no Job that no attempt asked for. */
async function faultsOfJobs(runs: readonly string[], ledger: Ledger, created: readonly Created[]): Promise<readonly string[]> {
  const records = await Promise.all(runs.map((run) => ledger.find(RunId.parse(run))));
  const missing = runs.filter((_, at) => records[at] === undefined).map((run) => `${run}: the ledger does not know it`);
  const names = new Set(records.flatMap((it) => it?.record.attempts.map(({ name }) => name) ?? []));
  const counts = Map.groupBy(created, ({ name }) => name);
  const surplus = [...counts].flatMap(([name, posts]) =>
    posts.length > 1 ? [`${posts.length} creates of ${name} were answered 201`] : [],
  );
  const strangers = [...counts.keys()]
    .filter((name) => !names.has(name))
    .map((name) => `${name} was created, and no attempt has that name`);
  return [...missing, ...surplus, ...strangers];
}

interface Journal {
  readonly received: readonly ReceivedEvent[];
  readonly stop: () => Promise<void>;
}

async function listen(broker: Broker): Promise<Journal> {
  const stop = new AbortController();
  const received: ReceivedEvent[] = [];
  const events = await broker.follow("#", { inFlightMax: 256, signal: stop.signal });
  const reading = (async () => {
    for await (const delivery of events) {
      const read = readEvent(delivery.body);
      if (read.kind === "event") received.push(read.event);
      await delivery.ack();
    }
  })();
  const ended = async () => {
    stop.abort();
    await reading;
  };
  return { received, stop: ended };
}

async function waitUntil(
  what: string,
  ready: () => boolean | Promise<boolean>,
  withinMs: number,
  { received }: Journal,
): Promise<void> {
  for (const began = clock.now(); !(await ready()); await clock.sleep(50)) {
    if (clock.now() - began < withinMs) continue;
    const last = received.slice(-12).map(({ subject, sequence, type }) => `  ${subject} ${sequence} ${type}`);
    throw new Error(`${what} did not come within ${withinMs / 1000} s; the last events were\n${last.join("\n")}`);
  }
}

export interface PocketProcess extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
  readonly token: string;
}

/** The pocket in a process of its own, which ends with ours. */
export async function startPocketProcess(home: string, requestLog: string, instant: boolean): Promise<PocketProcess> {
  const main = fileURLToPath(new URL("../../packages/pocket/main.ts", import.meta.url));
  const flags = ["--data", path.join(home, "pocket"), "--request-log", requestLog, ...(instant ? ["--instant"] : [])];
  const child = spawn(process.execPath, [main, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const last = () => child.kill("SIGKILL");
  process.once("exit", last);
  process.once("SIGTERM", () => process.exit(143)); // so that what we started ends with us
  const gone = once(child, "exit");
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    gone.then(() => Promise.reject(new Error("the pocket ended before it was ready"))),
  ])) as [string];
  const { url, token } = JSON.parse(line) as { url: string; token: string };
  return {
    pid: child.pid ?? 0,
    url,
    token,
    async [Symbol.asyncDispose]() {
      process.removeListener("exit", last);
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await gone;
    },
  };
}
