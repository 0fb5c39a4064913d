/** What a watcher sends to readers of logs: to whom, in which order, and when it stops. */
import { randomBytes, randomUUID } from "node:crypto";
import { logMessages } from "@longshore/broker/log-messages.ts";
import { broadcasts } from "@longshore/broker/testing/broadcasts.ts";
import { type ControlData, controlKey, LogPiece, toReader } from "@longshore/contract/messages/control.ts";
import { GroupName, Installation, Uid } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import { type Log, silentLog } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import t, { type Test } from "tap";
import { LOG_LIMITS, type LogLimits, openLiveLogs } from "./live-logs.ts";
import type { Watched } from "./parts.ts";

const installation = Installation.parse("test");
const group = GroupName.parse("prod-a");
const job = Uid.parse("job-1");
const ring = randomBytes(48).toString("base64");
const messages = logMessages(ring, installation, "/test");

type Line = string | { readonly breaks: true } | { readonly waitMs: number };

interface Stage {
  /** What the log says each time that it is opened, and then it ends, unless `isOpen`. */
  readonly logs: readonly (readonly Line[])[];
  readonly isOpen?: boolean;
  readonly limits?: Partial<LogLimits>;
  readonly warn?: Log["warn"];
}

/** A watcher of one group whose only pod prints these lines. */
function stage(t: Test, { logs, isOpen = false, limits, warn = () => undefined }: Stage) {
  const clock = virtualClock({ startMs: Date.UTC(2030, 0, 1) });
  const broker = broadcasts();
  const stop = new AbortController();
  const opened: (number | undefined)[] = [];
  const reading = { now: 0 };
  const pod = (terminated: boolean) => ({
    kind: "Pod",
    metadata: { name: "pod-1", namespace: "jobs", uid: "pod-1", resourceVersion: "1", labels: { "batch.kubernetes.io/controller-uid": job } },
    spec: { containers: [{ name: "main", image: "busybox" }] },
    status: { phase: terminated ? "Succeeded" : "Running", containerStatuses: [{ name: "main", state: terminated ? { terminated: { exitCode: 0 } } : { running: {} } }] },
  }); // biome-ignore format: one object
  const cluster = {
    name: group,
    read: { podsOf: async () => ({ kind: "listed", items: [pod(opened.length >= logs.length && !isOpen)] }) },
    logLines: async function* ({ tailLines }: { readonly tailLines?: number }, signal: AbortSignal) {
      const lines = logs[opened.length] ?? [];
      opened.push(tailLines);
      reading.now++;
      try {
        for (const line of lines) {
          if (signal.aborted) return;
          if (typeof line === "string") yield line;
          else if ("waitMs" in line) await clock.sleep(line.waitMs, signal);
          else throw new Failure("retry", "unanswered", "broken");
        }
        if (isOpen) await clock.sleep(1e9, signal);
      } finally {
        reading.now--;
      }
    },
  } as unknown as Watched;
  const live = openLiveLogs(
    { owner: "watcher-1", clock, metrics: openMetrics("watcher", "test"), log: { ...silentLog, warn }, pause: backOff(clock), broker: { ...broker, publish: async () => "stored" } },
    messages,
    { ...LOG_LIMITS, ...limits },
  ); // biome-ignore format: a parts list
  const withdraw = live.offer(cluster);
  const ended = live.loop(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await ended;
  });
  return { clock, broker, opened, reading, withdraw, ask: asking(clock, broker) };
}

const asking =
  (clock: { now(): number }, broker: ReturnType<typeof broadcasts>) =>
  (reader: string, change: Partial<ControlData<"log.asked">> = {}, by = messages) =>
    broker.broadcast(
      by.write(controlKey(installation, "log.asked"), "log.asked", {
        ...{ reader, group, job, tailLines: 1_000, at: new Date(clock.now()).toISOString() },
        ...change,
      }),
      new AbortController().signal,
    );

