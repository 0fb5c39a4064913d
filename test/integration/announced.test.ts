// runs with integration
// runs at most 8 min
/**
 * A watcher without a groups file and without a cluster's credential learns both from launchers, over each broker, with real
 * processes. Nobody who reads at the broker or in the logs learns a credential (G11).
 */
// needs rabbitmq, nats
import { randomBytes } from "node:crypto";
import t, { type Test } from "tap";
import { openBroker } from "@longshore/broker/brokers.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import type { Model } from "@longshore/pocket/testing/model.ts";
import { type Announced, announcedSystem, pocketPlace, type Program, seen } from "../harness/announced.ts";
import { nats } from "../harness/nats/server.ts";
import { rabbitmq, type TestRabbitmq } from "../harness/rabbitmq/server.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const watched = (names: string) => new RegExp(`^200 [^]*groups  ${names}\\n?$`);
const usersOf = (pocket: Model): ReadonlySet<string> =>
  new Set(pocket.requests().filter(({ path }) => /\/(jobs|pods)/.test(path)).map(({ user }) => user)); // biome-ignore format: one question
const listings = (pocket: Model): number =>
  pocket.requests().filter(({ path, user }) => user !== "launch" && /\/jobs\?.*limit=/.test(path)).length;

/** With `changes`, launchers come and go, too: no broker has a part in that, so that one broker is enough. */
async function story(
  t: Test,
  it: Announced,
  { pocket, place: { tokens } }: Awaited<ReturnType<typeof pocketPlace>>,
  { changes }: { readonly changes: boolean },
): Promise<void> {
  await using watcher = await it.watcher();

  await t.test("before any launcher, the watcher says what it waits for", async (t) => {
    // On RabbitMQ the test's own tap receives the watcher's question too, so the watcher cannot know that no launcher received
    // it.
    const words = /^503 [^]*waiting for the launcher's announcement: (no launcher with a sealKeyFile is at the broker|asked)/;
    await it.until("its words", async () => words.test(await watcher.ready()));
    t.match(await watcher.ready(), words);
  });

  let first = await it.launcher();
  await t.test("a launcher starts: the group is watched, and a run ends by what the watcher saw", async (t) => {
    await it.until("the group", async () => watched("first").test(await watcher.ready()));
    await it.run("one");
    t.equal((await it.ended("one")).type, "run.succeeded");
    t.same(usersOf(pocket), new Set(["launch", "watch"]));
  });

  await t.test(
    "the token is rotated on the launcher's disk: the watch goes on with the new one, and lists nothing anew",
    async (t) => {
      const before = listings(pocket);
      await it.rotate(tokens.rotated);
      await it.until("its renewal", () => watcher.said.some((line) => line.includes("credential was renewed")));
      await it.run("two");
      t.equal((await it.ended("two")).type, "run.succeeded");
      await it.until("a request with the new token", () => usersOf(pocket).has("rotated"));
      t.equal(listings(pocket), before);
    },
  );

  await t.test("a group that is written into the file is watched before the launcher itself has it", async (t) => {
    await it.groups({ first: "default", second: "other" });
    await it.until("both", async () => watched("first, second").test(await watcher.ready()));
    t.pass(await watcher.ready());
  });

  if (changes) first = await changesOfLaunchers(t, it, pocket, { watcher, first });

  await t.test("G11: no credential passed the broker or stands in a log", async (t) => {
    const overheard = async () => (await it.bodies()).map((body) => body.toString("latin1"));
    const announcements = async () => (await overheard()).filter((it) => it.includes("dev.longshore.group.announced")).length;
    await it.until("ten announcements to be overheard", async () => (await announcements()) > 10);
    const bodies = await overheard();
    t.ok(bodies.some((it) => it.includes("dev.longshore.run.succeeded")), "and so was all the rest"); // biome-ignore format: one line
    const lines = it.logs();
    t.ok(
      lines.some((it) => it.includes("a group is announced")) && lines.some((it) => it.includes("was renewed")),
      "the logs of both",
    );
    t.same(await seen(it, tokens), []);
    t.same(await seen(it, { known: "run.succeeded" }), ["known at the broker"], "what is there is found");
  });
  await first.stop();
}

