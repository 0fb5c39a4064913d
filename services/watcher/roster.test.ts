/** How a watcher judges announcements: which ones start, change and end a group, and which are refused, with which sentence. */
import { randomBytes } from "node:crypto";
import { boundTo } from "@longshore/contract/messages/control.ts";
import { writeControl } from "@longshore/contract/messages/envelope.ts";
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import { openSeal, type Seal } from "@longshore/runtime/seal.ts";
import t from "tap";
import { openRoster, type Roster, STALE_MS } from "./roster.ts";

const installation = Installation.parse("main");
const ring = randomBytes(48).toString("base64");
const ours = openSeal(ring, installation);
const NOW = Date.UTC(2030, 0, 1);

interface Saying {
  readonly launcher?: string;
  readonly seal?: Seal;
  readonly installation?: string;
}

interface GroupSaying extends Saying {
  readonly token?: string;
  readonly server?: string;
  readonly namespace?: string;
}

let count = 0;
const written = (type: "group.announced" | "groups.announced", data: object, seal: Seal, text: string): Uint8Array => {
  const sealed = seal.seal(text, boundTo(type, { ...data }));
  const message = { id: `m${++count}`, source: "/x", type, data: { ...data, sealed } };
  return writeControl(message as unknown as Parameters<typeof writeControl>[0]);
};

function group(name: string, version: number, { launcher = "l1", seal = ours, token = "t1", server = "https://a:6443", namespace = "jobs", installation: of = installation }: GroupSaying = {}): Uint8Array {
  const data = { installation: of, launcher, group: name, version, namespace, cluster: { server, verify: true } };
  return written("group.announced", data, seal, JSON.stringify({ authorization: `Bearer ${token}` }));
} // biome-ignore format: one question

function all(names: Readonly<Record<string, number>>, atMs: number, { launcher = "l1", seal = ours, installation: of = installation }: Saying = {}): Uint8Array {
  const groups = Object.entries(names).map(([name, version]) => ({ group: name, version }));
  return written("groups.announced", { installation: of, launcher, at: new Date(atMs).toISOString(), againSeconds: 30, groups }, seal, "");
} // biome-ignore format: one question

const heard = (roster: Roster, ...messages: readonly (readonly [bytes: Uint8Array, atMs: number])[]): readonly string[] =>
  messages.map(([bytes, atMs]) => roster.hear(bytes, atMs).outcome);
const shown = (roster: Roster): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries([...roster.groups()].map(([name, it]) => [name, `${it.server} ${it.namespace} ${it.authorization}`]));
const A = "https://a:6443 jobs Bearer t1";

t.test("a group is there when it was announced and then named", async (t) => {
  const roster = openRoster(installation, ours);
  t.same(heard(roster, [group("prod-a", 5), NOW]), ["taken"]);
  t.same(shown(roster), {}, "not before a launcher says that it has it");
  t.notOk(roster.isTold());
  t.same(heard(roster, [all({ "prod-a": 5 }, NOW), NOW]), ["taken"]);
  t.same(shown(roster), { "prod-a": A });
  t.ok(roster.isTold() && roster.isFresh(NOW));
});

t.test("a new credential takes the old one's place; the same again is no news", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 5), NOW], [all({ a: 5 }, NOW), NOW]);
  t.same(heard(roster, [group("a", 5), NOW], [group("a", 9, { token: "t2" }), NOW]), ["same", "taken"]);
  t.same(shown(roster), { a: "https://a:6443 jobs Bearer t2" });
});

t.test("a group is polled, and looked through for prepared Jobs, as it was announced", async (t) => {
  const roster = openRoster(installation, ours);
  const data = { installation, launcher: "l1", group: "a", version: 5, namespace: "jobs", cluster: { server: "https://a:6443", verify: true }, pollSeconds: 10, annotation: "a=b" }; // biome-ignore format: one value
  heard(roster, [written("group.announced", data, ours, JSON.stringify({ authorization: "Bearer t1" })), NOW]);
  heard(roster, [all({ a: 5 }, NOW), NOW]);
  t.match(roster.groups().get(GroupName.parse("a")), { pollMs: 10_000, annotation: "a=b" });
  heard(roster, [group("a", 6), NOW]);
  t.equal(roster.groups().get(GroupName.parse("a"))?.pollMs, undefined);
});