/** Hears what is sent to one reader. */
async function hearing(t: Test, { broker, clock }: Pick<ReturnType<typeof stage>, "broker" | "clock">) {
  const reader = randomUUID();
  const gone = new AbortController();
  t.teardown(() => gone.abort());
  const offers: string[] = [];
  const pieces: LogPiece[] = [];
  const numbers: number[] = [];
  const heard = await broker.listen(toReader(installation, reader), { inFlightMax: 1, signal: gone.signal });
  void (async () => {
    for await (const body of heard) {
      const read = messages.read(body);
      if (typeof read !== "object") throw new Error(`not a message for a reader: ${read}`);
      if (read.type === "log.offered") offers.push(read.data.watcher);
      else if (read.type === "log.piece") {
        numbers.push(read.data.number);
        pieces.push(LogPiece.parse(JSON.parse(read.text)));
      }
    }
  })();
  const until = async (what: string, done: () => boolean): Promise<void> => {
    for (let turns = 0; !done(); turns++) {
      if (turns > 2_000) throw new Error(`${what} did not come: ${JSON.stringify({ offers, pieces })}`);
      await clock.sleep(50);
    }
  };
  return {
    reader,
    offers,
    pieces,
    numbers,
    until,
    text: () => pieces.map(({ text }) => text).join(""),
    leave: () => gone.abort(),
  };
}

const named = { watcher: "watcher-1" };
const isEnd = ({ ends }: LogPiece): boolean => ends === true;

t.test("it offers when asked, and reads when it is named: all lines in order, then the end", async (t) => {
  const it = stage(t, { logs: [["one", { waitMs: 1_000 }, "two"]] });
  const reader = await hearing(t, it);
  await it.ask(reader.reader);
  await reader.until("an offer", () => reader.offers.length === 1);
  await it.clock.sleep(5_000);
  t.same(it.opened, [], "an offer alone reads nothing");
  await it.ask(reader.reader, named);
  await reader.until("the end", () => reader.pieces.some(isEnd));
  t.equal(reader.text(), "one\ntwo\n");
  t.same(reader.numbers, [1, 2, 3]);
  t.same(it.opened, [1_000]);
  t.equal(reader.offers.length, 2, "each question is answered");
});

t.test("what it is not asked for, it does not read", async (t) => {
  const it = stage(t, { logs: [["one"]] });
  const reader = await hearing(t, it);
  await it.ask(reader.reader, { watcher: "watcher-2" });
  await it.ask(reader.reader, { group: GroupName.parse("prod-b"), ...named });
  await it.clock.sleep(5_000);
  t.same(reader.offers, [], "another watcher was chosen, and it has no other group");
  it.withdraw();
  await it.ask(reader.reader);
  await it.clock.sleep(5_000);
  t.same(reader.offers, [], "the group is watched no longer");
  t.same(it.opened, []);
});

t.test("whoever has not the key, or sends an old question again, gets nothing, and the log says so once", async (t) => {
  const warned: string[] = [];
  const it = stage(t, { logs: [["one"]], warn: (message) => void warned.push(message) });
  const reader = await hearing(t, it);
  const stranger = logMessages(randomBytes(48).toString("base64"), installation, "/stranger");
  await it.ask(reader.reader, named, stranger);
  await it.ask(reader.reader, { ...named, at: new Date(it.clock.now() - 3_600_000).toISOString() });
  await it.ask(reader.reader, named, logMessages(ring, Installation.parse("other"), "/other"));
  await it.clock.sleep(5_000);
  t.same([reader.offers, reader.pieces, it.opened], [[], [], []]);
  t.same(warned, ["a question for a log is not believed; more such questions are not logged"]);
  await it.ask(reader.reader);
  await reader.until("an offer", () => reader.offers.length === 1);
});

t.test("what a program prints stands in no message that can be read without the key", async (t) => {
  const it = stage(t, { logs: [["CANARY"]] });
  const reader = await hearing(t, it);
  await it.ask(reader.reader, named);
  await reader.until("the end", () => reader.pieces.some(isEnd));
  t.match(reader.text(), "CANARY");
  for (const body of it.broker.bodies) t.notMatch(Buffer.from(body).toString(), "CANARY");
  const stranger = logMessages(randomBytes(48).toString("base64"), installation, "/stranger");
  t.ok(it.broker.bodies.every((body) => typeof stranger.read(body) !== "object"));
});

