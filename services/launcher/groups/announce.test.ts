/**
 * The announcements of a launcher: their content, their times, and how they go on while its files are wrong or its broker
 * fails.
 */
import { randomBytes } from "node:crypto";
import type { Broker } from "@longshore/broker/port.ts";
import { boundTo, type Control, type ControlData } from "@longshore/contract/messages/control.ts";
import { readControl, writeControl } from "@longshore/contract/messages/envelope.ts";
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import type { Access, Look } from "@longshore/kubernetes/access/watch-access.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openSeal } from "@longshore/runtime/seal.ts";
import t, { type Test } from "tap";
import { announce, announceTiming } from "./announce.ts";
import type { Cluster } from "../parts.ts";

const installation = Installation.parse("main");
const seal = openSeal(randomBytes(48).toString("base64"), installation);
const START = Date.UTC(2030, 0, 1);

function access(name: string, token: string, server = "https://a:6443"): Access {
  const trust = { ca: "CA", cert: undefined, key: undefined, serverName: "kubernetes", verify: true };
  return { name: GroupName.parse(name), namespace: "jobs", server, trust, authorization: `Bearer ${token}` };
}

interface Announcing {
  /** The files' content; or, as a text, the mistake found in them. */
  files: readonly Look[] | string;
  /** How many of the next broadcasts fail. */
  away: number;
  readonly clock: ReturnType<typeof virtualClock>;
  readonly said: readonly { readonly atMs: number; readonly control: Control }[];
  readonly warned: readonly string[];
  ask(): void;
  types(): readonly string[];
  /** The last announcement of this group. */
  last(group: string): { readonly version: number; readonly token: string | undefined };
}

function announcing(t: Test, files: readonly Access[], running: readonly string[] = []): Announcing {
  const clock = virtualClock({ startMs: START });
  const stop = new AbortController();
  const said: { atMs: number; control: Control }[] = [];
  const warned: string[] = [];
  const questions: ((body: Uint8Array) => void)[] = [];
  const note = (message: string, fields: object = {}) => void warned.push(`${message} ${JSON.stringify(fields)}`);
  const log: Log = { debug: () => undefined, info: () => undefined, warn: note, error: note, child: () => log };
  const broker: Pick<Broker, "broadcast" | "listen"> = {
    broadcast: async ({ key, body }) => {
      if (it.away-- > 0) throw new Failure("retry", "BrokerUnavailable", "It is away.");
      const read = readControl(body);
      if (read.kind !== "control") throw new Error(`a message that nobody could read: ${JSON.stringify(read)}`);
      t.equal(key, `main.${read.control.type}`);
      said.push({ atMs: clock.now(), control: read.control });
      return "unrouted";
    },
    listen: async () => asked(questions, stop.signal),
  };
  const clusters = new Map(running.map((name) => [GroupName.parse(name), {} as Cluster]));
  const it: Announcing = {
    files, away: 0, clock, said, warned,
    ask: () => {
      const data = { installation: "main", watcher: "w" };
      for (const tell of questions.splice(0)) tell(writeControl({ id: "q", source: "/w", type: "groups.asked", data }));
    },
    types: () => said.map(({ control }) => control.type),
    last: (group) => {
      const found = said.map(({ control }) => control).findLast((it) => it.type === "group.announced" && it.data.group === group);
      const data = found?.data as ControlData<"group.announced">;
      const opened = seal.open(data.sealed, boundTo("group.announced", data));
      if (opened.kind === "refused") throw new Error(opened.message);
      const { authorization } = JSON.parse(opened.text) as { authorization?: string };
      return { version: data.version, token: authorization?.replace("Bearer ", "") };
    },
  }; // biome-ignore format: one value
  const look = async (): Promise<readonly Look[]> => {
    if (typeof it.files === "string") throw new ConfigProblems([it.files]);
    return it.files;
  };
  const parts = { installation, owner: "launcher-1", clock, log, broker: broker as Broker, clusters, pause: backOff(clock) };
  const ended = announce(parts, { seal, access: { look }, timing: announceTiming() })(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await ended;
  });
  return it;
}

/** Yields one question at a time, as they come. */
function asked(questions: ((body: Uint8Array) => void)[], signal: AbortSignal): AsyncIterableIterator<Uint8Array> {
  const over: IteratorResult<Uint8Array> = { done: true, value: undefined };
  const items: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => items,
    next: () =>
      new Promise((resolve) => {
        questions.push((value) => resolve({ done: false, value }));
        signal.addEventListener("abort", () => resolve(over), { once: true });
      }),
  };
  return items;
}

t.test("at the start each group is announced, and then that these are all; sealed, and readable with the key", async (t) => {
  const it = announcing(t, [access("a", "token-1"), access("b", "token-2")]);
  await it.clock.sleep(1_000);
  t.same(it.types(), ["group.announced", "group.announced", "groups.announced"]);
  t.match(it.said[0]?.control.data, { installation: "main", launcher: "launcher-1", group: "a", version: START, namespace: "jobs", cluster: { server: "https://a:6443", ca: "CA", serverName: "kubernetes", verify: true } }); // biome-ignore format: one value
  t.notMatch(JSON.stringify(it.said), /token-[12]|Bearer|pollSeconds/);
  t.match(it.last("b"), { version: START, token: "token-2" });
  const all = it.said[2]?.control.data as ControlData<"groups.announced">;
  t.same(all.groups, [{ group: "a", version: START }, { group: "b", version: START }]); // biome-ignore format: one value
  t.equal(seal.open(all.sealed, boundTo("groups.announced", all)).kind, "opened");
});

