/**
 * Makes a plan from a seed: what upstream asks for, how each pod behaves, and what goes wrong when.
 *
 * The bug this prevents: a failure that cannot be told or repeated. A plan is plain values, made before anything runs.
 */
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import type { PodScript } from "@longshore/pocket/testing/scripted.ts";
import { chanceOf } from "./chance.ts";
import type { BrokerTrouble } from "../world/broker.ts";
import type { LedgerTrouble } from "../world/lines.ts";
import { scriptFor, type ScriptOf } from "./behaviour.ts";
import { type Asked, crowd, keyed, orders } from "./orders.ts";
import { PLOTS } from "./plots.ts";
import { GROUP_PLOTS, groupPlot } from "./plots-groups.ts";
import { boundaryPlot } from "./plots-boundaries.ts";
import { slicesPlot } from "./plots-slices.ts";
import { VOLUME_PLOTS, volumePlot } from "./plots-volumes.ts";
import { RETRY_PLOTS, retryPlot } from "./plots-retries.ts";
import { chosen, MINUTE, type Only, type Setting } from "./setting.ts";
import { FAMILIES } from "../faults/fault-families.ts";

export interface PlannedGroup {
  readonly name: string;
  readonly cluster: string;
  readonly namespace: string;
  readonly settings: GroupSettings;
}

export type Service = "launcher" | "watcher";

/** Acts of others on a cluster. The Job that an act concerns is drawn when the act happens. */
export type Meddling =
  | { readonly kind: "delete Job"; readonly propagation: "Foreground" | "Background" | "Orphan" }
  | { readonly kind: "strip hold" }
  | { readonly kind: "strip hold and delete Job" }
  | { readonly kind: "remove label" }
  | { readonly kind: "delete pod" }
  | { readonly kind: "compact" }
  | { readonly kind: "cut streams" }
  | { readonly kind: "silence streams" }
  | { readonly kind: "delete namespace" }
  /** Somebody creates a Job under a name that one of our Jobs will need, with our labels and without a proof that fits. */
  | { readonly kind: "take name"; readonly run: string; readonly step: string; readonly proof: string | undefined }
  /** Somebody exports a whole Job and applies it under another name, with its proof and its hold. */
  | { readonly kind: "copy Job" };

export type Deed =
  | { readonly kind: "publish"; readonly asked: Asked }
  | { readonly kind: "crash" | "stop"; readonly service: Service; readonly index: number; readonly downMs: number }
  | { readonly kind: "crash at"; readonly service: Service; readonly index: number; readonly point: string; readonly pass: number; readonly downMs: number }
  | { readonly kind: "freeze"; readonly service: Service; readonly index: number; readonly forMs: number }
  | { readonly kind: "broker"; readonly trouble: Partial<BrokerTrouble>; readonly forMs: number }
  | { readonly kind: "broker down" | "broker frozen"; readonly forMs: number }
  | { readonly kind: "drop connections" }
  | { readonly kind: "ledger"; readonly trouble: Partial<LedgerTrouble>; readonly forMs: number }
  | { readonly kind: "cluster"; readonly cluster: string; readonly fault: Fault; readonly forMs: number }
  | { readonly kind: "meddle"; readonly cluster: string; readonly meddling: Meddling }
  /** Sends launchers' requests for this cluster nowhere, or to another cluster. */
  | { readonly kind: "way"; readonly cluster: string; readonly launcher: number | "all"; readonly to: "nowhere" | "another"; readonly forMs: number }
  /** A quota on claims of volumes in the cluster's namespace. */
  | { readonly kind: "limit claims"; readonly cluster: string; readonly most: number; readonly forMs: number }
  /** Done as soon as so many steps of the run's generation have ended, before the launcher hears that this was recorded. */
  | { readonly kind: "at boundary"; readonly run: string; readonly generation: number; readonly ended: number; readonly deed: Deed }
  | { readonly kind: "pause"; readonly group: string; readonly forMs: number }; // biome-ignore format: one a line

export type Planned = Deed & { readonly atMs: number };

export interface Scenario {
  readonly seed: number;
  readonly groups: readonly PlannedGroup[];
  readonly clusters: readonly string[];
  readonly launchers: number;
  readonly watchers: number;
  readonly pollMs: number;
  readonly skewMs: { readonly launcher: readonly number[]; readonly cluster: number };
  /** A small number, so that queues form, and batches of more than one. */
  readonly lanes: number;
  readonly deeds: readonly Planned[];
  readonly chaosMs: number;
  /**
   * How many changes between healthy and unhealthy may be told of a group. Absent if its cluster's answers may differ every
   * time.
   */
  readonly turnsMost?: number;
  /** A launcher knows within this time that a Job is gone. Absent if faults may delay this for longer. */
  readonly noticesWithinMs?: number;
  readonly script: (of: ScriptOf) => PodScript;
}

