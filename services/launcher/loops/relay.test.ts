import type { Outgoing, Published } from "@longshore/broker/port.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { GroupName, RunId } from "@longshore/contract/ids.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import t, { type Test } from "tap";
import type { Parts } from "../parts.ts";
import { relay } from "./relay.ts";
import { commandOf, deliveryOf, GROUP, RUN, type Stage, stage } from "../testing/stage.ts";
import { admit } from "../intake/admit.ts";

/** The broker's answer to the n-th try of a message. */
type Answer = (message: string, n: number) => Published | Failure | Error | Promise<Published>;

interface Relaying extends Stage {
  /**
   * The name of each message that was tried: "a/1" (run and event number), "reply QUEUE", "refused RUN", or the routing key of
   * a group's event.
   */
  readonly tried: readonly string[];
  readonly stored: readonly string[];
  start(change?: Partial<Parts>): void;
  until(done: () => boolean): Promise<void>;
  /** Stops the relay, and waits until it has ended. */
  stop(): Promise<unknown>;
  readonly ended: Promise<unknown>;
}

async function relaying(t: Test, answer: Answer = () => "stored"): Promise<Relaying> {
  const tried: string[] = [];
  const stored: string[] = [];
  const told = async (name: string): Promise<Published> => {
    tried.push(name);
    const said = await answer(name, tried.filter((it) => it === name).length);
    if (said instanceof Error) throw said;
    if (said === "stored") stored.push(name);
    return said;
  };
  const broker = {
    publish: (_topic: string, message: Outgoing) => told(nameOf(message)),
    reply: (queue: string) => told(`reply ${queue}`),
  };
  const it = await stage(t, { broker });
  const stop = new AbortController();
  const ended = Promise.withResolvers<unknown>();
  t.teardown(() => stop.abort());
  return {
    ...it, tried, stored,
    ended: ended.promise,
    start: (change = {}) =>
      void relay({ ...it.parts, ...change })(stop.signal).then(
        () => ended.resolve("stopped"),
        (error: unknown) => ended.resolve(error),
      ),
    until: async (done) => {
      for (let turns = 0; !done(); turns++) {
        if (turns > 5_000) throw new Error(`it did not come to that; tried ${tried.join(" ")}`);
        await it.clock.sleep(20);
      }
    },
    stop: async () => {
      stop.abort();
      return await ended.promise;
    },
  }; // biome-ignore format: one value
}

function nameOf({ id, key, body }: Outgoing): string {
  if (key.includes(".group.")) return key;
  const { type, data } = JSON.parse(Buffer.from(body).toString("utf8")) as { type: string; data: { run: string } };
  return type.startsWith("dev.longshore.command.")
    ? `${type.split(".").at(-1)} ${data.run}`
    : `${data.run}/${Number(id.slice(-10))}`;
}

/** Makes a run with a story of three events: accepted, cancelling, cancelled. */
async function story(it: Stage, run: string): Promise<void> {
  await it.publish("run.requested", { run: RunId.parse(run), image: "busybox" });
  await it.publish("run.cancel", { run: RunId.parse(run) });
}

const unsent = (it: Stage): number => [...it.model.tables.runs.values()].reduce((sum, run) => sum + run.unsent.size, 0);
const nack = () => new Failure("retry", "BrokerUnavailable", "It did not confirm the message.");
const ofRun = (run: string, names: readonly string[]): readonly string[] => names.filter((it) => it.startsWith(`${run}/`));

t.test("tells each run's story in order, and marks it as sent", async (t) => {
  const it = await relaying(t);
  await story(it, "a");
  await story(it, "b");
  it.start();
  await it.until(() => unsent(it) === 0);
  t.same(ofRun("a", it.stored), ["a/1", "a/2", "a/3"]);
  t.same(ofRun("b", it.stored), ["b/1", "b/2", "b/3"]);
  t.equal(await it.stop(), "stopped");
});

