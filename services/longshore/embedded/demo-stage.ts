/** The demo's stage: the parts, real processes for launchers and watcher, and ways to read back what happened. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openBroker } from "@longshore/broker/brokers.ts";
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import { readEvent } from "@longshore/contract/messages/envelope.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { withoutSettings } from "@longshore/runtime/config/config.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { type Child, inTime, startChild } from "./child.ts";
import { type DemoConsole, openConsole } from "./demo-console.ts";
import { say, screenIn, type Surroundings } from "../command.ts";
import { INSTALLATION, pocketIn, postgresIn, writeConfig } from "./home.ts";
import { commandOf } from "../checked-command.ts";
import { examplesDir } from "../commands/definitions.ts";
import { partLine, started } from "../commands/up.ts";
import { consoleConfig, readConfigs } from "./programs.ts";
import { wordOf } from "../terminal.ts";

export interface Heard {
  readonly type: string;
  readonly ms: number;
  readonly diagnosis: { readonly code: string; readonly sentence: string } | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Ran {
  readonly outcome: string;
  readonly words: string;
  readonly ms: number;
  readonly started: string;
}

export interface Stage extends AsyncDisposable {
  /** The demo's own web console. */
  readonly console: DemoConsole;
  publish(run: string, request: object): Promise<void>;
  run(run: string, request: object, on?: (event: Heard) => void): Promise<Ran>;
  /** Commands that the launchers recorded as duplicates, by their own metrics. */
  duplicates(): Promise<number>;
  untilDuplicates(count: number): Promise<number>;
  runsLike(prefix: string): Promise<number>;
  /** Creates that the cluster answered with 201, by its request log. */
  jobsLike(prefix: string): Promise<number>;
  /** Waits until no run keeps volumes. */
  untilVolumesGone(): Promise<{ readonly made: number; readonly left: number }>;
  killBetweenCreateAndRecord(
    run: string,
    request: object,
  ): Promise<{ readonly outcome: string; readonly jobs: number; readonly adoptedAfterMs: number }>;
  sum(): Promise<{ readonly runs: number; readonly jobs: number; readonly duplicateJobs: number; readonly unaccounted: number }>;
}

const PATIENCE_MS = 60_000;
const QUIET = { level: "silent", format: "json" } as const;

