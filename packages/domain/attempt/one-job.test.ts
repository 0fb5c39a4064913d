/**
 * One attempt against an adversary: at most one Job of it ever runs, no false end is told, and the attempt always ends. If a
 * property fails, its seed is printed; `fc.assert(…, { seed, path })` repeats it.
 */
import fc from "fast-check";
import t from "tap";
import { adversary } from "./testing/adversary.ts";

const schedule = fc.array(fc.tuple(fc.nat(17), fc.nat(41)), { minLength: 5, maxLength: 150, size: "max" });

t.test("whatever the cluster and two launchers do: one Job at most, no false end, and an end", async (t) => {
  fc.assert(
    fc.property(schedule, fc.boolean(), (acts, makesPods) => {
      const play = adversary(makesPods);
      for (const [which, choice] of acts) play.act(which, choice);
      play.heal();
      const problems = play.problems();
      if (problems.length > 0) throw new Error(problems.slice(0, 3).join("; "));
    }),
    { numRuns: 2500 },
  );
  t.pass();
});

t.test("the schedules are nasty enough to end in every way", async (t) => {
  const ends = new Set<string>();
  for (const acts of fc.sample(schedule, { numRuns: 300, seed: 7 })) {
    const play = adversary();
    for (const [which, choice] of acts) play.act(which, choice);
    play.heal();
    ends.add(play.story().at(-1)?.type ?? "none");
  }
  t.same(
    [...ends].toSorted(),
    ["run.cancelled", "run.failed", "run.succeeded"],
    "and nothing is ever lost, since holds are kept",
  );
});