t.test("what is older does not turn a group back, and it is said what to do", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 9, { token: "t2" }), NOW], [all({ a: 9 }, NOW), NOW]);
  t.same(roster.hear(group("a", 5), NOW), { outcome: "older", group: "a" }, "a launcher that has not looked yet is no news");
  t.match(roster.hear(group("a", 5), NOW + 61_000), {
    outcome: "older",
    message: /same files.*clocks differ.*start this watcher anew/,
  });
  t.same(shown(roster), { a: "https://a:6443 jobs Bearer t2" });
});

t.test("two launchers with the same content say it in turns, and nothing changes", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 5), NOW], [all({ a: 5 }, NOW), NOW]);
  const before = roster.groups().get(GroupName.parse("a"));
  for (let turn = 1; turn < 5; turn++) {
    const at = NOW + turn * 30_000;
    t.same(heard(roster, [group("a", 7, { launcher: "l2" }), at], [all({ a: 7 }, at, { launcher: "l2" }), at]), [
      "same",
      "taken",
    ]);
    t.same(heard(roster, [group("a", 5), at], [all({ a: 5 }, at), at]), ["same", "taken"]);
    t.equal(roster.groups().get(GroupName.parse("a")), before, "the very same");
  }
});

t.test("two launchers with different contents do not overrule each other in turns: the newer reading stays", async (t) => {
  const roster = openRoster(installation, ours);
  for (let turn = 0; turn < 4; turn++) {
    const at = NOW + turn * 30_000;
    heard(roster, [group("a", 5), at], [all({ a: 5 }, at), at]);
    heard(roster, [group("a", 7, { launcher: "l2", token: "t2" }), at], [all({ a: 7 }, at, { launcher: "l2" }), at]);
    t.same(shown(roster), { a: "https://a:6443 jobs Bearer t2" });
  }
});

t.test("a group that one launcher lost is kept while another has it, and goes when that one is not heard any more", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 5), NOW], [group("b", 5), NOW], [all({ a: 5, b: 5 }, NOW), NOW]);
  const said = (after: number) => heard(roster, [all({ a: 5 }, NOW + after, { launcher: "l2" }), NOW + after]);
  said(10_000);
  t.same(Object.keys(shown(roster)), ["a", "b"]);
  said(89_000);
  t.same(Object.keys(shown(roster)), ["a", "b"], "it may be restarting");
  said(91_000);
  t.same(Object.keys(shown(roster)), ["a"]);
});

t.test("a watcher that hears nothing keeps what it has", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 5), NOW], [all({ a: 5 }, NOW), NOW]);
  const later = NOW + 30 * 86_400_000;
  t.notOk(roster.isFresh(later));
  t.ok(roster.isTold());
  t.same(shown(roster), { a: A });
});

t.test("a group that a launcher took back is not brought back by repeating its announcement", async (t) => {
  const roster = openRoster(installation, ours);
  const [old, named] = [group("b", 5), all({ a: 5, b: 5 }, NOW)];
  heard(roster, [group("a", 5), NOW], [old, NOW], [named, NOW], [all({ a: 5 }, NOW + 1_000), NOW + 1_000]);
  t.same(shown(roster), { a: A });
  t.same(heard(roster, [old, NOW + 2_000], [named, NOW + 2_000]), ["same", "older"]);
  t.same(shown(roster), { a: A });
});

t.test("a watcher that just started does not believe an old announcement", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 5), NOW]);
  const old = roster.hear(all({ a: 5 }, NOW - STALE_MS - 1), NOW);
  t.match(old, { outcome: "stale", message: /NTP.*repeats old messages/ });
  t.match(roster.hear(all({ a: 5 }, NOW + STALE_MS + 1), NOW), { outcome: "stale" });
  t.same(shown(roster), {});
  t.notOk(roster.isTold());
});

