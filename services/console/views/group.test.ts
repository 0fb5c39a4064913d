import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { AtWork } from "@longshore/ledger/pages.ts";
import type { GroupState } from "@longshore/ledger/port.ts";
import t from "tap";
import { cardForOperators } from "./card-for-operators.ts";
import { groupView } from "./group.ts";

const NOW = 1_000_000;
const at = { nowMs: NOW, hasLauncher: true };
const group = (more: object = {}): GroupState =>
  ({
    ...{ name: "east", namespace: "batch", paused: false, slotsUsed: 3, inLine: 1, health: "healthy", everHealthy: true },
    ...{ settings: GroupSettings.parse({ limits: { jobs: 4 } }), servedAtMs: NOW, watchedAtMs: NOW - 4_000 },
    ...more,
  }) as unknown as GroupState;
const work = (more: Partial<AtWork> = {}): AtWork => ({
  left: { ready: 1, claimed: 0, live: 2, closing: 0, ended: 0 },
  finishedHolds: { count: 0, oldestMs: undefined },
  waiting: { count: 0, sinceMs: undefined },
  ...more,
});

t.test("a group shows its slots, what waits for it, what is left there and what the last tally found", async (t) => {
  const tally = { atMs: NOW - 9_000, unknown: 0 };
  const waiting = { count: 7, sinceMs: NOW - 60_000 };
  t.same(groupView(group({ tally }), work({ waiting, finishedHolds: { count: 1, oldestMs: NOW - 5_000 } }), at), {
    ...{ name: "east", namespace: "batch", word: "healthy", remarks: [], waiting, tally, left: "1 in line, 2 running" },
    ...{ slots: { used: 3, inLine: 1, of: 4 }, watchedAtMs: NOW - 4_000, finishedHolds: { count: 1, oldestMs: NOW - 5_000 } },
  });
});

t.test("one in which nothing of ours is, is empty", async (t) => {
  const pause = { sinceMs: NOW - 1, drain: true, actor: { name: "Ida" } };
  t.match(groupView(group({ paused: true, pause }), undefined, at), {
    word: "paused",
    paused: pause,
    left: "",
    waiting: { count: 0 },
  });
});

t.test("one whose Jobs carry no hold says which promises are weaker", async (t) => {
  const settings = GroupSettings.parse({ hold: false });
  t.match(groupView(group({ settings }), work(), at).remarks, [{ about: "unheld", says: /^hold: false/, stops: false }]);
});

const stored = (more: object = {}) => ({ digest: "sha256:abc", sinceMs: 5, body: { name: "export", image: "x", ...more } as unknown as Definition }); // biome-ignore format: one value
const ill = { health: "unhealthy", diagnosis: diagnose("Forbidden", "It may not create Jobs.") };

// biome-ignore format: a table
for (const [name, body, groups, want] of [
  ["runs, if one of its groups takes it", {}, [group(), group({ name: "west", ...ill })], undefined],
  ["does not run, if its only group is ill", { groups: ["west"] }, [group(), group({ name: "west", ...ill })], "west: Forbidden: It may not create Jobs."],
  ["does not run, if its group was never there", { groups: ["nowhere"] }, [group()], "nowhere: no group has this name"],
  ["does not run, if each group is paused", {}, [group({ paused: true })], "east: paused"],
  ["waits for room, which comes by itself", {}, [group({ noRoom: { untilMs: NOW + 1, diagnosis: diagnose("QuotaExceeded", "Full.") } })], undefined],
  ["does not run without a group", {}, [], "There is no group yet."],
] as const)
  t.test(`a definition ${name}`, async (t) => {
    const told = cardForOperators(stored(body), groups, at);
    t.same(told, { origin: "a launcher's file", digest: "sha256:abc", sinceMs: 5, ...(want !== undefined && { whyNot: `No group takes it now. ${want}` }) });
  });

t.test("while no launcher runs, no definition runs", async (t) => {
  t.equal(
    cardForOperators(stored(), [group()], { nowMs: NOW, hasLauncher: false }).whyNot,
    "No group takes it now. no launcher runs with this ledger",
  );
});
