/**
 * The behaviour of each pod of a scenario, drawn from the seed and the attempt, so that it is the same whenever it is asked
 * for.
 *
 * The bug this prevents: a simulation of programs that start at once, succeed, and end when they are told to.
 */
import type { PodScript } from "@longshore/pocket/testing/scripted.ts";
import { type Chance, chanceOf } from "./chance.ts";
import { GIVEN_UP, RETRIED } from "./plots-retries.ts";
import { isSliced, sliceScript } from "./plots-slices.ts";
import { GIVEN_UP_VOLUMES } from "./plots-volumes.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

export interface ScriptOf {
  readonly run: string;
  readonly step: string;
  readonly attempt: number;
  /** Of a slice: its index, else -1, and how often it failed before. */
  readonly index: number;
  readonly failures: number;
}

export const scriptFor =
  (seed: number) =>
  ({ run, step, attempt, index, failures }: ScriptOf): PodScript => {
    const chance = chanceOf(`pod ${seed} ${run} ${step} ${attempt}`);
    if (isSliced(run)) return sliceScript(chanceOf(`pod ${seed} ${run} ${step} ${attempt} ${index}`), index, failures);
    if (run === RETRIED) return triedAgain(attempt);
    if (run === GIVEN_UP) return attempt === 1 ? endsSlowly : { startsAfterMs: 100, runsMs: 2 * MINUTE, exitCode: 0 };
    if (run === GIVEN_UP_VOLUMES) return givenUp(step, attempt);
    return chance.pick(BEHAVIOURS)(chance);
  };

/** One of the two pods takes its time to end when it is deleted. */
const givenUp = (step: string, attempt: number): PodScript =>
  attempt > 1 ? { startsAfterMs: 100, runsMs: 30 * SECOND } : step === "left" ? endsSlowly : { startsAfterMs: 100 };

/** The first attempt fails soon, the second one later, and the third one runs long. */
const triedAgain = (attempt: number): PodScript => ({
  startsAfterMs: 100,
  runsMs: attempt === 1 ? 10 * SECOND : attempt === 2 ? 4 * MINUTE : 7 * MINUTE,
  exitCode: attempt <= 2 ? 1 : 0,
});

const endsSlowly: PodScript = { startsAfterMs: 100, onStop: { kind: "ends", afterMs: 25 * SECOND } };

const soon = (chance: Chance): number => chance.between(100, 5_000);
const some = (chance: Chance): number => chance.pick([0, 500, 5 * SECOND, 30 * SECOND, 2 * MINUTE]);

const succeeds = (chance: Chance): PodScript => ({
  startsAfterMs: soon(chance),
  runsMs: some(chance),
  exitCode: 0,
  log: "done\n",
  message: '{"rows": 3}',
  ...(chance.is(0.5) && {
    onStop: { kind: "ends", afterMs: chance.between(0, 20) * SECOND, exitCode: chance.pick([0, 143]) } as const,
  }),
});

const BEHAVIOURS: readonly [(chance: Chance) => PodScript, ...((chance: Chance) => PodScript)[]] = [
  succeeds,
  succeeds,
  succeeds,
  succeeds,
  (chance) => ({ startsAfterMs: soon(chance), runsMs: some(chance), exitCode: chance.pick([1, 2, 139]), log: "no\n" }),
  (chance) => ({ startsAfterMs: soon(chance), runsMs: some(chance), exitCode: 137, reason: "OOMKilled" }),
  // Starts late, so that a stalled run resumes.
  (chance) => ({
    waits: { reason: "ImagePullBackOff", message: "Back-off pulling image" },
    startsAfterMs: chance.between(20, 200) * SECOND,
    runsMs: some(chance),
    exitCode: 0,
  }),
  (chance) => ({ waits: { reason: chance.pick(["ImagePullBackOff", "CreateContainerConfigError", "ErrImagePull"]) } }),
  () => ({ unschedulable: "0/1 nodes are available: 1 Insufficient cpu." }),
  // The pods of this entry and of the next run until somebody stops them; those of the next ignore the stop.
  (chance) => ({
    startsAfterMs: soon(chance),
    onStop: { kind: "ends", afterMs: chance.between(0, 40) * SECOND, exitCode: chance.pick([0, 143]) },
  }),
  (chance) => ({ startsAfterMs: soon(chance), onStop: { kind: "stuck" } }),
];