t.test("a reader that asks again is read for, and one that is silent for 45 s is not", async (t) => {
  const it = stage(t, { logs: [["one"]], isOpen: true });
  const reader = await hearing(t, it);
  for (let times = 0; times < 8; times++) {
    await it.ask(reader.reader, named);
    await it.clock.sleep(15_000);
    t.equal(it.reading.now, 1);
  }
  await it.clock.sleep(31_000);
  t.equal(it.reading.now, 0);
  t.same(it.opened, [1_000], "it was opened once");
});

t.test("a reader that took another watcher's offer, or has gone, is not read for", async (t) => {
  const it = stage(t, { logs: [["one"], ["one", { waitMs: 5_000 }, "two"]], isOpen: true });
  const changed = await hearing(t, it);
  await it.ask(changed.reader, named);
  await changed.until("a line", () => changed.text() !== "");
  await it.ask(changed.reader, { watcher: "watcher-2" });
  await changed.until("the stop", () => it.reading.now === 0);
  const left = await hearing(t, it);
  await it.ask(left.reader, named);
  await left.until("a line", () => left.text() !== "");
  left.leave();
  const began = it.clock.now();
  await left.until("the stop", () => it.reading.now === 0);
  t.ok(it.clock.now() - began < 10_000, "the first line that nobody hears ends it");
});

t.test("a program that prints more than is sent: the gap is marked, and what follows comes", async (t) => {
  const many = Array.from({ length: 200 }, (_, at) => `line ${at}`);
  const it = stage(t, { logs: [[...many, { waitMs: 60_000 }, "last"]], limits: { bytesPerSecond: 10, burstBytes: 100 } });
  const reader = await hearing(t, it);
  const asks = async (): Promise<void> => {
    for (let times = 0; times < 5; times++) {
      await it.ask(reader.reader, named);
      await it.clock.sleep(15_000);
    }
  };
  await Promise.all([asks(), reader.until("the end", () => reader.pieces.some(isEnd))]);
  t.match(reader.text(), /^line 0\nline 1\n/);
  t.match(reader.text(), /\nlast\n$/);
  const skipped = reader.pieces.reduce((sum, { gap }) => sum + (gap?.bytes ?? 0), 0);
  t.equal(
    skipped + Buffer.byteLength(reader.text()),
    Buffer.byteLength([...many, "last", ""].join("\n")),
    "no byte is unaccounted",
  );
});

t.test("after a broken connection it goes on with new lines, and marks the gap", async (t) => {
  const it = stage(t, {
    logs: [
      ["one", { breaks: true }],
      [{ waitMs: 1_000 }, "three"],
    ],
  });
  const reader = await hearing(t, it);
  await it.ask(reader.reader, named);
  await reader.until("the end", () => reader.pieces.some(isEnd));
  t.same(it.opened, [1_000, 0], "nothing comes twice");
  t.equal(reader.text(), "one\nthree\n");
  t.same(reader.pieces.flatMap(({ gap }) => gap ?? []), [{}]); // biome-ignore format: one line
});

t.test("a program that has not started is waited for, and a bound stands against too many readers", async (t) => {
  const it = stage(t, { logs: [[{ breaks: true }], [{ breaks: true }], ["one"]], isOpen: true, limits: { readersMost: 1 } });
  const first = await hearing(t, it);
  await it.ask(first.reader, named);
  await first.until("its line", () => first.text() === "one\n");
  t.same(it.opened, [1_000, 1_000, 1_000]);
  const second = await hearing(t, it);
  await it.ask(second.reader);
  await it.clock.sleep(5_000);
  t.same(second.offers, []);
  await it.ask(first.reader, named);
  await first.until("its answer", () => first.offers.length === 2);
});
