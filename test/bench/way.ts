/**
 * The way of one message: the launcher's modules that execute between a published `run.requested` and its `run.launched` event
 * at a consumer. A newcomer who follows the message has to read these files, so their number measures the code.
 *
 * One run says little: a loop that wakes once a second may or may not wake during it. So several runs are followed, one at a
 * time:
 *
 *   executed   the modules that execute in every run
 *   sometimes  the modules that execute in some of the runs only: periodic loops, and work that may end after the event
 *   notAtRest  those of `executed` that do not execute while the launcher has nothing to do
 *
 * Only code that runs is counted. Loading a module is not, since the launcher has loaded all of them before the first run. A
 * file that holds nothing but schemas or types is not counted either: zod runs the schemas.
 */
import path from "node:path";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { pocketCluster } from "./parts/bench-cluster.ts";
import { openCoverage } from "./parts/coverage.ts";
import { type BrokerKind, openStage } from "./parts/stage.ts";
import { openUpstream, type Upstream } from "./parts/upstream.ts";

export interface WayOptions {
  readonly runs: number;
  readonly broker: BrokerKind;
  readonly say: (sentence: string) => void;
}

const ROOT = path.resolve(import.meta.dirname, "../..");
const WARM_UP = 5;
const LAUNCHED_WITHIN_MS = 60_000;
/** After an event the launcher needs this time for the rest of its work: the outbox's row, the delivery's ack. */
const SETTLE_MS = 1_000;
/** Longer than the launcher's polls (1 s), probes (10 s) and looks (15 s), so that each has its turn. */
const REST_MS = 20_000;
/** The packages in the order of their imports, from the contract to the launcher. */
const ROOMS = ["contract", "domain", "runtime", "broker", "kubernetes", "ledger", "launcher"];

export async function way({ runs, broker, say }: WayOptions): Promise<object> {
  say(`starting ${broker === "rabbitmq" ? "RabbitMQ, " : ""}Postgres, the pocket and a launcher …`);
  const parts = { broker, cluster: pocketCluster, watcher: false, jobs: WARM_UP + runs, profile: undefined, inspect: true };
  await using stage = await openStage(parts);
  await using upstream = await openUpstream(stage.brokerUrl);
  await using coverage = await openCoverage(stage.launcher.said, ROOT);
  for (let n = 1; n <= WARM_UP; n++) await launched(upstream, `warm-up/${n}`);

  const since = async (work: () => Promise<void>): Promise<ReadonlySet<string>> => {
    await clock.sleep(SETTLE_MS);
    await coverage.taken();
    await work();
    return await coverage.taken();
  };
  say(`${REST_MS / 1000} s at rest …`);
  const rest = await since(() => clock.sleep(REST_MS));
  say(`${runs} runs, one at a time …`);
  const ways: ReadonlySet<string>[] = [];
  for (let n = 1; n <= runs; n++) ways.push(await since(() => launched(upstream, `way/${n}`)));

  const all = [...new Set(ways.flatMap((it) => [...it]))].toSorted(byRoom);
  const [executed, sometimes] = [true, false].map((want) => all.filter((it) => ways.every((one) => one.has(it)) === want));
  return figuresOf({ broker: stage.product, runs, executed, sometimes, rest }, say);
}

interface Found {
  readonly broker: string;
  readonly runs: number;
  readonly executed: readonly string[] | undefined;
  readonly sometimes: readonly string[] | undefined;
  readonly rest: ReadonlySet<string>;
}

function figuresOf({ broker, runs, executed = [], sometimes = [], rest }: Found, say: WayOptions["say"]): object {
  const notAtRest = executed.filter((it) => !rest.has(it));
  for (const it of executed) say(`  ${it}${rest.has(it) ? "   (also at rest)" : ""}`);
  for (const it of sometimes) say(`  ${it}   (in some runs only)`);
  const byPart: Record<string, number> = {};
  for (const it of executed) byPart[partOf(it)] = (byPart[partOf(it)] ?? 0) + 1;
  say(`${executed.length} modules execute in each of ${runs} runs; ${notAtRest.length} of them do not execute at rest`);
  return {
    bench: "way",
    cluster: "the pocket",
    broker,
    runs,
    executed: executed.length,
    executedByPart: byPart,
    notAtRest: notAtRest.length,
    sometimes: sometimes.length,
    modules: { executed, notAtRest, sometimes, rest: [...rest].toSorted(byRoom) },
  };
}

async function launched(upstream: Upstream, run: string): Promise<void> {
  await upstream.publish(run);
  await inTime(upstream.heard(run, "run.launched"), LAUNCHED_WITHIN_MS, `run.launched of ${run}`);
}

const partOf = (file: string): string => file.split("/")[1] ?? file;
const byRoom = (one: string, other: string): number =>
  ROOMS.indexOf(partOf(one)) - ROOMS.indexOf(partOf(other)) || one.localeCompare(other);
