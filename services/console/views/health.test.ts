import { GroupSettings } from "@longshore/contract/group-settings.ts";
import type { LedgerHealth } from "@longshore/ledger/pages.ts";
import type { Counts, GroupState } from "@longshore/ledger/port.ts";
import t from "tap";
import { type Asked, healthView } from "./health.ts";

const NOW = 10_000_000;
const counts: Counts = {
  runs: { tombstone: 0, active: 2, cancelling: 0 },
  ends: 9,
  attempts: {},
  ...{ outbox: 0, outboxOldestMs: undefined, overdue: 0, strays: 0, anchors: 0, hasLauncher: true },
};
const health: LedgerHealth = { counts, launchers: ["host/1"], waiting: [], deeds: "named" };
const group = (more: object = {}): GroupState =>
  ({
    ...{ name: "east", namespace: "batch", paused: false, slotsUsed: 0, inLine: 0, health: "healthy", everHealthy: true },
    ...{
      settings: GroupSettings.parse({}),
      servedAtMs: NOW,
      watchedAtMs: NOW - 4_000,
      tally: { atMs: NOW - 30_000, unknown: 0 },
    },
    ...more,
  }) as unknown as GroupState;
const broker: Asked["broker"] = {
  status: { kind: "connected" },
  report: { product: "RabbitMQ 4.0.5", user: "console", waiting: { commands: 0, facts: 1, quarantine: 0 } },
  quarantine: "look there",
};
const well: Asked = { groups: [group()], health, broker };
const withHealth = (more: Partial<LedgerHealth>): Asked => ({ ...well, health: { ...health, ...more } });
const withCounts = (more: Partial<Counts>): Asked => withHealth({ counts: { ...counts, ...more } });

t.test("where all is well, every row is ok, and says what was found", async (t) => {
  const rows = healthView(well, NOW);
  t.same(rows.filter(({ state }) => state !== "ok"), []); // biome-ignore format: one line
  t.same(
    rows.map(({ part }) => part),
    ["launchers", "watchers", "broker", "quarantine", "events", "runs", "strays", "accounting", "names"],
  );
  t.match(rows[0], { says: "1 launcher: host/1" });
  t.match(rows[2], { says: "RabbitMQ 4.0.5, user console; waiting: 0 commands, 1 fact" });
});

const away = { status: { kind: "reconnecting", sinceMs: 0, lastError: "nobody listens" }, report: new Error("x"), quarantine: "" } as const; // biome-ignore format: one value
const full = { ...broker, report: { product: "NATS", user: "c", waiting: { commands: 0, facts: 0, quarantine: 3 } } };

// biome-ignore format: a table
for (const [name, asked, part, state, says, todo] of [
  ["no launcher runs", withCounts({ hasLauncher: false }), "launchers", "broken", /^no launcher runs/, /its log says why/],
  ["nobody watches a served group", { ...well, groups: [group({ watchedAtMs: NOW - 200_000 })] }, "watchers", "look", /"east" for 200 s/, /./],
  ["an unserved group need not be watched", { ...well, groups: [group({ servedAtMs: 0, watchedAtMs: 0 })] }, "watchers", "ok", /no launcher serves a group/, undefined],
  ["the broker is away", { ...well, broker: away }, "broker", "broken", /nobody listens/, /start it/],
  ["the broker does not say", { ...well, broker: { ...broker, report: new Error("no permission") } }, "broker", "look", /no permission/, /doctor/],
  ["messages are in quarantine", { ...well, broker: full }, "quarantine", "look", /3 messages in quarantine/, /look there/],
  ["events are late", withCounts({ outbox: 4, outboxOldestMs: 90_000 }), "ledger", "broken", /waits for 1 min 30 s/, /broker take its events/],
  ["attempts are overdue", withCounts({ overdue: 1 }), "runs", "broken", /1 attempt overdue/, /is a launcher running/],
  ["runs wait for a person", withHealth({ waiting: [{ reason: "GroupsPaused", count: 2, sinceMs: NOW - 60_000, oldest: "a/1" as never }] }), "waiting", "look", /2 runs wait \(GroupsPaused\), the oldest for 1 min: a\/1/, /group resume/],
  ["runs wait for room", withHealth({ waiting: [{ reason: "GroupsFull", count: 1, sinceMs: NOW, oldest: "a/1" as never }] }), "waiting", "ok", /1 run waits/, /passes by itself: yes/],
  ["Jobs are there that nobody knows", { ...well, groups: [group({ tally: { atMs: NOW, unknown: 2 } })] }, "accounting", "broken", /2 unaccounted; .*2 in east/, /log/],
  ["a group was never compared", { ...well, groups: [group({ tally: undefined })] }, "accounting", "look", /never compared: east/, /launcher reach/],
  ["the last comparison is long ago", { ...well, groups: [group({ tally: { atMs: NOW - 3_600_000, unknown: 0 } })] }, "accounting", "look", /compared 1 h ago/, /launcher reach/],
  ["names are left out", withHealth({ deeds: "anonymous" }), "names", "look", /leaves out who asked/, /user `console` to the launcher's setting `operators`/],
  ["deeds are refused", withHealth({ deeds: "refused" }), "names", "broken", /takes no deed on a group/, /`operators`/],
  ["nothing was done yet", withHealth({ deeds: undefined }), "names", "ok", /nobody has done anything here yet/, undefined],
] as const)
  t.test(`${name}: ${state}`, async (t) => {
    const row = healthView(asked, NOW).find((it) => it.part === part);
    t.match(row, { state, says });
    if (todo === undefined) t.equal(row?.todo, undefined);
    else t.match(row?.todo, todo);
  });