t.test("an event is published with its run's trace and correlation id", async (t) => {
  const told: Outgoing[] = [];
  const broker = { publish: async (_topic: string, message: Outgoing) => (told.push(message), "stored" as const) };
  const it = await stage(t, { broker });
  const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const body = Buffer.from(commandOf("run.requested", { run: RUN, image: "busybox" })).toString();
  const delivery = deliveryOf(body.replace("{", `{"traceparent":"${trace}",`));
  await admit(it.parts)({ ...delivery, correlationId: "order 7" });
  const stop = new AbortController();
  const ended = relay(it.parts)(stop.signal);
  for (let turns = 0; told.length === 0 && turns < 100; turns++) await it.clock.sleep(20);
  stop.abort();
  await ended;
  t.equal(told[0]?.correlationId, "order 7");
  const marks = { traceparent: trace, correlationid: "order 7" };
  t.match(JSON.parse(Buffer.from(told[0]?.body ?? "{}").toString()), { type: "dev.longshore.run.accepted", ...marks });
});

t.test("has one unconfirmed event of a run, while the others' stories go on", async (t) => {
  const confirm = Promise.withResolvers<Published>();
  const it = await relaying(t, (name) => (name === "a/1" ? confirm.promise : "stored"));
  await story(it, "a");
  await story(it, "b");
  it.start();
  await it.until(() => it.stored.includes("b/3"));
  t.same(ofRun("a", it.tried), ["a/1"]);
  confirm.resolve("stored");
  await it.until(() => unsent(it) === 0);
  t.same(ofRun("a", it.stored), ["a/1", "a/2", "a/3"]);
  await it.stop();
});

for (const { name, first } of [
  { name: "an event that the broker refused keeps its place", first: nack },
  { name: "an event that came back is no event that was told", first: () => "unrouted" as const },
  {
    name: "an event that can never be published stops its own run's story and nothing else",
    first: () => new Failure("refuse", "MessageInvalid", "It is too long."),
  },
]) {
  t.test(name, async (t) => {
    const it = await relaying(t, (name, n) => (name === "a/2" && n < 3 ? first() : "stored"));
    await story(it, "a");
    await story(it, "b");
    it.start();
    await it.until(() => unsent(it) === 0);
    t.same(ofRun("a", it.tried), ["a/1", "a/2", "a/2", "a/2", "a/3"]);
    t.same(ofRun("b", it.tried), ["b/1", "b/2", "b/3"]);
    t.match(it.said, [{ message: /could not be published/, fields: { run: "a", sequence: 2 } }]);
    await it.stop();
  });
}

t.test("tells an event again under the same number if it is not known that it was told", async (t) => {
  const it = await relaying(t);
  await story(it, "a");
  let lost = 2;
  const unsentOf: Ledger["unsent"] = async ({ sent = [], ...asked }) => {
    const found = await it.parts.ledger.unsent({ ...asked, sent: lost > 1 ? [] : sent }); // lost once before the commit, then once after
    if (sent.length > 0 && lost-- > 0) throw new Failure("retry", "LedgerUnreachable", "The ledger's connection was lost.");
    return found;
  };
  it.start({ ledger: { ...it.parts.ledger, unsent: unsentOf } });
  await it.until(() => unsent(it) === 0);
  t.same(it.stored, ["a/1", "a/1", "a/2", "a/3"]);
  await it.stop();
});

t.test("a bug ends the loop, though nobody awaits the one event", async (t) => {
  const bug = new TypeError("a bug");
  const it = await relaying(t, () => bug);
  await story(it, "a");
  it.start();
  t.equal(await it.ended, bug);
});

t.test("stops in order also while the ledger is away", async (t) => {
  const away = () => Promise.reject(new Failure("retry", "LedgerUnavailable", "The ledger does not answer."));
  const it = await relaying(t);
  it.start({ ledger: { ...it.parts.ledger, leasePartitions: away, unsent: away, sent: away } });
  await it.clock.sleep(5_000);
  t.equal(await it.stop(), "stopped");
});