t.test("it is said again from time to time, word for word: to say it again makes nothing newer", async (t) => {
  const it = announcing(t, [access("a", "token-1")]);
  await it.clock.sleep(100_000);
  t.equal(it.types().filter((type) => type === "groups.announced").length, 4);
  const groups = it.said
    .filter(({ control }) => control.type === "group.announced")
    .map(({ control }) => JSON.stringify(control));
  t.equal(new Set(groups).size, 1);
});

t.test("a question is answered at once, and many questions are answered together", async (t) => {
  const it = announcing(t, [access("a", "token-1")]);
  await it.clock.sleep(7_000);
  const before = it.said.length;
  const askedAt = it.clock.now();
  it.ask();
  await it.clock.sleep(1);
  t.equal(it.said.length, before + 2);
  t.ok((it.said.at(-1)?.atMs ?? 0) - askedAt <= 1);
  for (let n = 0; n < 50; n++) {
    it.ask();
    await it.clock.sleep(1);
  }
  await it.clock.sleep(1_000);
  t.ok(it.said.length <= before + 6, "not once for each");
});

t.test("a rotated token is announced at the next look, as a newer version", async (t) => {
  const it = announcing(t, [access("a", "token-1")]);
  await it.clock.sleep(7_000);
  it.files = [access("a", "token-2")];
  await it.clock.sleep(6_000);
  const { version, token } = it.last("a");
  t.equal(token, "token-2");
  t.ok(version > START);
});

t.test("a group that is new in the file is announced; one that went is not named any more", async (t) => {
  const it = announcing(t, [access("a", "token-1"), access("b", "token-1")]);
  await it.clock.sleep(1_000);
  it.files = [access("a", "token-1"), access("c", "token-3")];
  await it.clock.sleep(6_000);
  const all = it.said.at(-1)?.control.data as ControlData<"groups.announced">;
  t.same(all.groups.map(({ group }) => group), ["a", "c"]); // biome-ignore format: one value
});

t.test(
  "a group that went from the file is still named while this launcher runs Jobs there: somebody must watch them",
  async (t) => {
    const it = announcing(t, [access("a", "token-1"), access("b", "token-1")], ["a", "b"]);
    await it.clock.sleep(1_000);
    it.files = [access("a", "token-1")];
    await it.clock.sleep(60_000);
    const all = it.said.at(-1)?.control.data as ControlData<"groups.announced">;
    t.same(all.groups.map(({ group }) => group), ["a", "b"]); // biome-ignore format: one value
  },
);

t.test("files that are wrong for a while change nothing, and their mistake is told once", async (t) => {
  const it = announcing(t, [access("a", "token-1")]);
  await it.clock.sleep(1_000);
  it.files = "groups.yaml: not YAML";
  await it.clock.sleep(120_000);
  t.match(it.warned, [/earlier content is announced.*not YAML/]);
  t.equal(it.warned.length, 1);
  t.equal(it.types().filter((type) => type === "groups.announced").length, 5, "and it goes on");
  it.files = [access("a", "token-2")];
  await it.clock.sleep(10_000);
  t.equal(it.last("a").token, "token-2");
});

t.test("one group whose credential is wrong is announced as it was, and the others' rotations go on", async (t) => {
  const it = announcing(t, [access("a", "token-1"), access("b", "token-1")]);
  await it.clock.sleep(1_000);
  it.files = [{ name: GroupName.parse("a"), problem: "a.token: it does not exist" }, access("b", "token-2")];
  await it.clock.sleep(60_000);
  t.equal(it.last("b").token, "token-2");
  t.equal(it.last("a").token, "token-1");
  const all = it.said.at(-1)?.control.data as ControlData<"groups.announced">;
  t.same(all.groups.map(({ group }) => group), ["a", "b"]); // biome-ignore format: one value
  t.match(it.warned, [/earlier content is announced.*a.token: it does not exist/]);
  t.equal(it.warned.length, 1);
});

t.test("while the broker is away the announcement is tried again, with patience, and then everything is announced", async (t) => {
  const it = announcing(t, [access("a", "token-1")]);
  it.away = 5;
  await it.clock.sleep(60_000);
  t.match(it.warned, [/could not be announced yet.*BrokerUnavailable/]);
  t.ok(it.types().includes("groups.announced"));
});

t.test("a clock that was set back makes no older version", async (t) => {
  const it = announcing(t, [access("a", "token-1")]);
  await it.clock.sleep(1_000);
  const before = it.last("a").version;
  const { now } = it.clock;
  Object.assign(it.clock, { now: () => now() - 3_600_000 });
  it.files = [access("a", "token-2")];
  await it.clock.sleep(10_000);
  t.match(it.last("a"), { token: "token-2", version: before + 1 });
});

t.test(
  "how often a group is to be polled, and by which annotation its Jobs are prepared, is announced, and a change is news",
  async (t) => {
    const it = announcing(t, [access("a", "token")]);
    await it.clock.sleep(1_000);
    it.files = [{ ...access("a", "token"), pollMs: 10_000 }];
    await it.clock.sleep(6_000);
    const polled = it.said.map(({ control }) => (control.type === "group.announced" ? control.data.pollSeconds : "none"));
    t.same(polled, [undefined, "none", 10, "none"]);
    it.files = [{ ...access("a", "token"), annotation: "job-assistant=enable" }];
    await it.clock.sleep(6_000);
    t.match(it.said.at(-2)?.control.data, { annotation: "job-assistant=enable" });
  },
);
