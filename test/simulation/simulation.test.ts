/**
 * Checks the guarantees in 2,000 scenarios, each from its seed, and that a seed always gives the same story.
 *
 * A failure names the invariant and the seed: `npm run sim -- --scenarios 1 --seed S --verbose` shows what led to it.
 */
// runs at most 45 min
import { availableParallelism } from "node:os";
import t from "tap";
import { runMany, seedsFrom } from "./many.ts";
import { runScenario } from "./run.ts";

t.setTimeout(0); // the file has its bound

const FIRST = 1;
const SCENARIOS = 2_000;
/** One bug breaks many seeds: after this many broken ones no further scenario begins. */
const TOLD_MOST = 10;

t.test(`seeds ${FIRST} to ${FIRST + SCENARIOS - 1} keep every guarantee`, async (t) => {
  t.setTimeout(0); // everything else on the machine comes first, so this may take long
  let ran = 0;
  let broken = 0;
  let hours = 0;
  await runMany({
    seeds: seedsFrom(FIRST, SCENARIOS),
    threads: availableParallelism(),
    tailMost: 40,
    onVerdict: ({ seed, broken: found, tail, virtualMs }) => {
      ran++;
      hours += virtualMs / 3_600_000;
      if (found.length === 0) return false;
      broken++;
      for (const { invariant, message } of found) t.fail(`seed ${seed}: ${invariant}: ${message}`, { again: `npm run sim -- --scenarios 1 --seed ${seed} --verbose`, tail }); // biome-ignore format: one line
      return broken >= TOLD_MOST;
    },
  });
  t.equal(broken, 0, `${ran} scenarios, ${hours.toFixed(0)} h of theirs`);
  t.equal(ran, SCENARIOS);
});

t.test("a seed replays exactly: the same happenings at the same times in the same order", async (t) => {
  for (const seed of [2, 11, 28, 135]) {
    const first = await runScenario(seed, 20_000);
    const second = await runScenario(seed, 20_000);
    t.equal(second.hash, first.hash, `seed ${seed}`);
    t.same(second.tail, first.tail);
    t.ok(first.lines > 20, "and something happened");
  }
});

t.test("it replays the same in a thread beside others", async (t) => {
  const alone = await runScenario(17, 0);
  const hashes: string[] = [];
  await runMany({
    seeds: [16, 17, 18],
    threads: 2,
    tailMost: 0,
    onVerdict: ({ seed, hash }) => {
      if (seed === 17) hashes.push(hash);
      return false;
    },
  });
  t.same(hashes, [alone.hash]);
});
