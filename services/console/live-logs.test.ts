/** A log as the console reads it over the broker, from watchers that the test plays. */
import { randomBytes } from "node:crypto";
import { logMessages } from "@longshore/broker/log-messages.ts";
import { broadcasts } from "@longshore/broker/testing/broadcasts.ts";
import { type ControlData, type LogPiece, readerKey } from "@longshore/contract/messages/control.ts";
import { GroupName, Installation, Uid } from "@longshore/contract/ids.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t, { type Test } from "tap";
import { openLogReader } from "./live-logs.ts";

const installation = Installation.parse("test");
const never = new AbortController().signal;

/** One reading, what it yields as words, and what watchers hear of it. */
async function reading(t: Test) {
  const clock = stepsClock({ nowMs: Date.UTC(2030, 0, 1) });
  const broker = broadcasts();
  const key = randomBytes(48).toString("base64");
  const messages = logMessages(key, installation, "/watcher");
  const asked: ControlData<"log.asked">[] = [];
  const listening = await broker.listen("test.log.asked", { inFlightMax: 1, signal: never });
  void (async () => {
    for await (const body of listening) {
      const read = messages.read(body);
      if (typeof read === "object" && read.type === "log.asked") asked.push(read.data);
    }
  })();
  const stop = new AbortController();
  const told: string[] = [];
  const read = openLogReader({ broker, clock, installation, key, source: "/console" });
  const ended = (async () => {
    for await (const it of read({ group: GroupName.parse("prod-a"), job: Uid.parse("job-1") }, stop.signal))
      told.push(it.kind === "lines" ? it.text : it.kind === "gap" ? `gap ${it.bytes ?? "?"}` : it.kind);
    told.push("ended");
  })();
  t.teardown(() => stop.abort());
  await clock.pass(0);
  const by = (watcher: string, as = messages) => ({
    offer: () => broker.broadcast(as.write(readerKey(installation, "log.offered", reader()), "log.offered", { reader: reader(), watcher }), never),
    piece: (number: number, piece: LogPiece) =>
      broker.broadcast(as.write(readerKey(installation, "log.piece", reader()), "log.piece", { reader: reader(), watcher, number }, JSON.stringify(piece)), never),
  }); // biome-ignore format: one message a line
  const reader = (): string => asked[0]?.reader ?? "";
  return { clock, broker, asked, told, stop, ended, by };
}

t.test("the first watcher that offers is taken, named each 15 s, and its lines come to the end", async (t) => {
  const it = await reading(t);
  t.match(it.asked, [{ group: "prod-a", job: "job-1", tailLines: 1_000, watcher: undefined }]);
  const [first, second] = [it.by("w1"), it.by("w2")];
  await first.offer();
  await second.offer();
  await it.clock.pass(0);
  t.match(it.asked.slice(1), [{ watcher: "w1", tailLines: 1_000 }]);
  await first.piece(1, { text: "one\n" });
  await second.piece(1, { text: "another's\n" });
  await it.clock.pass(15_000);
  t.match(it.asked.slice(2), [{ watcher: "w1", tailLines: 0 }], "what it sent must not come again");
  await first.piece(2, { gap: { bytes: 70 }, text: "two\n" });
  await first.piece(3, { text: "", ends: true });
  await it.ended;
  t.same(it.told, ["one\n", "gap 70", "two\n", "ended"]);
  t.equal(await it.broker.broadcast({ id: "x", key: `test.log.piece.${it.asked[0]?.reader ?? ""}`, body: new Uint8Array() }, never), "unrouted"); // biome-ignore format: nobody listens
});

t.test("while nobody offers, the page is told, and it is asked again", async (t) => {
  const it = await reading(t);
  await it.clock.pass(11_000);
  t.same(it.told, ["nobody", "nobody"]);
  t.equal(it.asked.length, 3);
  await it.by("w1").offer();
  await it.clock.pass(0);
  t.match(it.asked.at(-1), { watcher: "w1" });
});

t.test("a piece that is missing is a gap, one that comes twice is one, and a stranger's is none", async (t) => {
  const it = await reading(t);
  const { offer, piece } = it.by("w1");
  await offer();
  await piece(1, { text: "one\n" });
  await piece(1, { text: "one\n" });
  await it.by("w1", logMessages(randomBytes(48).toString("base64"), installation, "/stranger")).piece(2, { text: "false\n" });
  await piece(3, { text: "three\n" });
  await it.clock.pass(0);
  t.same(it.told, ["one\n", "gap ?", "three\n"]);
  await piece(1, { text: "anew\n" });
  await it.clock.pass(0);
  t.same(it.told.slice(3), ["gap ?", "anew\n"], "its watcher began anew");
});

t.test("a watcher that is not heard for 45 s is given up, and another goes on without a line twice", async (t) => {
  const it = await reading(t);
  const { offer, piece } = it.by("w1");
  await offer();
  await piece(1, { text: "one\n" });
  await it.clock.pass(30_000);
  await offer();
  await it.clock.pass(44_000);
  t.match(it.asked.at(-1), { watcher: "w1" }, "an answer is enough");
  await it.clock.pass(20_000);
  t.match(it.asked.at(-1), { watcher: undefined, tailLines: 0 });
  await it.by("w2").offer();
  await it.by("w2").piece(1, { text: "later\n" });
  await it.clock.pass(0);
  t.same(it.told.filter((it) => it !== "nobody"), ["one\n", "gap ?", "later\n"]); // biome-ignore format: one line
});

t.test("whoever reads no more is heard no more", async (t) => {
  const it = await reading(t);
  await it.by("w1").offer();
  it.stop.abort();
  await it.ended;
  const { length } = it.asked;
  await it.clock.pass(60_000);
  t.equal(it.asked.length, length);
  t.equal(await it.by("w1").piece(1, { text: "one\n" }), "unrouted");
});
