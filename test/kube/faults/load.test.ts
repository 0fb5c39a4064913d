/**
 * Three hundred runs over two real control planes, with failures, repeats and cancels among them, while launchers and watchers
 * are killed at moments that a seed chooses. The history must have no fault. LONGSHORE_TEST_SEED repeats a seed.
 */
// needs kubernetes, rabbitmq
// runs at most 12 min
import t from "tap";
import type { Child } from "@longshore/cli/embedded/child.ts";
import type { LedgerRows } from "../../harness/history/journals.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem, PACE, type System } from "../../harness/system.ts";
import { type Chance, chanceOf } from "../../simulation/scenario/chance.ts";
import { lasting, names, quick } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const RUNS = 300;
const AT_ONCE = 25;
const KILLS = 8;
const WITHIN_MS = 6 * 60_000;

await using rabbit = await rabbitmq({ version: "4.0" });
await using cloud = await kubernetes({ nodes: "simulated", clusters: 2 });
await using system = await openSystem({
  brokerUrl: rabbit.url,
  clusters: cloud.clusters,
  launcher: { pace: { ...PACE, claim: "10s" } },
});

/**
 * Acts on one run as upstream might, and returns the ends that the run may have. A cancel loses only against the program's own
 * end.
 */
async function use(system: System, run: string, chance: Chance): Promise<readonly string[]> {
  const kind = chance.between(0, 9);
  const groups = chance.between(0, 1) === 0 ? { groups: ["b", "a"] } : {};
  const data = { run, ...(kind === 0 ? lasting("1s", 3) : kind === 1 ? lasting("30s") : quick), ...groups };
  const id = `request/${run}`;
  await system.command("run.requested", data, id);
  if (kind === 2) await system.command("run.requested", data, id);
  if (kind === 3) await system.command("run.requested", data, `${id}/again`);
  if (kind === 4) await system.command("run.requested", { ...data, env: { OTHER: "content" } }, `${id}/other`);
  if (kind === 0) return ["failed ExitCode"];
  if (kind !== 1 && kind !== 5) return ["succeeded"];
  await system.command("run.cancel", { run, reason: "changed my mind" });
  return ["cancelled", "succeeded"];
}

/** Kills any one of the four processes and starts it again, several times. */
async function trouble(system: System, chance: Chance, over: () => boolean): Promise<void> {
  const start = { launcher: () => system.launcher(), watcher: () => system.watcher() };
  const alive: { name: keyof typeof start; child: Child }[] = [];
  for (const name of ["launcher", "watcher", "launcher", "watcher"] as const) alive.push({ name, child: await start[name]() });
  for (let kills = 0; kills < KILLS && !over(); kills++) {
    const goal = Math.floor((RUNS * (kills + chance.random())) / KILLS);
    await system.until(`the ${goal}th run's end`, () => ended(system) >= Math.min(goal, RUNS - 50), WITHIN_MS);
    const struck = alive[chance.between(0, alive.length - 1)];
    struck?.child.signal("SIGKILL");
    await struck?.child.ended;
    if (struck !== undefined) struck.child = await start[struck.name]();
  }
}

const ENDS = new Set(["run.succeeded", "run.failed", "run.cancelled", "run.lost"]);
const ended = ({ received }: System): number => received.filter(({ type }) => ENDS.has(type)).length;

/** The run's end as text: "failed ExitCode" or "succeeded". */
function endOf({ runs, attempts }: LedgerRows, run: string): string {
  const outcome = runs.find(({ id }) => id === run)?.outcome ?? "";
  const of = attempts.filter((it) => it.run === run).toSorted((a, b) => a.n - b.n);
  return outcome === "failed" ? `${outcome} ${of.at(-1)?.code}` : outcome;
}

await t.test(`${RUNS} runs, ${KILLS} kills: no command is lost, nothing runs twice, no end is false`, async (t) => {
  const seed = process.env["LONGSHORE_TEST_SEED"] ?? String(Date.now());
  t.comment(`seed ${seed}`);
  const chance = chanceOf(seed);
  const runs = names("load", RUNS);
  const began = performance.now();
  const waiting = [...runs];
  const mayEnd = new Map<string, readonly string[]>();
  const lane = async (): Promise<void> => {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) mayEnd.set(run, await use(system, run, chance));
  };
  await Promise.all([
    trouble(system, chanceOf(`${seed}/kills`), () => ended(system) >= RUNS),
    ...Array.from({ length: AT_ONCE }, lane),
  ]);
  t.same(await system.faults(runs, { withinMs: WITHIN_MS }), []);
  const { ledger, clusters, passed } = await system.history();
  const ends = runs.map((run) => ({ run, as: endOf(ledger, run) }));
  t.same(
    ends.filter(({ run, as }) => mayEnd.get(run)?.includes(as) !== true),
    [],
    "each ended as what upstream did with it may end",
  );
  const outcomes = [...Map.groupBy(ledger.runs, ({ outcome }) => outcome)].map(([outcome, all]) => `${all.length} ${outcome}`);
  t.comment(`${outcomes.join(", ")} in ${Math.round((performance.now() - began) / 1000)} s`);
  t.comment(
    `${clusters.map(({ group, jobs, pods }) => `${group}: ${jobs.length} Jobs, ${pods.length} pods`).join("; ")}; ${passed.length} messages`,
  );
});