/** All troubles that a scenario may be told to have. "keys" and "crowd" are runs that stand in line. */
const NAMED = new Set([...[...FAMILIES, ...PLOTS].map(({ name }) => name), ...GROUP_PLOTS, ...RETRY_PLOTS, ...VOLUME_PLOTS, "slices", "boundaries", "keys", "crowd"]); // biome-ignore format: one set

/** With `only`, the scenario is small: a short chaos with these troubles, and whatever the seed says about the rest. */
export function scenarioOf(seed: number, only?: Only): Scenario {
  const unknown = only?.filter((it) => !NAMED.has(it)) ?? [];
  if (unknown.length > 0) throw new RangeError(`no trouble is named ${unknown.join(", ")}: there are ${[...NAMED].join(", ")}`);
  const chance = chanceOf(`scenario ${seed}`);
  const hold = !chanceOf(`hold ${seed}`).is(0.12);
  const clusters = chance.is(0.4) ? ["a", "b"] : ["a"];
  // Drawn from a chance of its own, so that a change here leaves all other scenarios as they are.
  const crowding = chanceOf(`crowd ${seed}`);
  const isDrawn = crowding.is(0.08);
  const isCrowded = only?.includes("crowd") ?? isDrawn;
  const groups = clusters.map((cluster) => {
    const jobs = chance.pick([1, 2, 5, 20]);
    const policy = { serviceAccounts: ["worker"], tokens: true, secretValues: true };
    const settings = GroupSettings.parse({ hold, limits: { jobs: isCrowded ? Math.min(2, jobs) : jobs }, policy });
    return { name: `group-${cluster}`, cluster, namespace: "batch", settings };
  });
  const launchers = chance.pick([1, 2, 2]);
  const watchers = chance.pick([1, 1, 2]);
  const drawnMs = chance.pick([MINUTE, 3 * MINUTE, 6 * MINUTE, 12 * MINUTE, 25 * MINUTE]);
  const chaosMs = only === undefined ? drawnMs : Math.min(drawnMs, 3 * MINUTE);
  const skew = (): number => (chance.is(0.15) ? chance.between(-60, 60) * MINUTE : 0);
  const wanted = groups.map(({ name }) => name);
  // Drawn from a chance of its own, so that all other scenarios stay as they are.
  const keying = chanceOf(`keys ${seed}`);
  const isKeyed = keying.is(0.1);
  const publishes = [
    ...orders(chance, { chaosMs, groups: wanted }),
    ...((only?.includes("keys") ?? isKeyed) ? keyed(keying) : []),
  ];
  const runs = publishes.flatMap((it) =>
    it.kind === "publish" && it.asked.kind === "run" ? [{ run: it.asked.run, atMs: it.atMs }] : [],
  );
  const setting: Setting = { chance, chaosMs, clusters, groups: wanted, launchers, watchers, runs };
  const families =
    only === undefined
      ? Array.from({ length: chance.between(0, 4) }, () => chance.pick(FAMILIES))
      : only.flatMap((it) => FAMILIES.find(({ name }) => name === it) ?? []);
  const plotted = chosen(PLOTS, only, () => (chance.is(0.5) ? chance.pick(PLOTS) : undefined))?.(setting) ?? [];
  const ofGroups = groupPlot(chanceOf(`health of groups ${seed}`), setting, only);
  const ofRetries = retryPlot(seed, setting, only);
  const ofRuns =
    ofRetries === undefined
      ? (volumePlot(seed, setting, only) ?? slicesPlot(seed, setting, only) ?? boundaryPlot(seed, setting, only))
      : undefined;
  const troubles = ofGroups?.deeds ?? [...families.flatMap((family) => family(setting)), ...plotted];
  return {
    seed,
    groups,
    clusters,
    launchers,
    watchers,
    pollMs: ofRetries?.pollMs ?? ofRuns?.pollMs ?? chance.pick([20_000, 30_000, 30_000, 30_000]),
    skewMs: { launcher: Array.from({ length: launchers }, skew), cluster: skew() },
    lanes: chance.pick([1, 3, 8]),
    deeds: (
      ofRetries?.deeds ??
      ofRuns?.deeds ?? [...publishes, ...(isCrowded ? crowd(crowding, wanted) : []), ...troubles]
    ).toSorted((a, b) => a.atMs - b.atMs),
    chaosMs:
      ofRetries?.endMs ??
      ofRuns?.endMs ??
      ofGroups?.endMs ??
      Math.max(chaosMs, ...plotted.map(({ atMs }) => Math.min(atMs + 14 * MINUTE, chaosMs + 14 * MINUTE))),
    ...(ofRetries
      ? { noticesWithinMs: ofRetries.noticesWithinMs }
      : ofGroups && ofRuns === undefined && { turnsMost: ofGroups.turnsMost }),
    script: scriptFor(seed),
  };
}