t.test("leaves another relay's events alone until its lease is over", async (t) => {
  const it = await relaying(t);
  await story(it, "a");
  const began = it.clock.now();
  await it.parts.ledger.leasePartitions("another", 60_000);
  it.start();
  await it.until(() => it.tried.length > 0);
  t.ok(it.clock.now() - began >= 60_000, "not before");
  await it.stop();
});

t.test("renews its lease although its clock was set back by an hour", async (t) => {
  const it = await relaying(t);
  let back = 0;
  const held: number[] = [];
  const clock = { ...it.parts.clock, now: () => it.clock.now() - back };
  const leasePartitions: Ledger["leasePartitions"] = async (owner, ms) => {
    held.push(it.clock.now());
    return await it.parts.ledger.leasePartitions(owner, ms);
  };
  it.start({ clock, ledger: { ...it.parts.ledger, leasePartitions: leasePartitions } });
  await it.until(() => held.length === 2);
  back = 3_600_000;
  await it.until(() => held.length === 4);
  const lease = it.parts.timing.partitionLeaseMs;
  t.ok(
    held.every((at, n) => n === 0 || at - (held[n - 1] ?? 0) < lease),
    "never later than the lease allows",
  );
  await it.stop();
});

t.test("logs a run's failure when the broker has it, once, with its cause and nothing that the program wrote", async (t) => {
  const it = await relaying(t, (name, n) => (name.endsWith("/4") && n === 1 ? nack() : "stored"));
  await it.publish("run.requested", { run: RUN, image: "busybox" });
  await it.place();
  const { attempt } = await it.claim();
  const of = { uid: await it.create(), rv: "1", group: GROUP };
  await it.record({ kind: "created", claimNo: attempt.claimNo, adopted: false, ...of });
  const log = { state: "complete", lines: 1, tail: "CANARY" } as const;
  const diagnosis = diagnose("ExitCode", "It ended with exit code 1.", ["CANARY"]);
  await it.record({ kind: "failed", evidence: { started: "yes", exitCode: 1, message: "CANARY", log, diagnosis }, ...of });
  it.start();
  await it.until(() => unsent(it) === 0);
  await it.stop();
  const fields = { run: RUN, step: "main", attempt: 1, group: GROUP, code: "ExitCode", sentence: "It ended with exit code 1." };
  t.same(it.said.filter(({ message }) => message === "run.failed"), [{ level: "warn", message: "run.failed", fields }]); // biome-ignore format: one call
  t.notMatch(JSON.stringify(it.said), "CANARY");
});

t.test("logs an attempt that failed and is tried again, with the time", async (t) => {
  const it = await relaying(t);
  await it.publish("run.requested", { run: RUN, image: "busybox" });
  await it.place();
  const { attempt } = await it.claim();
  const of = { uid: await it.create(), rv: "1", group: GROUP };
  await it.record({ kind: "created", claimNo: attempt.claimNo, adopted: false, ...of });
  const diagnosis = diagnose("NodeLost", "The node was lost.");
  await it.record({ kind: "failed", evidence: { started: "no", diagnosis }, ...of });
  it.start();
  await it.until(() => unsent(it) === 0);
  await it.stop();
  const fields = { run: RUN, attempt: 1, group: GROUP, code: "NodeLost", sentence: "The node was lost.", nextAttemptAt: /Z$/ };
  t.match(it.said, [{ level: "warn", message: "run.attempt.failed", fields }]);
});

t.test("logs a run that waits for a person, with the groups' reasons", async (t) => {
  const it = await relaying(t);
  await it.publish("run.requested", { run: RUN, image: "busybox", groups: [GroupName.parse("nope")] });
  await it.place();
  it.start();
  await it.until(() => unsent(it) === 0);
  await it.stop();
  const fields = { run: RUN, group: "-", code: "NoGroup", sentence: /^No group is called nope; / };
  t.match(it.said, [{ level: "warn", message: "run.waiting", fields }]);
});

