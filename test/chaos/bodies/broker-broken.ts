/**
 * The broker, whichever it is, is killed, is frozen and loses its queues while runs are under way. (Faults 45, 46, 48, 52.)
 *
 * The failure this prevents: a promise that is proved on one broker and broken on another.
 */
import { NAMES } from "@longshore/broker/names.ts";
import type { Child } from "@longshore/cli/embedded/child.ts";
import type { Test } from "tap";
import type { System } from "../../harness/system.ts";

/** A test's own server, to which the test can do what a careless operator does. */
export interface Breakable {
  kill(): Promise<void>;
  start(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  deleteQueue(name: string): Promise<unknown>;
}

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
export const names = (prefix: string, most: number): readonly string[] =>
  Array.from({ length: most }, (_, n) => `${prefix}/${n}`);

export const sent = (system: System, runs: readonly string[]): Promise<unknown> =>
  Promise.all(runs.map((run) => system.command("run.requested", { run, ...quick })));

const timeOf = (line: string): string => /"time":"([^"]+)"/.exec(line)?.[1] ?? "";

export async function brokerIsKilled(t: Test, system: System, server: Breakable): Promise<void> {
  await t.test("kill -9 of the broker while messages of every kind wait for their confirms: no run is lost", async (t) => {
    const runs = names("killed", 200);
    const sending = sent(system, runs);
    await system.heard("run.succeeded", "killed/20");
    await server.kill();
    await server.start();
    await sending;
    t.same(await system.faults(runs), []);
  });
}

export async function brokerIsFrozen(t: Test, system: System, server: Breakable, launcher: Child): Promise<void> {
  await t.test("the broker freezes until the launcher has given its connection up, and thaws: no run is lost", async (t) => {
    const runs = names("frozen", 100);
    const sending = sent(system, runs);
    await system.heard("run.accepted", "frozen/0");
    await server.freeze();
    const frozenAt = new Date().toISOString();
    const isLoss = (line: string): boolean => line.includes("lost the connection to the broker") && timeOf(line) > frozenAt;
    await system.until("the launcher to give its connection up", () => launcher.said.some(isLoss));
    await server.thaw();
    await sending;
    t.same(await system.faults(runs), []);
  });
}

/** Needs a system without a launcher. Ends the watcher. */
export async function factsAreLost(t: Test, system: System, server: Breakable, watcher: Child): Promise<void> {
  await t.test(
    "a queue full of facts is deleted while no launcher is there: the next watcher tells again what was lost",
    async (t) => {
      const gone = await system.launcher();
      watcher.signal("SIGSTOP");
      const runs = names("lost", 20);
      await sent(system, runs);
      await Promise.all(runs.map((run) => system.heard("run.launched", run)));
      await gone.stop();
      watcher.signal("SIGCONT");
      const waiting = async (): Promise<number> => (await system.broker.inspect(AbortSignal.timeout(10_000))).waiting.facts;
      await system.until("the facts", async () => (await waiting()) >= runs.length);
      await server.deleteQueue(NAMES.facts);
      await watcher.stop(); // this watcher would repeat its facts only after a minute; a new one begins with all held Jobs
      await using _next = await system.launcher();
      await using _anew = await system.watcher();
      t.same(await system.faults(runs), []);
    },
  );
}

/** Needs a launcher and a watcher. */
export async function queuesAreDeleted(t: Test, system: System, server: Breakable): Promise<void> {
  await t.test("the server ends the consumers, since their queues are deleted: they are made again and consumed", async (t) => {
    for (const queue of [NAMES.facts, NAMES.commands]) await server.deleteQueue(queue);
    const runs = names("cancelled", 20);
    await sent(system, runs);
    t.same(await system.faults(runs), []);
  });
}
