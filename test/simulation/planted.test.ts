/**
 * Plants each bug of planted/bugs.ts in a copy of the sources. A scenario with the troubles that the bug names must break there,
 * and the invariant must be one that the bug names. The same scenario must pass without the bug.
 */
// runs at most 45 min
import t, { type Test } from "tap";
import type { PlantedBug } from "./planted/bug.ts";
import { PLANTED } from "./planted/bugs.ts";
import { type Caught, copyOfSources, plant, simulate, type Tried } from "./planted/copy.ts";
import { runScenario } from "./run.ts";

t.setTimeout(0); // the file has its bound

/** So many scenarios with a bug's own troubles are tried, and if none catches it or the bug names none, so many ordinary ones. */
const SEARCHED = { own: 60, ordinary: 250 };
const LANES = 2;

t.test("every planted bug is caught", async (t) => {
  const left = [...PLANTED];
  await Promise.all(Array.from({ length: LANES }, () => lane(t, left)));
});

async function lane(t: Test, left: PlantedBug[]): Promise<void> {
  using copy = copyOfSources();
  for (let bug = left.shift(); bug !== undefined; bug = left.shift()) {
    const found = await search(copy.root, bug);
    if (found === undefined) t.fail(`${bug.name}: no scenario catches it`, { tried: triedFor(bug) });
    else await judge(t, bug, found);
  }
}

function triedFor({ only, firstSeed, seeds = [] }: PlantedBug): readonly Tried[] {
  return [
    ...seeds.map((seed) => ({ seed, scenarios: 1 })),
    ...(only === undefined || firstSeed === undefined ? [] : [{ only, seed: firstSeed, scenarios: 1 }]),
    ...(only === undefined ? [] : [{ only, seed: 1, scenarios: SEARCHED.own }]),
    { seed: 1, scenarios: SEARCHED.ordinary },
  ];
}

type Found = Caught & Pick<Tried, "only">;

async function search(root: string, bug: PlantedBug): Promise<Found | undefined> {
  using _planted = plant(root, bug.edits);
  for (const tried of triedFor(bug)) {
    const [caught] = (await simulate(root, tried)).broken;
    if (caught !== undefined) return { ...caught, only: tried.only };
  }
  return undefined;
}

async function judge(t: Test, { name, breaks }: PlantedBug, { seed, only, invariants }: Found): Promise<void> {
  t.ok(
    invariants.some((it) => breaks.some((begin) => it.startsWith(begin))),
    `${name}: ${only?.join(", ") ?? "seed"} ${seed} breaks ${invariants.join("; ")}`,
  );
  const { broken } = await runScenario(seed, 0, only);
  t.same(broken, [], `and ${seed} passes without it`);
}

t.test("a bug whose place has changed is told, and a copy leaves nothing behind", async (t) => {
  using copy = copyOfSources();
  t.throws(() => plant(copy.root, [{ file: "services/launcher/loops/relay.ts", find: "no such text", replace: "" }]), /0 times, and should once/); // biome-ignore format: one line
});
