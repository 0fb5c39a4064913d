/** The create arrives and its answer does not: to a launcher that lives, and to one that dies just then. (Fault 5.) On any cluster. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import { type TcpProxy, tcpProxy } from "../../harness/proxy.ts";
import { openSystem, type System, type SystemOptions } from "../../harness/system.ts";
import { chanceOf } from "../../simulation/chance.ts";

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };

/** A system whose services reach the cluster through a wire that the test can cut. */
export async function wired(
  options: SystemOptions = {},
): Promise<{ readonly system: System; readonly wire: TcpProxy } & AsyncDisposable> {
  await using parts = new AsyncDisposableStack();
  const proxy = Promise.withResolvers<TcpProxy>();
  const kubernetes = async (url: string): Promise<string> => {
    proxy.resolve(parts.use(await tcpProxy("127.0.0.1", Number(new URL(url).port))));
    return (await proxy.promise).url(url).replace(/\/$/, "");
  };
  const system = parts.use(await openSystem({ ...options, through: { kubernetes } }));
  const wire = await proxy.promise;
  const kept = parts.move();
  return { system, wire, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

export interface RepliesLost {
  readonly system: System;
  readonly wire: TcpProxy;
  /** Resolves when the next create is on its way, or has arrived and its answer is on the way. */
  readonly create: (wire: TcpProxy) => Promise<void>;
  readonly kills: number;
  /** By which everything on the wire is held back, in each direction. */
  readonly delayMs?: number;
}

export async function repliesAreLost(t: Test, { system, wire, create, kills, delayMs = 5 }: RepliesLost): Promise<void> {
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

  await t.test(`the launcher is killed ${kills} times between its create and the answer: one 201 per name`, async (t) => {
    const seed = String(Date.now());
    t.comment(`seed ${seed}`);
    const chance = chanceOf(seed);
    await using _watcher = await system.watcher();
    const runs = Array.from({ length: kills }, (_, n) => `killed/${n}`);
    wire.delay(delayMs);
    for (const run of runs) {
      const posted = create(wire);
      const doomed = await system.launcher({}, { eager: true });
      await system.command("run.requested", { run, ...quick });
      await posted;
      await sleep(chance.between(0, delayMs * 4));
      doomed.signal("SIGKILL");
      await doomed.ended;
    }
    wire.delay(0);
    await using _launcher = await system.launcher();
    t.same(await system.faults(runs), []);
    t.equal(new Set((await system.created()).map(({ name }) => name)).size, kills + 2, "every name was created");
    t.comment(`${(await system.created(409)).length} creates met the Job of a dead launcher`);
  });
}