export async function openStage(home: string, surroundings: Surroundings): Promise<Stage> {
  const { signal } = surroundings;
  await using parts = new AsyncDisposableStack();
  const postgres = parts.use(await started(surroundings, "ledger", "a Postgres of its own", () => postgresIn(home)));
  say(surroundings, partLine("broker", "inside the ledger", screenIn(surroundings)));
  const requestLog = join(home, "requests.jsonl");
  const cluster = parts.use(
    await started(surroundings, "cluster", "the pocket", () => pocketIn(home, { requestLog, throwaway: true })),
  );
  const definitionsDir = examplesDir();
  const files = await writeConfig({
    home, brokerUrl: postgres.url, ledgerUrl: postgres.url, cluster,
    launcher: { defaults: { giveUpAfter: { ImageNotFound: "1s" } }, pace: { claim: "1s", poll: "200ms", tally: "2s", partitionLease: "2s" }, ...(definitionsDir !== undefined && { definitionsDir }) },
  }); // biome-ignore format: where, then how fast

  const program = (name: "launcher" | "watcher", config: string, env: Record<string, string> = {}): Promise<Child> =>
    startChild(name, { config, env: { ...withoutSettings(surroundings.env), ...env } });
  const launchers = await started(surroundings, "programs", "launcher ×2 and watcher, as processes", async () => {
    const both = [
      parts.use(await program("launcher", files.launcher)),
      parts.use(await program("launcher", files.launcher)),
    ] as const;
    parts.use(await program("watcher", files.watcher));
    return both;
  });

  const console = parts.use(
    await started(surroundings, "console", "on this machine alone", () =>
      openConsole(
        consoleConfig(
          { ...readConfigs(files, surroundings).launcher, log: QUIET },
          { brokerUrl: postgres.url, ledgerUrl: postgres.url },
        ),
      ),
    ),
  );
  const broker = parts.use(await openBroker({ url: postgres.url, log: silentLog, clock }));
  const jobName = (): never => {
    throw new Error("the demo begins no attempts itself");
  };
  const ledger = parts.use(
    await openLedger({
      url: postgres.url,
      installation: Installation.parse(INSTALLATION),
      jobName,
      migrate: false,
      log: silentLog,
    }),
  );
  const listening = new AbortController();
  parts.defer(() => listening.abort());
  const heard = await listen(listening.signal);
  const kept = parts.move();

  async function listen(stop: AbortSignal): Promise<Map<string, Listener>> {
    const listeners = new Map<string, Listener>();
    const events = await broker.follow("#", { inFlightMax: 64, signal: stop });
    void (async () => {
      for await (const delivery of events) {
        await delivery.ack();
        const read = readEvent(delivery.body);
        if (read.kind === "event" && read.event.subject !== undefined)
          listeners.get(read.event.subject)?.(read.event.type, read.event.data);
      }
    })();
    return listeners;
  }

  async function publish(run: string, request: object): Promise<void> {
    await broker.publish("commands", commandOf("run.requested", { run, ...request } as CommandInput<"run.requested">), signal);
  }

  async function run(id: string, request: object, on: (event: Heard) => void = () => {}): Promise<Ran> {
    const began = clock.now();
    const words: string[] = [];
    const end = Promise.withResolvers<Ran>();
    heard.set(id, (type, data) => {
      const ms = clock.now() - began;
      words.push(wordOf(type));
      on({ type, ms, data, diagnosis: data["diagnosis"] as Heard["diagnosis"] });
      if (!isTerminal(type)) return;
      const outputs = data["outputs"];
      const shown = outputs === undefined ? "" : ` ${JSON.stringify(outputs)}`;
      end.resolve({
        outcome: wordOf(type),
        words: words.join(" › ") + shown,
        ms,
        started: data["started"] === "no" || data["started"] === "unknown" ? data["started"] : "yes",
      });
    });
    await publish(id, request);
    return await inTime(end.promise, PATIENCE_MS, `the end of ${id}`, signal);
  }

  async function killBetweenCreateAndRecord(id: string, request: object) {
    const [first, second] = launchers;
    // Freezes the second launcher, and replaces the first by one that dies right after its create was answered.
    await first.stop();
    second.signal("SIGSTOP");
    await using doomed = await program("launcher", files.launcher, { LONGSHORE_FAILPOINT: "afterPost:kill" });
    let diedAt = 0;
    void doomed.ended.then(() => {
      diedAt = clock.now();
      second.signal("SIGCONT");
    });
    let adoptedAt = 0;
    const { outcome } = await run(id, request, ({ type }) => {
      if (type === "run.launched") adoptedAt = clock.now();
    });
    return { outcome, jobs: await jobsLike(id.replace("/", "-")), adoptedAfterMs: adoptedAt - diedAt };
  }

  async function created(resource: "jobs" | "persistentvolumeclaims"): Promise<readonly string[]> {
    const lines = (await readFile(requestLog, "utf8")).trim().split("\n");
    const requests = lines
      .filter((it) => it !== "")
      .map((it) => JSON.parse(it) as { method: string; path: string; name?: string; status: number });
    return requests
      .filter(({ method, path, status }) => method === "POST" && status === 201 && path.split("?")[0]?.endsWith(`/${resource}`))
      .map(({ name }) => name ?? "");
  }
  const jobsLike = async (prefix: string): Promise<number> =>
    (await created("jobs")).filter((name) => name.startsWith(prefix)).length;

  async function duplicates(): Promise<number> {
    const counts = await Promise.all(
      launchers.map(async (it) => metric(await it.metrics(), "longshore_commands_total", 'outcome="duplicate"')),
    );
    return counts.reduce((a, b) => a + b, 0);
  }

  async function untilVolumesGone() {
    const { anchors } = await until(
      () => ledger.counts(),
      (it) => it.anchors === 0,
      signal,
    );
    return { made: (await created("persistentvolumeclaims")).length, left: anchors };
  }

  async function runsLike(prefix: string) {
    return (await ledger.list({ most: 1000 })).filter(({ id }) => id.startsWith(prefix));
  }

  async function sum() {
    const jobs = await created("jobs");
    // Counts when nothing is left to do: every event is published, and every attempt is at rest.
    const counts = await until(
      () => ledger.counts(),
      (it) => it.outbox === 0 && it.overdue === 0 && it.strays === 0 && settled(it),
      signal,
    );
    const left = counts.outbox + counts.overdue + counts.strays;
    return {
      runs: (await runsLike("")).length,
      jobs: jobs.length,
      duplicateJobs: jobs.length - new Set(jobs).size,
      unaccounted: left,
    };
  }

  return {
    console, publish, run, duplicates, jobsLike, untilVolumesGone, sum, killBetweenCreateAndRecord,
    untilDuplicates: (count) => until(duplicates, (it) => it >= count, signal),
    runsLike: async (prefix) => (await runsLike(prefix)).length,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }; // biome-ignore format: names in one look
}

type Listener = (type: string, data: Readonly<Record<string, unknown>>) => void;

/** "ended" counts as rest: after the kill a create might still be on its way, so that Job's name stays taken for a while. */
const settled = ({ attempts }: Awaited<ReturnType<Ledger["counts"]>>): boolean =>
  Object.entries(attempts).every(([state, count]) => state === "ended" || count === 0);

function metric(text: string, name: string, having: string): number {
  const lines = text.split("\n").filter((line) => line.startsWith(name) && line.includes(having));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

async function until<T>(look: () => Promise<T>, enough: (it: T) => boolean, signal: AbortSignal): Promise<T> {
  for (const began = clock.now(); ; await clock.sleep(100, signal)) {
    const it = await look();
    if (enough(it) || clock.now() - began > PATIENCE_MS || signal.aborted) return it;
  }
}
