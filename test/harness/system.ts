/**
 * A whole Longshore of real processes for one fault test: Postgres, a broker, the pocket or real clusters, and launchers and
 * watchers that can be killed. Journals are kept outside these programs: the events that consumers received, the Jobs that the
 * cluster created, the rows that the ledger holds.
 *
 * The failure this prevents: a test that asks the program under test whether it did well.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openBroker } from "@longshore/broker/brokers.ts";
import type { Broker } from "@longshore/broker/port.ts";
import { type Child, startChild } from "@longshore/cli/embedded/child.ts";
import { INSTALLATION, writeConfig } from "@longshore/cli/embedded/home.ts";
import type { CommandType } from "@longshore/contract/messages/command.ts";
import { PREFIX, type ReceivedEvent, writeCommand } from "@longshore/contract/messages/envelope.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { Installation, RunId } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { type Attempt, isOpen } from "@longshore/domain/run/record.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { faultsOfHeard, heardOf } from "../judge/stories.ts";
import { faultsOfHistory } from "./history/check.ts";
import type { History } from "./history/journals.ts";
import { keepHistory } from "./history/keep.ts";
import type { TestCluster } from "./kubernetes/test-cluster.ts";
import { postgres, type TestPostgres } from "./servers/postgres.ts";
import { namespaceSite, pocketSite, type Before, type Site, type Through } from "./site.ts";
import { openJournal } from "./upstream.ts";

export interface SystemOptions {
  /** The broker's URL; default: a broker in the ledger's Postgres. */
  readonly brokerUrl?: string;
  /** Clusters with one namespace and our Roles in each, which become the groups "a", "b", and so on. Default: the pocket. */
  readonly clusters?: readonly TestCluster[];
  readonly accountsElsewhere?: boolean;
  /** Puts a proxy of the test's own before each of these: `(url) => proxied url`. The programs use it; the journals do not. */
  readonly through?: {
    readonly kubernetes?: Before;
    readonly broker?: Through;
    readonly ledger?: Through;
  };
  /** More of the launcher's settings: defaults, pace. */
  readonly launcher?: object;
  readonly instant?: boolean;
  readonly jobs?: number;
  /** What runs may use in each group. */
  readonly policy?: object;
  /** The annotation of Jobs that are prepared in each group's namespace. */
  readonly discover?: object | true;
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
  /** One site for each group. */
  readonly sites: readonly Site[];
  /** The first of `sites`. */
  readonly site: Site;
  launcher(env?: Readonly<Record<string, string>>, options?: { readonly eager?: boolean }): Promise<Child>;
  watcher(env?: Readonly<Record<string, string>>, options?: { readonly eager?: boolean }): Promise<Child>;
  /** Resolves when the broker has the command: it is published again until then, with the same id, as an application does. */
  command(type: CommandType, data: object, id?: string): Promise<void>;
  /** The events that a consumer received, in the order in which they came, repeats too. */
  readonly received: readonly ReceivedEvent[];
  /** Resolves when the terminal event of each of these runs was received. */
  ended(runs: readonly string[], withinMs?: number): Promise<void>;
  heard(type: string, run: string, withinMs?: number): Promise<ReceivedEvent>;
  until(what: string, ready: () => boolean | Promise<boolean>, withinMs?: number): Promise<void>;
  /** The POSTs of Jobs that the cluster answered with this status, from the cluster's own log. */
  created(status?: number): Promise<readonly Created[]>;
  /** The journals so far. */
  history(): Promise<History>;
  /** Notes that the group's cluster was put back to an earlier moment: some promises are weaker there. */
  restored(group: string): void;
  /** Waits until nothing is left to do, then returns everything that is wrong with what happened. A test wants none. */
  faults(runs: readonly string[], options?: { readonly withinMs?: number }): Promise<readonly string[]>;
}

/** A pace that is fast enough for tests: claims run out in two seconds, the tally runs every three. */
export const PACE = { claim: "2s", workLease: "1s", poll: "200ms", probe: "500ms", tally: "3s", partitionLease: "2s" };
const PATIENCE_MS = 60_000;