/** Returns the launcher that runs at the end. */
async function changesOfLaunchers(
  t: Test,
  it: Announced,
  pocket: Model,
  running: { readonly watcher: Program; readonly first: Program },
): Promise<Program> {
  const { watcher } = running;
  let { first } = running;
  await t.test(
    "the launcher is killed: the watcher keeps its groups, and one that starts meanwhile waits and says so",
    async (t) => {
      first.signal("SIGKILL");
      await first.ended;
      await using late = await it.watcher();
      await it.until("its words", async () => /503 [^]*waiting for the launcher's announcement/.test(await late.ready()));
      t.match(await watcher.ready(), watched("first, second"));
      first = await it.launcher();
      await it.until("its groups", async () => watched("first, second").test(await late.ready()));
      await it.run("three", { groups: ["second"] });
      t.match(await it.ended("three"), { type: "run.succeeded", group: "second" });
    },
  );

  await t.test("two launchers announce the same: nothing begins anew, and nothing is called older", async (t) => {
    const before = listings(pocket);
    await using second = await it.launcher();
    const heard = async () =>
      Number(/longshore_announcements_total\{outcome="same"\} (\d+)/.exec(await watcher.metrics())?.[1] ?? 0);
    const already = await heard();
    await it.until("several rounds of both", async () => (await heard()) > already + 12);
    t.equal(listings(pocket), before);
    t.notMatch(
      await watcher.metrics(),
      /longshore_announcements_total\{outcome="(older|tampered|unknownKey|unreadable|unusable)"/,
    );
    await second.stop();
  });

  await t.test("a group that the file lost is watched until its launcher was started anew, and no longer", async (t) => {
    await it.groups({ first: "default" });
    await it.run("four", { groups: ["second"] });
    t.match(await it.ended("four"), { type: "run.succeeded", group: "second" }, "the launcher has it still");
    await first.stop();
    first = await it.launcher();
    await it.until("its end", async () => watched("first").test(await watcher.ready()));
    await it.run("five");
    t.equal((await it.ended("five")).type, "run.succeeded");
  });

  await t.test("a watcher with another key refuses, says whose key it is and what to do, and stays up", async (t) => {
    await using stranger = await it.watcher({ key: randomBytes(48).toString("base64") });
    await it.until("its words", async () => (await stranger.ready()).includes("Give both programs the same file"));
    t.match(await stranger.ready(), /^503 [^]*sealed with the key [0-9a-f]{8}, and this program's sealKeyFile has [0-9a-f]{8}/);
    t.match(await stranger.metrics(), /longshore_announcements_total\{outcome="unknownKey"\} [1-9]/);
    await stranger.stop();
    t.equal(await stranger.ended, 0);
  });
  return first;
}

await t.test("over the broker in Postgres", async (t) => {
  await using cluster = await pocketPlace();
  await using it = await announcedSystem(cluster.place, { first: "default" });
  await story(t, it, cluster, { changes: true });
});

/** Gives the watcher's user only the permissions that README names, which allow it to read no command, no event and no fact. */
async function watchersUrl(server: TestRabbitmq): Promise<string> {
  const own = "longshore\\.follow\\..*";
  await server.ctl("add_user", "watcher", "watching");
  await server.ctl(
    "set_permissions",
    "watcher",
    `^${own}$`,
    `^(longshore\\.(facts|control)|${own})$`,
    `^(longshore\\.control|${own})$`,
  );
  return Object.assign(new URL(server.url), { username: "watcher", password: "watching" }).href;
}

await t.test("over RabbitMQ 4.0, with a user for the watcher that may do nothing else", async (t) => {
  await using server = await rabbitmq({ version: "4.0" });
  { await using _declared = await openBroker({ url: server.url, log: silentLog, clock: systemClock }); } // biome-ignore format: as an operator does it once
  const watcherUrl = await watchersUrl(server);
  await using cluster = await pocketPlace();
  await using it = await announcedSystem(cluster.place, { first: "default" }, { url: server.url, watcherUrl });
  await story(t, it, cluster, { changes: false });
});

await t.test("over NATS, with users for launcher and watcher that may do nothing else", async (t) => {
  await using server = await nats();
  await using cluster = await pocketPlace();
  const brokers = { url: server.url, launcherUrl: server.as("launcher"), watcherUrl: server.as("watcher") };
  await using it = await announcedSystem(cluster.place, { first: "default" }, brokers);
  await story(t, it, cluster, { changes: false });
});
