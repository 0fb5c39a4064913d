import type { GroupName } from "@longshore/contract/ids.ts";
import { writeFact } from "@longshore/contract/messages/envelope.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { launcherHealth } from "./gauges.ts";
import { observe } from "./intake/observe.ts";
import { deliveryOf, GROUP, live, settingsFor, type Stage, stage } from "./testing/stage.ts";
import { unwatched } from "@longshore/domain/group/unwatched.ts";

const inspect = () => Promise.reject(new Failure("retry", "BrokerUnavailable", "It is away."));

/** The seconds for which each group has not been watched, from a scrape of the launcher's metrics. */
async function scraped(it: Stage): Promise<Readonly<Record<string, number>>> {
  await launcherHealth(it.parts).refresh?.();
  const lines = (await it.parts.metrics.text()).matchAll(/^longshore_group_unwatched_seconds\{group="(.+)"\} (.+)$/gm);
  return Object.fromEntries([...lines].map(([, group = "", value]) => [group, Number(value)]));
}

async function beat(it: Stage, staleSeconds = 0): Promise<void> {
  const data = { group: GROUP, watcher: "w", staleSeconds };
  await observe(it.parts)(deliveryOf(writeFact({ id: "f1", source: "/watcher", type: "group.watched", data })));
}

const known = (it: Stage) => ({ name: GROUP, watchedAtMs: it.model.tables.groups.get(GROUP)?.watchedAtMs });

t.test("a group that no watcher ever saw is told of from its first Job on, though no watcher is there to tell it", async (t) => {
  const it = await live(t, { broker: { inspect } });
  await it.clock.sleep(200_000);
  t.match(await scraped(it), { [GROUP]: 200 });
  t.match(unwatched(known(it), it.clock.now()), { code: "Unwatched", blame: "platform", sentence: /^No watcher ever/ });
});

t.test("a group without Jobs that nobody watched yet is no trouble", async (t) => {
  const it = await stage(t, { broker: { inspect } });
  await it.clock.sleep(200_000);
  t.same(await scraped(it), {});
});

t.test("a watcher that falls silent is told of, with or without Jobs; a group that is watched is not", async (t) => {
  const it = await stage(t, { broker: { inspect } });
  await beat(it, 2);
  t.same(await scraped(it), { [GROUP]: 2 });
  t.equal(unwatched(known(it), it.clock.now()), undefined);
  await it.clock.sleep(75_000);
  t.equal(unwatched(known(it), it.clock.now()), undefined, "a bookmark comes once a minute, and a heartbeat may be late");
  await it.clock.sleep(13_000);
  t.match(unwatched(known(it), it.clock.now()), { code: "Unwatched", sentence: /for 90 s/ });
  await it.clock.sleep(200_000);
  t.same(await scraped(it), { [GROUP]: 290 });
  await beat(it);
  t.same(await scraped(it), { [GROUP]: 0 });
});

t.test("a group that is in another launcher's file, or in none any more, is not told of here", async (t) => {
  const it = await stage(t, { broker: { inspect } });
  const name = "gone" as GroupName;
  await it.parts.ledger.putGroups([{ name, namespace: "jobs", settings: settingsFor(1) }]);
  await it.parts.ledger.setGroup(name, { watchedAtMs: 1_000 });
  t.same(await scraped(it), {});
});

t.test("a paused group reads 1, and 0 once it is resumed", async (t) => {
  const it = await stage(t, { broker: { inspect } });
  for (const paused of [true, false]) {
    await it.parts.ledger.setGroup(GROUP, { paused });
    await launcherHealth(it.parts).refresh?.();
    t.match(await it.parts.metrics.text(), `longshore_group_paused{group="${GROUP}"} ${paused ? 1 : 0}\n`);
  }
});

t.test("while the ledger is away nothing that was counted there is told, and all of it once it is back", async (t) => {
  const it = await live(t, { broker: { inspect } });
  const { ledger } = it.parts;
  const away = { ...ledger, counts: () => Promise.reject(new Failure("retry", "LedgerUnavailable", "It is away.")) };
  const told = async (parts: Stage["parts"]) => {
    await launcherHealth(parts).refresh?.();
    return await it.parts.metrics.text();
  };
  const counted = /^longshore_(outbox|group_slots|group_paused|holds|oldest_finished_hold)/m;
  t.match(await told(it.parts), counted);
  t.notMatch(await told({ ...it.parts, ledger: away }), counted);
  t.match(await told(it.parts), counted);
});