export async function openSystem(options: SystemOptions = {}): Promise<System> {
  await using parts = new AsyncDisposableStack();
  const home = await mkdtemp(path.join(tmpdir(), "longshore-system-"));
  parts.defer(() => rm(home, { recursive: true, force: true }));
  const database = parts.use(await postgres());
  const brokerUrl = options.brokerUrl ?? database.url;
  const { kubernetes, broker: toBroker, ledger: toLedger } = options.through ?? {};
  const sites: Site[] = [];
  for (const [at, cluster] of (options.clusters ?? []).entries())
    sites.push(
      await namespaceSite(home, {
        cluster,
        group: String.fromCodePoint(97 + at),
        through: kubernetes,
        accountsElsewhere: options.accountsElsewhere,
      }),
    );
  const site = sites[0] ?? (await pocketSite(parts, home, { instant: options.instant === true, through: kubernetes }));
  if (sites.length === 0) sites.push(site);
  const files = await writeConfig({
    home,
    brokerUrl: (await toBroker?.(brokerUrl)) ?? brokerUrl,
    ledgerUrl: (await toLedger?.(database.url)) ?? database.url,
    cluster: site.choice,
    others: sites.slice(1).map(({ choice }) => choice),
    jobs: options.jobs ?? 100,
    ...(options.policy && { policy: options.policy }),
    ...(options.discover && { discover: options.discover }),
    launcher: { pace: PACE, ...options.launcher },
  });

  const broker = parts.use(await openBroker({ url: brokerUrl, log: silentLog, clock }));
  const jobName = (): never => {
    throw new Error("a test begins no attempts itself");
  };
  const installation = Installation.parse(INSTALLATION);
  const ledger = parts.use(await openLedger({ url: database.url, installation, jobName, migrate: true, log: silentLog }));
  const journal = parts.use(await openJournal(brokerUrl));
  const history = parts.use(
    await keepHistory({ brokerUrl, ledgerUrl: database.url, sites, all: options.clusters !== undefined }),
  );
  const kept = parts.move();

  const child =
    (name: "launcher" | "watcher", config: string) =>
    async (env: Readonly<Record<string, string>> = {}, { eager = false }: { readonly eager?: boolean } = {}): Promise<Child> =>
      kept.use(await startChild(name, { config, env: { ...process.env, ...env }, eager }));

  const asked = new Set<string>(); // the runs of all tests that share this system: the judge must know their Jobs
  async function command(type: CommandType, data: object, id = `${type}/${crypto.randomUUID()}`): Promise<void> {
    const body = writeCommand({ id, source: "/tests", type, data } as Parameters<typeof writeCommand>[0]);
    const run = "run" in data ? String(data.run) : "";
    if (type === "run.requested") asked.add(run);
    const confirmed = history.sending({ id, source: "/tests", type, run, data });
    const sent = async (): Promise<boolean> => {
      try {
        return (await broker.publish("commands", { id, key: PREFIX + type, body }, new AbortController().signal)) === "stored";
      } catch (error) {
        if (isTransient(error)) return false;
        throw error;
      }
    };
    await until(`the broker's confirmation of ${type}`, sent);
    confirmed();
  }

  async function created(status = 201): Promise<readonly Created[]> {
    const asked = (await Promise.all(sites.map((it) => it.asked()))).flat();
    return asked
      .filter((it) => it.verb === "create" && it.resource === "jobs" && it.status === status)
      .map(({ name, atMs }) => ({ name, at: new Date(atMs).toISOString() }));
  }

  const ofRun = (run: string): readonly ReceivedEvent[] => journal.received.filter((it) => it.subject === run);
  const until: System["until"] = (what, ready, withinMs = PATIENCE_MS) => waitUntil(what, ready, withinMs, journal.received);
  const ended = (runs: readonly string[], withinMs = PATIENCE_MS): Promise<void> =>
    until(`the end of ${runs.length} runs`, () => runs.every((run) => ofRun(run).some(({ type }) => isTerminal(type))), withinMs);

  async function faults(runs: readonly string[], { withinMs = PATIENCE_MS } = {}): Promise<readonly string[]> {
    await ended(runs, withinMs);
    // If a create of an ended attempt may still land, the attempt keeps its hold until the fence has passed: such an attempt is
    // at rest.
    const left = new Set(runs);
    const quiet = async (): Promise<boolean> => {
      const { outbox, strays } = await ledger.counts();
      if (outbox > 0 || strays > 0) return false;
      for (const run of left) {
        const found = await ledger.find(RunId.parse(run));
        if (found?.record.attempts.every(isAtRest) !== true) return false;
        left.delete(run);
      }
      return true;
    };
    await until("everything to be released, published and swept", quiet, withinMs);
    const kept = await history.collect(); // waits for the broker to have shown what it confirmed, which the listener needs too
    const found = [
      ...runs.flatMap((run) => faultsOfHeard(run, ofRun(run).flatMap(heardOf))),
      ...(await missing([...asked.union(new Set(runs))], ledger)),
      ...faultsOfHistory(kept),
    ];
    const { overdue } = await ledger.counts();
    return overdue === 0 ? found : [...found, `${overdue} attempts are overdue`];
  }

  return {
    home, postgres: database, broker, ledger, sites, site, command, created, ended, faults, until,
    history: history.collect,
    restored: history.restored,
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

/** Returns the runs that the ledger does not know. Asks for one at a time: hundreds at once would wait too long to connect. */
async function missing(runs: readonly string[], ledger: Ledger): Promise<readonly string[]> {
  const unknown: string[] = [];
  for (const run of runs)
    if ((await ledger.find(RunId.parse(run))) === undefined) unknown.push(`${run}: the ledger does not know it`);
  return unknown;
}

const isAtRest = (attempt: Attempt): boolean => attempt.state === "done" || (attempt.state === "ended" && isOpen(attempt));

async function waitUntil(
  what: string,
  ready: () => boolean | Promise<boolean>,
  withinMs: number,
  received: readonly ReceivedEvent[],
): Promise<void> {
  for (const began = clock.now(); !(await ready()); await clock.sleep(50)) {
    if (clock.now() - began < withinMs) continue;
    const last = received.slice(-12).map(({ subject, sequence, type }) => `  ${subject} ${sequence} ${type}`);
    throw new Error(`${what} did not come within ${withinMs / 1000} s; the last events were\n${last.join("\n")}`);
  }
}
