/**
 * One scenario from its seed to its verdict: chaos, healing, rest, judgement.
 *
 * The bug this prevents: a simulation that stops too early. It goes on until nothing is left to do, or until long after
 * everything should have ended. The same seed finds the same failure again.
 */
import type { Broken } from "../judge/view.ts";
import { check } from "./judge/check.ts";
import { deal, heal } from "./faults/apply-faults.ts";
import { abandonOf } from "./scenario/orders.ts";
import { astir, isMoved } from "./world/quiet.ts";
import { type Planned, scenarioOf } from "./scenario/scenario.ts";
import type { Only } from "./scenario/setting.ts";
import { openWorld, START_MS, start, type World } from "./world/world.ts";

export interface Verdict {
  readonly seed: number;
  readonly broken: readonly Broken[];
  /** A hash over everything that happened, in order: two runs of one seed have the same hash. */
  readonly hash: string;
  readonly tail: readonly string[];
  readonly virtualMs: number;
  readonly lines: number;
}

const HOUR = 3_600_000;
const SLICE_MS = 20_000;
/** Enough for waiting for a group, starting, running, retries and fences, one after the other. */
const REST_WITHIN_MS = 14 * HOUR;
const OPERATOR_AFTER_MS = 2 * HOUR;
/** Enough for one more tally, which may still find something to do. */
const AFTER_REST_MS = 150_000;

export async function runScenario(seed: number, tailMost = 400, only?: Only): Promise<Verdict> {
  const world = openWorld(scenarioOf(seed, only));
  current = world;
  const { clock, trace, upstream, slots, scenario } = world;
  for (const slot of slots) start(world, slot);
  void upstream.listen(new AbortController().signal);
  const chaos = new AbortController();
  void deal(world, scenario.deeds, chaos.signal);
  while (!isSpent(world)) await clock.pass(SLICE_MS);
  chaos.abort();
  await heal(world);
  const broken = await rest(world);
  trace.say("judged");
  const found = [...broken, ...check(world)];
  current = undefined;
  return {
    seed,
    broken: found,
    hash: trace.hash(),
    tail: trace.tail(tailMost),
    virtualMs: clock.now() - START_MS,
    lines: trace.count(),
  };
}

/**
 * True once the chaos may end: when its time is over, or as soon as there is nothing left to disturb, since idle loops cost most
 * of a scenario's time. The plan may have commands after that time: these are published before the world is healed.
 */
function isSpent(world: World): boolean {
  const { scenario, clock, ledger } = world;
  const isToCome = (only?: Planned["kind"]): boolean =>
    scenario.deeds.some(({ kind, atMs }) => kind === (only ?? kind) && kind !== "at boundary" && START_MS + atMs >= clock.now());
  if (clock.now() >= START_MS + scenario.chaosMs) return !isToCome("publish");
  // How often a group's health is told is counted while nothing else happens, too.
  if (scenario.turnsMost !== undefined || isToCome()) return false;
  const isKept = [...ledger.tables.runs.values()].some(({ record }) => record.anchors?.some(({ state }) => state === "kept"));
  return !isKept && astir(world).length === 0;
}

async function rest(world: World): Promise<readonly Broken[]> {
  const { clock } = world;
  const until = clock.now() + REST_WITHIN_MS;
  for (let left = astir(world); ; left = astir(world)) {
    if (left.length === 0) {
      await clock.pass(AFTER_REST_MS);
      if (astir(world).length === 0) return [];
    }
    if (clock.now() >= until - REST_WITHIN_MS + OPERATOR_AFTER_MS) abandonMoved(world);
    if (clock.now() >= until)
      return [{ invariant: "Liveness", message: `${REST_WITHIN_MS / HOUR} h after all faults had ended: ${left.join("; ")}` }];
    await clock.pass(SLICE_MS);
    // Heals the nodes again: a pod that was told to stop since the last time may be stuck.
    for (const { pods } of world.clusters.values()) pods.heal();
  }
}

/**
 * Decides what only a person may decide. If a namespace went away, and another one or none has its name, nothing in it can be
 * proved any more. The simulation's operator gives up the runs that wait for such a proof, and no others.
 */
function abandonMoved(world: World): void {
  const { ledger, trace, upstream } = world;
  for (const { record } of ledger.tables.runs.values()) {
    const { id, generation, state } = record.run;
    if (state === "ended" || state === "tombstone" || !record.attempts.some(({ group, outcome }) => outcome === undefined && isMoved(world, group))) continue; // biome-ignore format: one question
    const asked = abandonOf(`abandon-${id}-${generation}`, id);
    if (upstream.confirmed.some((it) => it.id === asked.id)) continue;
    trace.say(`the operator gives up ${id}`);
    void upstream.publish(asked, new AbortController().signal);
  }
}

/** The world that is running now: a rejected promise that nobody awaits belongs to it. */
let current: World | undefined;

export function noteUnhandled(error: unknown): void {
  const said = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (current === undefined) throw error;
  current.history.falls.push(`a promise that nobody looked at: ${said}`);
}
