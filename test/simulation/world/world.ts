/**
 * A world for one scenario: models of broker, ledger and clusters, and the programs that come and go in it.
 *
 *   upstream ─▶ broker ─▶ launchers ─▶ clusters ─▶ watchers ─▶ broker ─▶ launchers ─▶ broker ─▶ upstream
 *
 * The bug this prevents: a fault that only one test ever thought of. Each planned fault happens at its time. A process that
 * crashes loses its memory; requests that it had sent go on their way.
 */
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { openKeys } from "@longshore/launcher/keys.ts";
import { ledgerModel, type LedgerModel } from "@longshore/ledger/testing/model.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import type { ProgramEnd } from "@longshore/runtime/loop.ts";
import { type StepsClock, stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import { type BrokerModel, brokerModel, type BrokerTrouble, type Connection, NO_TROUBLE } from "./broker.ts";
import { chanceOf } from "../scenario/chance.ts";
import { type SimulatedCluster, simulatedCluster } from "./modelled-cluster.ts";
import { emptyHistory, type History } from "../judge/history.ts";
import { heardBroker, heardLedger, type LedgerTrouble } from "./lines.ts";
import { mortal, type Mortal } from "./mortal.ts";
import { type ProgramParts, simulatedLauncher, simulatedWatcher } from "./programs.ts";
import type { Scenario, Service } from "../scenario/scenario.ts";
import { openTrace, type Trace } from "./trace.ts";
import { openUpstream, UPSTREAM_QUEUE, type Upstream } from "./upstream.ts";

export const START_MS = Date.UTC(2030, 0, 1);
export const INSTALLATION = Installation.parse("sim");
export const CALM: LedgerTrouble = { refused: 0, lost: 0, delayMs: [0, 6], deaf: 0 };
export const CALM_BROKER: BrokerTrouble = { ...NO_TROUBLE, delayMs: [0, 8] };

/** A place for a launcher or a watcher. When its process ends, another one is started there. */
export interface Slot {
  readonly service: Service;
  readonly index: number;
  process: Mortal | undefined;
  line: Connection | undefined;
  stop: AbortController;
  /** The gauges of its process: each process is scraped by itself. */
  gauges: Map<string, number>;
  incarnation: number;
  /** The point at which its process dies next, and how many passes are left until then. */
  trap: { readonly point: string; left: number; readonly downMs: number } | undefined;
}

export interface World {
  readonly scenario: Scenario;
  readonly clock: StepsClock;
  readonly random: () => number;
  readonly broker: BrokerModel;
  readonly ledger: LedgerModel;
  /** The ledger as a person at the command line reaches it, without troubles. */
  readonly person: Ledger;
  readonly clusters: ReadonlyMap<string, SimulatedCluster>;
  readonly slots: readonly Slot[];
  readonly upstream: Upstream;
  readonly upstreamLine: Connection;
  readonly history: History;
  readonly trace: Trace;
  ledgerTrouble: LedgerTrouble;
  /** Called after each record, until they return true. */
  readonly boundaries: Set<() => boolean>;
  /** From here on no process crashes any more. */
  healed: boolean;
}

export function openWorld(scenario: Scenario): World {
  const { random } = chanceOf(`world ${scenario.seed}`);
  const clock = stepsClock({ nowMs: START_MS, random, stepsPerTurn: 2_000 });
  const history = emptyHistory();
  const trace = openTrace(() => clock.now(), START_MS);
  const broker = brokerModel(clock);
  broker.trouble = CALM_BROKER;
  broker.declare(UPSTREAM_QUEUE, "#");
  const keys = keysOf();
  const ledger = ledgerModel({ clock, installation: INSTALLATION, jobName: keys.jobName });
  const clusters = scenario.clusters.map((name) => {
    const namespaces = scenario.groups.filter(({ cluster }) => cluster === name).map(({ namespace }) => namespace);
    return simulatedCluster({
      name,
      namespaces,
      clock,
      skewMs: scenario.skewMs.cluster,
      delays: DELAYS,
      script: scenario.script,
      history,
      trace,
    });
  });
  const process = mortal({ name: "upstream", clock });
  const upstreamLine = broker.connect();
  const slot = (service: Service) => (_: unknown, index: number): Slot => ({ service, index, process: undefined, line: undefined, stop: new AbortController(), gauges: new Map(), incarnation: 0, trap: undefined }); // biome-ignore format: one value
  return {
    scenario, clock, random, broker, ledger, history, trace, upstreamLine,
    person: ledger.connect(),
    clusters: new Map(clusters.map((it) => [it.name, it])),
    slots: [...Array.from({ length: scenario.launchers }, slot("launcher")), ...Array.from({ length: scenario.watchers }, slot("watcher"))],
    upstream: openUpstream(process, heardBroker(upstreamLine, process)),
    ledgerTrouble: CALM,
    boundaries: new Set(),
    healed: false,
  }; // biome-ignore format: a parts list
}

export const keysOf = () => openKeys(Buffer.alloc(32, 7), INSTALLATION);

/** Somewhat shorter than in a real cluster: only the order matters, and every order occurs. */
const DELAYS = {
  requestMs: [1, 20],
  answerMs: [1, 20],
  watchMs: [1, 400],
  jobMs: [50, 1_100],
  collectorMs: [20, 400],
  scheduleMs: [20, 600],
  phaseMs: [100, 1_000],
} as const;

// ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────

export function start(world: World, slot: Slot): void {
  if (slot.process?.state() === "running" || slot.process?.state() === "frozen") return;
  const { scenario, clock, trace } = world;
  const skewMs = slot.service === "launcher" ? (scenario.skewMs.launcher[slot.index] ?? 0) : 0;
  const process = mortal({ name: `${slot.service}-${slot.index}.${++slot.incarnation}`, clock, skewMs });
  slot.process = process;
  slot.stop = new AbortController();
  slot.gauges = new Map();
  slot.line = world.broker.connect();
  trace.say(`${process.name} starts`);
  const parts = partsFor(world, slot, process, slot.line);
  void run(world, slot, process, parts, slot.stop.signal).then(
    () => ended(world, slot, process, undefined),
    (error: unknown) => ended(world, slot, process, error),
  );
}

function run(world: World, slot: Slot, process: Mortal, parts: ProgramParts, signal: AbortSignal): Promise<ProgramEnd> {
  if (slot.service === "watcher") return simulatedWatcher(parts, signal);
  const { ledger: model, clock, history, trace, scenario: { pollMs } } = world; // biome-ignore format: one question
  const onRecord = (): void => {
    for (const it of world.boundaries) if (it()) world.boundaries.delete(it);
  };
  const ledger = heardLedger({ model, process, clock, history, trace, pollMs, onRecord, trouble: () => world.ledgerTrouble });
  return simulatedLauncher({ ...parts, ledger }, signal);
}

function partsFor(world: World, slot: Slot, process: Mortal, line: Connection): ProgramParts {
  const { scenario, clusters, trace } = world;
  const groups = scenario.groups.map(({ name, namespace, settings, cluster }) => {
    const found = clusters.get(cluster);
    if (found === undefined) throw new Error(`the scenario names no cluster ${cluster}`);
    return { name: GroupName.parse(name), namespace, settings, cluster: found };
  });
  return {
    process, groups, trace,
    gauges: slot.gauges,
    installation: INSTALLATION,
    keys: keysOf(),
    broker: heardBroker(line, process),
    pollMs: scenario.pollMs,
    lanes: scenario.lanes,
    fail: (point) => passed(world, slot, process, point),
  }; // biome-ignore format: a parts list
}

/** A named line of the program. If the scenario says so, the process dies here, and nothing after the line runs. */
function passed(world: World, slot: Slot, process: Mortal, point: string): Promise<void> | undefined {
  const { trap } = slot;
  if (trap?.point !== point || slot.process !== process || world.healed || --trap.left > 0) return undefined;
  slot.trap = undefined;
  world.trace.say(`${process.name} dies at ${point}`);
  crash(world, slot, trap.downMs);
  return new Promise(() => undefined);
}

/** The process ended by itself: as it was asked to, by a passing failure at its start, or by a bug. */
function ended(world: World, slot: Slot, process: Mortal, error: unknown): void {
  if (slot.process !== process) return;
  const { trace, history, clock } = world;
  trace.say(`${process.name} ended${error instanceof Error ? `: ${error.message}` : ""}`);
  const asked = slot.stop.signal.aborted && error === undefined;
  const passing = isTransient(error);
  if (!asked && !passing)
    history.falls.push(`${process.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  slot.line?.forget();
  slot.process = undefined;
  if (!asked) void clock.sleep(2_000).then(() => start(world, slot));
}

export function crash(world: World, slot: Slot, downMs: number): void {
  const { clock, trace } = world;
  const { process, line } = slot;
  if (process === undefined || process.state() === "dead") return;
  trace.say(`${process.name} is killed, for ${downMs / 1000} s`);
  process.crash();
  // The broker notices at once by a reset, or much later by the heartbeat.
  void clock.sleep(world.random() < 0.7 ? 0 : world.random() * 60_000).then(() => line?.forget());
  if (slot.process === process) slot.process = undefined;
  void clock.sleep(downMs).then(() => start(world, slot));
}

export function stop(world: World, slot: Slot, downMs: number): void {
  const { process } = slot;
  if (process?.state() !== "running") return;
  const { clock, trace } = world;
  trace.say(`${process.name} is asked to stop`);
  slot.stop.abort();
  void clock.sleep(20_000).then(() => {
    if (slot.process === process) crash(world, slot, downMs);
    else void clock.sleep(downMs).then(() => start(world, slot));
  });
}

export function freeze(world: World, slot: Slot, forMs: number): void {
  const { process, line } = slot;
  if (process?.state() !== "running") return;
  const { clock, trace } = world;
  trace.say(`${process.name} freezes for ${forMs / 1000} s`);
  process.freeze();
  if (forMs > 30_000) void clock.sleep(30_000).then(() => line?.drop());
  void clock.sleep(forMs).then(() => thaw(world, process));
}

export function thaw({ trace }: World, process: Mortal): void {
  if (process.state() !== "frozen") return;
  trace.say(`${process.name} thaws`);
  process.thaw();
}
