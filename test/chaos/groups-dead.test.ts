/**
 * Twenty groups, one of them dead. Runs of the dead group wait or go elsewhere; runs of all other groups end as if the dead
 * group did not exist. (Fault 43 in GUARANTEES.md.)
 */
// runs with integration
// runs at most 10 min
import t from "tap";
import { named, openGroups, quick } from "./groups-stage.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const GROUPS = 20;
const DEAD = "dead";
const live = named("g", GROUPS - 1).map((name) => name.replace("/", "-"));

await using groups = await openGroups({ [DEAD]: { proxied: true }, ...Object.fromEntries(live.map((name) => [name, {}])) });
const { system, proxies } = groups;
const dead = proxies.get(DEAD);
await using _launcher = await system.launcher();
await using _watcher = await system.watcher();

await t.test("before it dies, every group takes runs", async (t) => {
  const runs = [DEAD, ...live].map((name) => `first/${name}`);
  await Promise.all(runs.map((run) => system.command("run.requested", { run, ...quick, groups: [run.slice(6)] })));
  await system.ended(runs, 120_000);
  t.same(runs.map((run) => groups.groupOf(run)), [DEAD, ...live]); // biome-ignore format: one question
});

await t.test("while it is silent, its runs wait and say why, and those of the 19 others all end", async (t) => {
  dead?.blackhole(true);
  const stuck = named("stuck", 3);
  const either = named("either", 3);
  const others = live.flatMap((name) => named(`others/${name}`, 2));
  await Promise.all([
    ...stuck.map((run) => system.command("run.requested", { run, ...quick, groups: [DEAD] })),
    ...either.map((run) => system.command("run.requested", { run, ...quick, groups: [DEAD, "g-0"] })),
    ...others.map((run) => system.command("run.requested", { run, ...quick, groups: [run.split("/")[1]] })),
  ]);
  await system.ended(others, 120_000);
  t.same(stuck.filter((run) => groups.of(run, "run.succeeded").length > 0), [], "none of the dead group's has ended"); // biome-ignore format: one question
  t.same(others.filter((run) => groups.of(run, "run.launched").length !== 1), [], "each of the others was launched once"); // biome-ignore format: one question
  t.same(others.filter((run) => groups.of(run, "run.waiting").length > 0), [], "and none of them waited"); // biome-ignore format: one question
  await system.until("the dead group to be known as unhealthy", async () =>
    (await system.ledger.groups()).some(({ name, health }) => name === DEAD && health === "unhealthy"),
  );
  const late = "late/elsewhere";
  await system.command("run.requested", { run: late, ...quick, groups: [DEAD, "g-1"] });
  await system.ended([late]);
  t.equal(groups.groupOf(late), "g-1");
  t.match(groups.of(late, "run.launched")[0]?.data, {
    considered: [
      { group: DEAD, verdict: "skipped", why: /no answer/ },
      { group: "g-1", verdict: "chosen" },
    ],
  });
  const waits = "late/waits";
  await system.command("run.requested", { run: waits, ...quick, groups: [DEAD] });
  const waiting = await system.heard("run.waiting", waits);
  t.match(waiting.data, { reason: "GroupsUnhealthy", diagnosis: { code: "EndpointUnreachable" }, considered: [{ group: DEAD }] });
  const healthy = (await system.ledger.groups()).filter(({ name }) => name !== DEAD).map(({ health }) => health);
  t.same([...new Set(healthy)], ["healthy"], "no other group's health suffers");
});

await t.test("when it answers again everything that waited for it ends, once", async (t) => {
  dead?.blackhole(false);
  const runs = [...named("stuck", 3), ...named("either", 3), "late/waits"];
  await system.ended(runs, 120_000);
  t.same(runs.filter((run) => groups.of(run, "run.succeeded").length === 0), []); // biome-ignore format: one question
});
