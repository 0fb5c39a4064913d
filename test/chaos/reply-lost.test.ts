/**
 * The create arrives at the cluster and its answer does not: to a launcher that lives, and to one that dies just then. (Fault 5.)
 */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { tcpProxy } from "../harness/proxy.ts";
import { openSystem } from "../harness/system.ts";
import { chanceOf } from "../simulation/chance.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const POST = "POST /apis/batch/v1/";
const KILLS = 50;

await using between = new AsyncDisposableStack();
const proxy = Promise.withResolvers<Awaited<ReturnType<typeof tcpProxy>>>();
await using system = await openSystem({
  through: {
    kubernetes: async (url) => {
      proxy.resolve(between.use(await tcpProxy("127.0.0.1", Number(new URL(url).port))));
      return (await proxy.promise).url(url).replace(/\/$/, "");
    },
  },
});
const wire = await proxy.promise;

await t.test("the answer to a create is lost on the way: one Job, one story", async (t) => {
  await using _watcher = await system.watcher();
  await using _launcher = await system.launcher();
  await system.command("run.requested", { run: "lost/first", ...quick });
  await system.heard("run.succeeded", "lost/first"); // the group works, and the launcher knows it
  wire.dropReplies(true);
  await system.command("run.requested", { run: "lost/one", ...quick });
  await system.until("the Job", async () => (await system.created()).length === 2);
  wire.cut();
  wire.dropReplies(false);
  t.same(await system.faults(["lost/first", "lost/one"]), []);
  t.equal((await system.heard("run.succeeded", "lost/one")).type, "run.succeeded");
});

await t.test(`the launcher is killed ${KILLS} times between its create and the answer: one 201 per name`, async (t) => {
  const seed = String(Date.now());
  t.comment(`seed ${seed}`);
  const chance = chanceOf(seed);
  await using _watcher = await system.watcher();
  const runs = Array.from({ length: KILLS }, (_, n) => `killed/${n}`);
  wire.delay(5);
  for (const run of runs) {
    const posted = wire.saw(POST);
    const doomed = await system.launcher({}, { eager: true });
    await system.command("run.requested", { run, ...quick });
    await posted;
    await sleep(chance.between(0, 20));
    doomed.signal("SIGKILL");
    await doomed.ended;
  }
  wire.delay(0);
  await using _launcher = await system.launcher();
  t.same(await system.faults(runs), []);
  t.equal(new Set((await system.created()).map(({ name }) => name)).size, KILLS + 2, "every name was created");
  t.comment(`${(await system.created(409)).length} creates met the Job of a dead launcher`);
});
