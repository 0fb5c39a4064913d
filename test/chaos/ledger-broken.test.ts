/**
 * The ledger's Postgres loses connections and is killed while runs are under way; the broker lives. (Faults 55–57 in GUARANTEES.md.)
 */
import t from "tap";
import { type TcpProxy, tcpProxy } from "../harness/faults/proxy.ts";
import { openSystem } from "../harness/system.ts";
import { chanceOf } from "../simulation/scenario/chance.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const names = (prefix: string, most: number): readonly string[] => Array.from({ length: most }, (_, n) => `${prefix}/${n}`);
const CUTS = 60;

await using between = new AsyncDisposableStack();
const proxied = Promise.withResolvers<TcpProxy>();
await using system = await openSystem({
  instant: true,
  through: {
    ledger: async (url) => {
      const proxy = between.use(await tcpProxy("127.0.0.1", Number(new URL(url).port)));
      proxied.resolve(proxy);
      return proxy.url(url);
    },
  },
});
const wire = await proxied.promise;
const sent = (runs: readonly string[]): Promise<unknown> =>
  Promise.all(runs.map((run) => system.command("run.requested", { run, ...quick })));

await using _watcher = await system.watcher();

await t.test(
  `answers of the ledger are cut ${CUTS} times, those to COMMIT too: each run has one Job and one story`,
  async (t) => {
    await using _launcher = await system.launcher();
    const seed = String(Date.now());
    t.comment(`seed ${seed}`);
    const chance = chanceOf(seed);
    const runs = names("cut", CUTS * 3);
    for (let cut = 0; cut < CUTS; cut++) {
      const at = chance.between(1, 6_000);
      wire.cutAfterBytes("toClient", at);
      await sent(runs.slice(cut * 3, cut * 3 + 3));
      await wire.received(wire.count("toClient") + at, "toClient");
    }
    t.same(await system.faults(runs), []);
  },
);

await t.test("kill -9 of Postgres, the broker's too, while runs are under way: none is lost when it is back", async (t) => {
  await using _launcher = await system.launcher();
  const runs = names("killed", 100);
  const sending = sent(runs);
  await system.heard("run.succeeded", "killed/5");
  await system.postgres.kill();
  await system.postgres.start();
  await sending;
  t.same(await system.faults(runs), []);
});