t.test("a run that waits for a paused group is no alert, and is told all the same", async (t) => {
  const it = await relaying(t);
  await it.parts.ledger.setGroup(GROUP, { paused: true });
  await it.publish("run.requested", { run: RUN, image: "busybox", groups: [GROUP] });
  await it.place();
  const infos: unknown[] = [];
  it.start({ log: { ...it.parts.log, info: (message, fields) => void infos.push({ message, fields }) } });
  await it.until(() => unsent(it) === 0);
  await it.stop();
  const fields = { run: RUN, group: "-", code: "GroupsPaused", sentence: `${GROUP}: It is paused.` };
  t.match(infos, [{ message: "run.waiting", fields }]);
  t.same(it.said, []);
});

async function refused(it: Stage, run: string, replyTo?: string): Promise<void> {
  const delivery = deliveryOf(commandOf("run.restart", { run: RunId.parse(run), from: "failed" }, run));
  await admit(it.parts)({ ...delivery, replyTo });
}

const untold = (it: Stage): number =>
  [...it.model.tables.notices.values()].filter(({ sentAtMs }) => sentAtMs === undefined).length;

t.test("a refusal that cannot be told now does not have the others told twice", async (t) => {
  const it = await relaying(t, (name, n) => (name === "refused a" && n === 1 ? nack() : "stored"));
  for (const run of ["a", "b", "c"]) await refused(it, run);
  it.start();
  await it.until(() => untold(it) === 0);
  t.same(it.tried.toSorted(), ["refused a", "refused a", "refused b", "refused c"]);
  await it.stop();
});

t.test("a refusal that came back is told again", async (t) => {
  const it = await relaying(t, (_, n) => (n === 1 ? "unrouted" : "stored"));
  await refused(it, "a");
  it.start();
  await it.until(() => untold(it) === 0);
  t.same(it.stored, ["refused a"]);
  await it.stop();
});

for (const { name, answer } of [
  { name: "a reply queue that is gone is its owner's affair", answer: "unrouted" as const },
  {
    name: "a reply queue whose name is invalid is its owner's affair, too",
    answer: new Failure("refuse", "MessageInvalid", "A queue's name may hold 255 bytes."),
  },
]) {
  t.test(name, async (t) => {
    const it = await relaying(t, (name) => (name.startsWith("reply") ? answer : "stored"));
    await refused(it, "a", "answers-to-shop");
    it.start();
    await it.until(() => untold(it) === 0);
    t.same(it.tried, ["refused a", "reply answers-to-shop"]);
    await it.stop();
  });
}

t.test("a duplicate is answered to its sender alone", async (t) => {
  const it = await relaying(t);
  const request = commandOf("run.requested", { run: RunId.parse("a"), image: "busybox" });
  for (const replyTo of [undefined, undefined, "answers-to-shop"]) await admit(it.parts)({ ...deliveryOf(request), replyTo });
  it.start();
  await it.until(() => untold(it) + unsent(it) === 0);
  t.same(it.tried.toSorted(), ["a/1", "reply answers-to-shop"]);
  await it.stop();
});

t.test("that a group's health changed is told once, with the group in the routing key", async (t) => {
  const it = await relaying(t);
  it.start();
  const diagnosis = diagnose("EndpointUnreachable", "Nothing listens there.");
  await it.parts.ledger.setGroup(GROUP, { health: "unhealthy", diagnosis });
  await it.parts.ledger.setGroup(GROUP, { health: "unhealthy", diagnosis });
  await it.until(() => untold(it) === 0);
  await it.parts.ledger.setGroup(GROUP, { health: "healthy", diagnosis: undefined });
  await it.until(() => untold(it) === 0);
  t.same(it.stored, ["default.prod-a.group.unhealthy", "default.prod-a.group.healthy"]);
  await it.stop();
});
