/**
 * Launcher and watcher as their main.ts composes them, over the simulation's lines: the loops are the very same.
 *
 * The bug this prevents: a simulation of other code than the product's. Only the parts that main.ts opens are replaced here,
 * and nothing of a loop.
 */
import type { Broker } from "@longshore/broker/port.ts";
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { Installation } from "@longshore/contract/ids.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import { type Cluster as Connected, openClusters } from "@longshore/kubernetes/clusters.ts";
import { openWrites } from "@longshore/kubernetes/request/write.ts";
import { knownDefinitions } from "@longshore/launcher/definitions/known.ts";
import { viewsOf } from "@longshore/launcher/groups/views.ts";
import type { Keys } from "@longshore/launcher/keys.ts";
import { launcherLoops } from "@longshore/launcher/loops.ts";
import { type Parts as LauncherParts, wakeUpsBy } from "@longshore/launcher/parts.ts";
import { TIMING } from "@longshore/launcher/timing.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, batch, type ProgramEnd, together } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import { watcherLoops } from "@longshore/watcher/watch-group.ts";
import { TIMING as WATCHER_TIMING } from "@longshore/watcher/parts.ts";
import type { SimulatedCluster } from "./modelled-cluster.ts";
import type { Mortal } from "./mortal.ts";
import type { Trace } from "./trace.ts";

export interface ProgramParts {
  readonly process: Mortal;
  readonly installation: Installation;
  readonly keys: Keys;
  readonly groups: readonly (ConfiguredGroup & { readonly cluster: SimulatedCluster })[];
  readonly broker: Broker;
  readonly trace: Trace;
  readonly pollMs: number;
  readonly lanes: number;
  readonly fail: (point: string) => void | Promise<void>;
  readonly gauges: Map<string, number>;
}

type GroupCluster = Connected & ConfiguredGroup;

function clustersOf({ process, groups }: ProgramParts): readonly GroupCluster[] {
  const each = groups.map(({ name, namespace, cluster }) => ({ name, namespace, transport: cluster.transport(process) }));
  const open = openClusters(each, { clock: process.clock });
  return groups.map(({ name, namespace, settings }) => ({ ...open.cluster(name), name, namespace, settings }));
}

export async function simulatedLauncher(
  parts: ProgramParts & { readonly ledger: Ledger },
  signal: AbortSignal,
): Promise<ProgramEnd> {
  const { process, installation, keys, broker, ledger, pollMs, lanes, fail } = parts;
  const { clock } = process;
  await ledger.putGroups(parts.groups);
  const clusters = clustersOf(parts).map((it) => [it.name, { name: it.name, namespace: it.namespace, settings: it.settings, reads: it.read, writes: openWrites(it) }] as const); // biome-ignore format: one question
  const running: LauncherParts = {
    installation, clock, ledger, broker, keys, lanes, fail,
    definitions: knownDefinitions(ledger),
    operators: "everyone",
    owner: process.name,
    log: tracing(parts.trace, process.name),
    metrics: gaugesOnly(parts.gauges),
    clusters: new Map(clusters),
    views: viewsOf(await ledger.groups()),
    defaults: DEFAULTS,
    timing: { ...TIMING, pollMs, lookMs: Math.max(60_000, 4 * pollMs), tallyMs: 60_000, probeMs: Math.max(20_000, pollMs), partitionLeaseMs: Math.max(30_000, 3 * pollMs) },
    pause: backOff(clock),
    wakeUps: wakeUpsBy(clock),
    admitting: batch({ most: lanes }, (intakes) => ledger.admit(intakes)),
    recording: batch({ most: 256 }, (entries) => ledger.record(entries)),
  }; // biome-ignore format: a parts list
  // Counting ends changes no run, and its faults are tried on Postgres (hours.test.ts): each of its calls here would only take time.
  const { countEnds: _counting, ...loops } = launcherLoops(running);
  return await together(signal, loops);
}

export async function simulatedWatcher(parts: ProgramParts, signal: AbortSignal): Promise<ProgramEnd> {
  const { process, installation, broker, fail, pollMs } = parts;
  const { clock } = process;
  const running = {
    installation, clock, broker, fail,
    owner: process.name,
    log: tracing(parts.trace, process.name),
    metrics: gaugesOnly(parts.gauges),
    clusters: clustersOf(parts),
    timing: { ...WATCHER_TIMING, dueMs: pollMs, heartbeatMs: 45_000 },
    pause: backOff(clock),
  }; // biome-ignore format: a parts list
  return await together(signal, watcherLoops(running));
}

function tracing(trace: Trace, name: string): Log {
  const say = (level: string) => (message: string, fields: object = {}) => trace.say(`${name} ${level}: ${message} ${JSON.stringify(fields).slice(0, 240)}`); // biome-ignore format: one line
  const log: Log = { debug: () => undefined, info: () => undefined, warn: say("warns"), error: say("errs"), child: () => log };
  return log;
}

function gaugesOnly(gauges: Map<string, number>): Metrics {
  return {
    count: () => undefined,
    set: (name, labels, value) => void gauges.set(`${name} ${JSON.stringify(labels)}`, value),
    replace: () => undefined,
    forget: () => undefined,
    observe: () => undefined,
    text: async () => "",
  };
}