t.test("an old announcement of a group does not stand for the one that a launcher names now", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [group("a", 3, { token: "stolen" }), NOW], [all({ a: 5 }, NOW), NOW]);
  t.same(shown(roster), {});
  t.same([...roster.missing()], [["a", undefined]]);
  heard(roster, [group("a", 5), NOW]);
  t.same(shown(roster), { a: A });
});

const other = openSeal(randomBytes(48).toString("base64"), installation);
t.test("another key is refused by its id, and the group is shown as missing with what to do", async (t) => {
  const roster = openRoster(installation, ours);
  heard(roster, [all({ a: 5 }, NOW), NOW]);
  t.match(roster.hear(group("a", 5, { seal: other }), NOW), {
    outcome: "unknownKey",
    group: "a",
    message: new RegExp(other.key),
  });
  t.match([...roster.missing()], [["a", /same file/]]);
  t.match(roster.hear(all({}, NOW + 1, { launcher: "evil", seal: other }), NOW), { outcome: "unknownKey" });
  heard(roster, [group("a", 5), NOW]);
  t.same([...roster.missing()], []);
});

t.test("who may publish at the broker, but holds no key, can change nothing of an announcement", async (t) => {
  const genuine = JSON.parse(Buffer.from(group("a", 5)).toString()) as { data: Record<string, unknown> };
  const changes: Readonly<Record<string, unknown>> = {
    group: "b",
    version: 6,
    namespace: "other",
    launcher: "l2",
    cluster: { server: "https://evil:6443", verify: true },
    more: "a field of tomorrow's",
  };
  for (const [field, value] of Object.entries(changes)) {
    const roster = openRoster(installation, ours);
    const forged = Buffer.from(JSON.stringify({ ...genuine, data: { ...genuine.data, [field]: value } }));
    t.match(roster.hear(forged, NOW), { outcome: "tampered", message: /changed on its way/ }, field);
  }
});

t.test("without the key nobody can change the list of groups: one group less, one version more, another launcher", async (t) => {
  const genuine = JSON.parse(Buffer.from(all({ a: 5, b: 5 }, NOW)).toString()) as { data: Record<string, unknown> };
  for (const [field, value] of Object.entries({
    groups: [],
    launcher: "l2",
    at: new Date(NOW + 1).toISOString(),
    againSeconds: 1,
  })) {
    const roster = openRoster(installation, ours);
    const forged = Buffer.from(JSON.stringify({ ...genuine, data: { ...genuine.data, [field]: value } }));
    t.match(roster.hear(forged, NOW), { outcome: "tampered" }, field);
  }
});

t.test("a field that a newer launcher adds is bound too, and hinders nobody", async (t) => {
  const roster = openRoster(installation, ours);
  const data = { installation, launcher: "l1", group: "a", version: 5, namespace: "jobs", cluster: { server: "https://a:6443", verify: true, newer: [1] }, newest: { x: 1 } }; // biome-ignore format: one value
  const message = written("group.announced", data, ours, JSON.stringify({ authorization: "Bearer t1", more: 1 }));
  t.same(heard(roster, [message, NOW], [all({ a: 5 }, NOW), NOW]), ["taken", "taken"]);
  t.same(shown(roster), { a: A });
});

for (const [name, saying, want] of [
  ["a metadata service", { server: "http://169.254.169.254" }, /metadata service/],
  ["http to another machine", { server: "http://10.0.0.1:8080" }, /in clear/],
] as const)
  t.test(`nothing is sent to what is no cluster's address: ${name}`, async (t) => {
    const roster = openRoster(installation, ours);
    t.match(roster.hear(group("a", 5, saying), NOW), { outcome: "unusable", message: want });
  });

t.test("whatever passes at the broker is heard and does no harm", async (t) => {
  const roster = openRoster(installation, ours);
  const texts = [
    "",
    "{",
    "[]",
    "null",
    '{"specversion":"1.0"}',
    '{"specversion":"1.0","id":"1","source":"/x","type":"dev.longshore.group.announced","data":{}}',
  ];
  for (const text of texts) t.equal(roster.hear(Buffer.from(text), NOW).outcome, "unreadable");
  t.equal(roster.hear(group("a", 1, { installation: "other" }), NOW).outcome, "unreadable", "of another installation");
});
