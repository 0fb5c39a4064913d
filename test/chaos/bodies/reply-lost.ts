/**
 * A create arrives, its answer is lost, and the launcher lives on or dies at that moment. For any cluster. (Fault 5 in
 * GUARANTEES.md.)
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import { type FaultProxy, faultProxy } from "../../harness/faults/fault-proxy.ts";
import type { Chosen } from "../../harness/faults/fault-proxy-faults.ts";
import { type TcpProxy, tcpProxy } from "../../harness/faults/proxy.ts";
import { openSystem, type System, type SystemOptions } from "../../harness/system.ts";
import { chanceOf } from "../../simulation/scenario/chance.ts";

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };

/** The connection from the services to the cluster, which can lose an answer. */
export interface Wire {
  /** Resolves when a create has arrived and its answer is lost. */
  lose(send: () => Promise<void>): Promise<void>;
  /** Resolves when the next create is on its way. */
  create(): Promise<unknown>;
  /** The time within which the create's answer arrives. */
  readonly answerMs: number;
}

export interface Wired extends AsyncDisposable {
  readonly system: System;
  readonly wire: Wire;
}

/** Opens a system behind a TCP proxy, which can read the requests because the pocket speaks plain HTTP. */
export async function wired(): Promise<Wired> {
  await using parts = new AsyncDisposableStack();
  const proxied = Promise.withResolvers<TcpProxy>();
  const kubernetes = async (url: string): Promise<string> => {
    const proxy = parts.use(await tcpProxy("127.0.0.1", Number(new URL(url).port)));
    proxied.resolve(proxy);
    return proxy.url(url);
  };
  const system = parts.use(await openSystem({ through: { kubernetes } }));
  const proxy = await proxied.promise;
  const wire: Wire = {
    lose: async (send) => {
      const before = (await system.created()).length;
      proxy.dropReplies(true);
      await send();
      await system.until("the Job", async () => (await system.created()).length > before);
      proxy.cut();
      proxy.dropReplies(false);
    },
    create: () => {
      proxy.delay(5);
      return proxy.saw("POST /apis/batch/v1/");
    },
    answerMs: 20,
  };
  const kept = parts.move();
  return { system, wire, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

export const isCreate: Chosen = ({ method, path }) => method === "POST" && path.endsWith("/jobs");

/** Opens a system behind a proxy that ends TLS itself: no other proxy could read the requests. */
export async function wiredByTls(options: SystemOptions): Promise<Wired & { readonly proxy: FaultProxy }> {
  await using parts = new AsyncDisposableStack();
  const proxied = Promise.withResolvers<FaultProxy>();
  const kubernetes = async (url: string, ca: string) => {
    const proxy = parts.use(await faultProxy({ url, ca }));
    proxied.resolve(proxy);
    return proxy;
  };
  const system = parts.use(await openSystem({ ...options, through: { kubernetes } }));
  const proxy = await proxied.promise;
  const wire: Wire = {
    lose: async (send) => {
      const struck = proxy.cause(isCreate, { kind: "reply lost" });
      await send();
      await struck;
    },
    create: () => proxy.cause(isCreate, { kind: "late", byMs: 15 }),
    answerMs: 60,
  };
  const kept = parts.move();
  return { system, wire, proxy, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/**
 * On a slow machine a launcher may die before it settles anything. A message that was delivered to too many dead launchers is
 * quarantined as poison, so after this many kills a launcher lives until every command is taken.
 */
const POISON_AFTER = 5;

async function takeAll(system: System, runs: readonly string[]): Promise<void> {
  await using _living = await system.launcher();
  for (const run of runs) await system.heard("run.accepted", run);
}

export async function repliesAreLost(t: Test, { system, wire }: Wired, { kills }: { readonly kills: number }): Promise<void> {
  await t.test("the answer to a create is lost on the way: one Job, one story", async (t) => {
    await using _watcher = await system.watcher();
    await using _launcher = await system.launcher();
    await system.command("run.requested", { run: "lost/first", ...quick });
    await system.heard("run.succeeded", "lost/first"); // now the group works, and the launcher knows it
    await wire.lose(() => system.command("run.requested", { run: "lost/one", ...quick }));
    t.same(await system.faults(["lost/first", "lost/one"]), []);
    t.equal((await system.heard("run.succeeded", "lost/one")).type, "run.succeeded");
  });

  await t.test(`the launcher is killed ${kills} times between its create and the answer: one Job per name`, async (t) => {
    const seed = String(Date.now());
    t.comment(`seed ${seed}`);
    const chance = chanceOf(seed);
    await using _watcher = await system.watcher();
    const runs = Array.from({ length: kills }, (_, n) => `killed/${n}`);
    for (const [n, run] of runs.entries()) {
      const posted = wire.create();
      const doomed = await system.launcher({}, { eager: true });
      await system.command("run.requested", { run, ...quick });
      await posted;
      await sleep(chance.between(0, wire.answerMs));
      doomed.signal("SIGKILL");
      await doomed.ended;
      if (n % POISON_AFTER === POISON_AFTER - 1) await takeAll(system, runs.slice(0, n + 1));
    }
    await using _launcher = await system.launcher();
    t.same(await system.faults(runs), []);
    // Counts the Jobs that a watch saw. The API server's own log does not suffice: if a create's client dies, the log may call
    // the create failed although it was not.
    const { clusters } = await system.history();
    const names = clusters.flatMap(({ jobs }) => jobs.filter(({ occupant }) => !occupant).map(({ name }) => name));
    t.equal(names.length, kills + 2, "every Job was created once");
    t.equal(new Set(names).size, kills + 2, "and each under a name of its own");
    t.comment(`${(await system.created(409)).length} creates met the Job of a dead launcher`);
  });
}
