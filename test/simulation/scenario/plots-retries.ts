/**
 * Plots around a step's next attempt. In some, an attempt fails while a create of it is unanswered, and somebody deletes its
 * Job together with the hold. In another, a run is given up and restarted. Each plot replaces its whole scenario. Launchers,
 * watchers and ledger work in it, so what happens to the Job is noticed in time.
 *
 * The bug this prevents: two attempts of one step at once. By chance alone, a late create seldom meets a step's next attempt.
 */
import { chanceOf } from "./chance.ts";
import { abandonOf, requestOf, restartOf } from "./orders.ts";
import type { Planned } from "./scenario.ts";
import { chosen, MINUTE, type Only, SECOND, type Setting } from "./setting.ts";

export interface RetryPlot {
  readonly deeds: readonly Planned[];
  readonly endMs: number;
  readonly pollMs: number;
  /** A launcher knows within this time that a Job is gone. */
  readonly noticesWithinMs: number;
}

/** The run that is tried again. behaviour.ts says how its pods behave. */
export const RETRIED = "retried";

const ASKED_MS = 5 * SECOND;
/**
 * When the Job fails: the first create is delayed; when its claim has run out, a second create makes the Job, which soon fails.
 */
const FAILED_MS = ASKED_MS + 33 * SECOND;
/** Small, so that the claim is made again in time. */
const POLL_MS = 2 * SECOND;

const SOME = {
  image: "registry.invalid/simulated:1",
  waitFor: "40m",
  startWithin: "4m",
  deadline: "40m",
  keepFor: { succeeded: "1m", failed: "1m" },
};

const taken = (cluster: string, atMs: number, kind: "strip hold" | "strip hold and delete Job"): Planned => ({
  atMs,
  kind: "meddle",
  cluster,
  meddling: { kind },
});

function retried(it: Setting, lateMs: number, backoff: string): readonly Planned[] {
  const [cluster = "a"] = it.clusters; // the cluster on which runs are placed first, if there are two
  const retries = { max: 2, on: ["failure" as const], backoff: { first: backoff, most: backoff } };
  return [
    { atMs: 0, kind: "cluster", cluster, forMs: 20 * SECOND, fault: { on: "create", times: 1, trouble: { kind: "delayed", byMs: lateMs } } },
    { atMs: ASKED_MS, kind: "publish", asked: requestOf("m1", { ...SOME, run: RETRIED, retries }) },
  ]; // biome-ignore format: a list of deeds
}

type Plot = (setting: Setting) => readonly Planned[];

/** The Job is taken away when it has failed, and the facts about it come late and in any order. */
const goneBeforeItsEnd: Plot = (it) => {
  const { chance } = it;
  const [cluster = "a"] = it.clusters;
  return [
    ...retried(it, chance.between(37, 57) * SECOND, "1s"),
    { atMs: FAILED_MS - 10 * SECOND, kind: "broker", trouble: { shuffle: 10, delayMs: [0, 20_000] }, forMs: 2 * MINUTE },
    taken(cluster, FAILED_MS + chance.between(0, 12_000), "strip hold and delete Job"),
  ];
};

/** The Job loses its hold while the retry waits for its backoff, and is deleted at once or later. */
const strippedBeforeTheRetry: Plot = (it) => {
  const { chance } = it;
  const [cluster = "a"] = it.clusters;
  const atMs = FAILED_MS + chance.between(5, 30) * SECOND;
  return [
    ...retried(it, chance.between(410, 590) * SECOND, "6m"),
    taken(cluster, atMs, "strip hold"),
    {
      atMs: chance.is(0.5) ? atMs + SECOND : FAILED_MS + 2 * MINUTE,
      kind: "meddle",
      cluster,
      meddling: { kind: "delete Job", propagation: "Background" },
    },
  ];
};

/**
 * The Job is deleted while the second attempt runs elsewhere, and nothing can take its name. Then the second attempt fails,
 * too.
 */
const goneBeforeTheThird: Plot = (it) => {
  const { chance } = it;
  const [cluster = "a"] = it.clusters;
  const refused = { on: "create", trouble: { kind: "status", status: 401 } } as const;
  return [
    ...retried(it, chance.between(500, 590) * SECOND, "1s"),
    { atMs: FAILED_MS + 12 * SECOND, kind: "cluster", cluster, forMs: 10 * MINUTE, fault: refused },
    taken(cluster, FAILED_MS + chance.between(15, 40) * SECOND, "strip hold and delete Job"),
  ];
};

const PLOTS: readonly [Plot, ...Plot[]] = [goneBeforeItsEnd, strippedBeforeTheRetry, goneBeforeTheThird];

const TIMES = { endMs: 12 * MINUTE, pollMs: POLL_MS, noticesWithinMs: 3 * MINUTE };

/** The run that an operator gives up; its pods' behaviour stands in behaviour.ts. */
export const GIVEN_UP = "given-up";

/** The run is given up while its pod runs, and restarted soon after. The pod takes its time to end. */
const restartedSoon: Plot = ({ chance }) => {
  const givenUpMs = ASKED_MS + chance.between(10, 40) * SECOND;
  return [
    { atMs: ASKED_MS, kind: "publish", asked: requestOf("m1", { ...SOME, run: GIVEN_UP }) },
    { atMs: givenUpMs, kind: "publish", asked: abandonOf("m2", GIVEN_UP) },
    { atMs: givenUpMs + chance.between(2, 15) * SECOND, kind: "publish", asked: restartOf("m3", GIVEN_UP) },
  ];
};

/** Draws from chances of its own, so that all other scenarios stay as they were. */
export function retryPlot(seed: number, setting: Omit<Setting, "chance">, only?: Only): RetryPlot | undefined {
  const [retry, givenUp] = [chanceOf(`second attempt ${seed}`), chanceOf(`abandoned ${seed}`)];
  const plot = chosen(PLOTS, only, () => (retry.is(0.05) ? retry.pick(PLOTS) : undefined));
  if (plot !== undefined) return { ...TIMES, deeds: plot({ ...setting, chance: retry }) };
  const last = chosen([restartedSoon], only, () => (givenUp.is(0.02) ? restartedSoon : undefined));
  return last && { ...TIMES, deeds: last({ ...setting, chance: givenUp }) };
}

export const RETRY_PLOTS = [...PLOTS, restartedSoon].map(({ name }) => name);
