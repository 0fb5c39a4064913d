/** The groups that a watcher learns: when it asks; which groups it starts, renews and stops; and its readiness meanwhile. */
import { randomBytes } from "node:crypto";
import { boundTo } from "@longshore/contract/messages/control.ts";
import { readControl, readFact, writeControl } from "@longshore/contract/messages/envelope.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { openClusters } from "@longshore/kubernetes/clusters.ts";
import { type VirtualClock, virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import { type Access, openAnnounced } from "@longshore/kubernetes/access/watch-access.ts";
import { createModel, type Model } from "@longshore/pocket/testing/model.ts";
import { scriptedPods } from "@longshore/pocket/testing/scripted.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import type { PartState } from "@longshore/runtime/health.ts";
import { type Log, silentLog } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { openSeal } from "@longshore/runtime/seal.ts";
import t, { type Test } from "tap";
import { learnGroups } from "./announced-groups.ts";
import { TIMING } from "./parts.ts";

const installation = Installation.parse("main");
const ring = randomBytes(48).toString("base64");
const seal = openSeal(ring, installation);

interface Learner {
  readonly clock: VirtualClock;
  readonly pocket: Model;
  /** The times at which the watcher asked. */
  readonly asked: readonly number[];
  /** The groups of the watcher's heartbeats, in order. */
  readonly beats: string[];
  /** The groups that the watcher opened, renewed and closed: "open a https://a:6443", "renew a t2", "close a". */
  readonly deeds: readonly string[];
  state(): PartState;
  /** A launcher announces these groups, and no others. */
  announce(
    groups: Readonly<
      Record<string, { readonly version: number; readonly token?: string; readonly server?: string; readonly verify?: boolean }>
    >,
  ): void;
  /** The groups whose certificate is not verified, as the log says, in order. */
  readonly unverified: readonly string[];
  reject(): void;
  /** The broker's answer to the next broadcasts. */
  answer: "stored" | "unrouted" | Error;
  stop(): Promise<unknown>;
}

function learning(t: Test, key = ring): Learner {
  const clock = virtualClock({ startMs: Date.UTC(2030, 0, 1) });
  const kubelet = scriptedPods(clock, () => ({}));
  const pocket = createModel({ clock, kubelet, namespaces: ["jobs"] });
  const stop = new AbortController();
  const [asked, beats, deeds, unverified]: [number[], string[], string[], string[]] = [[], [], [], []];
  const log: Log = {
    ...silentLog,
    warn: (message, { group } = {}) => void (message.endsWith("certificate is not verified") && unverified.push(String(group))),
  };
  const rejections: (() => void)[] = [];
  const heard = mailbox(stop.signal);

  const open: typeof openAnnounced = (first: Access, options) => {
    const inner = openAnnounced(first, options); // only decides whether the access is renewed; it sends nothing
    deeds.push(`open ${first.name} ${first.server}`);
    rejections.push(options.onRejected);
    const clusters = openClusters([{ name: first.name, namespace: first.namespace, transport: pocket.transport() }], { clock });
    return {
      cluster: { ...clusters.cluster(first.name), name: first.name },
      renew: (access) => {
        const renewed = inner.renew(access);
        if (renewed) deeds.push(`renew ${access.name} ${access.authorization}`);
        return renewed;
      },
      [Symbol.asyncDispose]: async () => {
        deeds.push(`close ${first.name}`);
        await clusters[Symbol.asyncDispose]();
        await inner[Symbol.asyncDispose]();
      },
    };
  };

  const it = { answer: "stored" as Learner["answer"] };
  const learned = learnGroups(
    {
      installation, clock, owner: "watcher-1", log, metrics: openMetrics("watcher", "test"), timing: TIMING, fail: noFailpoint, pause: backOff(clock),
      broker: {
        publish: async (_topic, { body }) => {
          const read = readFact(body);
          if (read.kind === "fact" && read.fact.type === "group.watched") beats.push(read.fact.data.group);
          return "stored";
        },
        broadcast: async ({ body }) => {
          const read = readControl(body);
          if (read.kind === "control" && read.control.type === "groups.asked") asked.push(clock.now());
          if (it.answer instanceof Error) throw it.answer;
          return it.answer;
        },
        listen: async () => heard.items,
      },
    }, openSeal(key, installation), open); // biome-ignore format: a parts list
  const ended = learned.loop(stop.signal).then(
    () => "stopped",
    (error: unknown) => error,
  );
  const end = async (): Promise<unknown> => {
    stop.abort();
    return await ended;
  };
  t.teardown(async () => {
    await end();
    await pocket[Symbol.asyncDispose]();
    await kubelet[Symbol.asyncDispose]();
  });
  return Object.assign(it, {
    clock, pocket, asked, beats, deeds, unverified,
    state: learned.state,
    reject: () => rejections.at(-1)?.(),
    stop: end,
    announce: (groups: Parameters<Learner["announce"]>[0]) => {
      for (const body of written(groups, clock.now())) heard.put(body);
    },
  }); // biome-ignore format: one value
}

function written(groups: Parameters<Learner["announce"]>[0], atMs: number): readonly Uint8Array[] {
  const message = (type: "group.announced" | "groups.announced", data: object, text: string): Uint8Array => {
    const sealed = seal.seal(text, boundTo(type, { ...data }));
    return writeControl({ id: "m", source: "/l", type, data: { ...data, sealed } } as unknown as Parameters<
      typeof writeControl
    >[0]);
  };
  const common = { installation, launcher: "l1" };
  const each = Object.entries(groups).map(([group, { version, token = "t1", server = "https://a:6443", verify = true }]) => {
    const data = { ...common, group, version, namespace: "jobs", cluster: { server, verify } };
    return message("group.announced", data, JSON.stringify({ authorization: token }));
  });
  const named = Object.entries(groups).map(([group, { version }]) => ({ group, version }));
  const all = { ...common, at: new Date(atMs).toISOString(), againSeconds: 30, groups: named };
  return [...each, message("groups.announced", all, "")];
}

function mailbox(signal: AbortSignal): { put(body: Uint8Array): void; readonly items: AsyncIterableIterator<Uint8Array> } {
  const waiting: Uint8Array[] = [];
  let wake = (): void => undefined;
  signal.addEventListener("abort", () => wake(), { once: true });
  const items: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => items,
    next: async () => {
      while (waiting.length === 0 && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      const value = waiting.shift();
      return signal.aborted || value === undefined ? { done: true, value: undefined } : { done: false, value };
    },
  };
  return { put: (body) => (waiting.push(body), wake()), items };
}

t.test("it asks at once, and again with patience while nobody answers; its readiness says what it waits for", async (t) => {
  const it = learning(t);
  const began = it.clock.now();
  it.answer = "unrouted";
  await it.clock.sleep(100);
  t.equal(it.asked.length, 1);
  t.match(it.state(), { ready: false, says: /waiting for the launcher's announcement: no launcher with a sealKeyFile/ });
  it.answer = "stored";
  await it.clock.sleep(60_000);
  t.match(it.state(), { ready: false, says: /asked, not answered yet/ });
  t.ok(it.asked.length >= 6 && it.asked.length <= 10, `${it.asked.length} times: ${it.asked.map((ms) => ms - began).join()}`);
});

t.test("an announced group is watched, and then nothing more is asked", async (t) => {
  const it = learning(t);
  await it.clock.sleep(100);
  for (let turn = 0; turn < 4; turn++) {
    it.announce({ a: { version: 5 }, b: { version: 5 } });
    await it.clock.sleep(30_000);
  }
  t.same(it.state(), { ready: true, says: "a, b" });
  t.same(new Set(it.beats), new Set(["a", "b"]), "each has its heartbeat");
  t.same(it.deeds, ["open a https://a:6443", "open b https://a:6443"]);
  t.equal(it.asked.length, 1);
});

t.test("silence changes nothing but that it asks again", async (t) => {
  const it = learning(t);
  await it.clock.sleep(100);
  it.announce({ a: { version: 5 } });
  await it.clock.sleep(3_600_000);
  t.same(it.state(), { ready: true, says: "a" });
  t.same(it.deeds, ["open a https://a:6443"]);
  t.ok(it.asked.length > 100);
  t.ok(it.beats.length > 200, "it goes on watching");
});

t.test("a new credential is used, and the watch goes on: nothing is listed anew", async (t) => {
  const it = learning(t);
  it.announce({ a: { version: 5 } });
  await it.clock.sleep(1_000);
  const listed = () => it.pocket.requests().filter(({ path }) => path.includes("limit=")).length;
  const before = listed();
  it.announce({ a: { version: 6, token: "t2" } });
  await it.clock.sleep(30_000);
  t.same(it.deeds, ["open a https://a:6443", "renew a t2"]);
  t.equal(listed(), before);
});

t.test("another address is another cluster: the old watch ends before the new one begins to speak", async (t) => {
  const it = learning(t);
  it.announce({ a: { version: 5 } });
  await it.clock.sleep(1_000);
  it.announce({ a: { version: 6, server: "https://b:6443" } });
  await it.clock.sleep(30_000);
  t.same(it.deeds, ["open a https://a:6443", "open a https://b:6443", "close a"]);
  t.equal(it.beats.at(-1), "a");
});

t.test("a group that no launcher has any more is watched no longer", async (t) => {
  const it = learning(t);
  it.announce({ a: { version: 5 }, b: { version: 5 } });
  await it.clock.sleep(1_000);
  it.announce({ a: { version: 5 } });
  await it.clock.sleep(1_000);
  t.same(it.state(), { ready: true, says: "a" });
  t.same(it.deeds.slice(2), ["close b"]);
  it.beats.length = 0;
  await it.clock.sleep(60_000);
  t.same(new Set(it.beats), new Set(["a"]));
});

t.test("a cluster that rejects the announced credential makes the watcher ask, not more often than it may", async (t) => {
  const it = learning(t);
  await it.clock.sleep(100);
  it.announce({ a: { version: 5 } });
  await it.clock.sleep(1_000);
  const before = it.asked.length;
  for (let n = 0; n < 200; n++) {
    it.reject();
    await it.clock.sleep(100);
  }
  t.ok(it.asked.length > before && it.asked.length <= before + 6, `${it.asked.length - before} times in 20 s`);
});

t.test("with another key it says whose key it is and what to do, and goes on waiting", async (t) => {
  const it = learning(t, randomBytes(48).toString("base64"));
  it.announce({ a: { version: 5 } });
  await it.clock.sleep(1_000);
  t.match(it.state(), { ready: false, says: new RegExp(`2 were not believed; the last: .*${seal.key}.*same file`) });
  t.same(it.deeds, []);
});

t.test("a broker that is away is asked again", async (t) => {
  const it = learning(t);
  it.answer = new Failure("retry", "BrokerUnavailable", "It is away.");
  await it.clock.sleep(10_000);
  t.ok(it.asked.length > 2);
  t.equal(await it.stop(), "stopped");
});

t.test("no groups at all is an answer", async (t) => {
  const it = learning(t);
  it.announce({});
  await it.clock.sleep(1_000);
  t.same(it.state(), { ready: true, says: "none is announced" });
});

t.test("it ends in order, with all that it watches", async (t) => {
  const it = learning(t);
  it.announce({ a: { version: 5 }, b: { version: 5 } });
  await it.clock.sleep(1_000);
  t.equal(await it.stop(), "stopped");
  t.same(it.deeds.slice(2).toSorted(), ["close a", "close b"]);
});

t.test("that a cluster's certificate is not verified is said when it is announced so, and not of others", async (t) => {
  const it = learning(t);
  it.announce({ a: { version: 1 }, b: { version: 1, verify: false } });
  await it.clock.sleep(1_000);
  it.announce({ a: { version: 1 }, b: { version: 1, verify: false } });
  await it.clock.sleep(1_000);
  t.same(it.unverified, ["b"], "the same again is no news");
  it.announce({ a: { version: 2, verify: false } });
  await it.clock.sleep(1_000);
  t.same(it.unverified, ["b", "a"], "also of a group that is watched already");
});
