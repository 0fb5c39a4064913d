import { type DeliveryQueue, deliveryQueue } from "@longshore/broker/receiving.ts";
import type { Delivery } from "@longshore/broker/port.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import t from "tap";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { type Outcome, receive, type Receiving } from "./receive.ts";
import { deliveryOf, listening, type Said } from "../testing/stage.ts";

const recorded: Outcome = { kind: "recorded" };
const away = () => new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached.");

/** A receiver of one queue; `decide` decides on each message. */
function receiving(decide: (delivery: Delivery) => Promise<Outcome>, lanes = 4) {
  const clock = stepsClock();
  const stop = new AbortController();
  const said: Said[] = [];
  const suspects = new Map<string, number>();
  const ledger = { down: false };
  const messages: DeliveryQueue<Delivery> = deliveryQueue<Delivery>(() => undefined);
  stop.signal.addEventListener("abort", () => messages.end());
  const parts = {
    clock, lanes,
    log: listening(said),
    pause: backOff(clock),
    fail: noFailpoint,
    broker: {
      receive: (_queue: string, { signal }: { readonly signal: AbortSignal }) => {
        signal.addEventListener("abort", () => messages.end());
        return messages.items;
      },
    },
    ledger: {
      async suspect(digest: string): Promise<number> {
        if (ledger.down) throw away();
        suspects.set(digest, (suspects.get(digest) ?? 0) + 1);
        return suspects.get(digest) ?? 0;
      },
    },
  }; // biome-ignore format: a parts list
  const ended = receive(parts as unknown as Receiving, "commands", decide, stop.signal).then(
    () => "stopped",
    (error: unknown) => error,
  );
  const settled: string[] = [];
  return {
    clock, ledger, said, suspects, settled, ended,
    give: (body: string, redeliveries = 0, how = settled) => messages.give(deliveryOf(body, how, redeliveries)),
    end: async () => {
      stop.abort();
      await clock.pass(60_000);
      return await ended;
    },
  }; // biome-ignore format: one value
}

t.test("acknowledges only what is decided, and not before", async (t) => {
  const committed = Promise.withResolvers<Outcome>();
  const it = receiving(() => committed.promise);
  it.give("a");
  await it.clock.pass(1_000);
  t.same(it.settled, [], "while the commit is on its way");
  committed.resolve(recorded);
  await it.clock.pass(0);
  t.same(it.settled, ["ack"]);
  t.equal(await it.end(), "stopped");
});

t.test("puts a message that nobody can read into quarantine, with the reasons, and goes on", async (t) => {
  const problems = [{ path: "", code: "NotJson", message: "This is no JSON." }];
  const named = { id: "c 1", source: "/shop", run: undefined };
  const it = receiving(async ({ body }) => (body.length === 1 ? recorded : { kind: "unreadable", problems, named }));
  for (const body of ["bad", "a", "bad", "b"]) it.give(body);
  await it.clock.pass(0);
  t.match(it.said[0]?.fields, { command: "c 1", source: "/shop", problems }, "the log says whose it is");
  t.same(it.settled.toSorted(), ["ack", "ack", "quarantine NotJson", "quarantine NotJson"]);
  await it.end();
});

t.test("holds a message through an outage of the ledger instead of sending it round", async (t) => {
  let down = true;
  const it = receiving(async () => {
    if (down) throw away();
    return recorded;
  });
  it.give("a");
  await it.clock.pass(4 * 60_000);
  t.same(it.settled, []);
  t.match(it.said[0], { level: "warn", fields: { queue: "commands", code: "LedgerUnreachable" } });
  down = false;
  await it.clock.pass(30_000);
  t.same(it.settled, ["ack"]);
  await it.end();
});

t.test("gives it back after five minutes, once, and takes the next only later", async (t) => {
  const it = receiving(async () => {
    throw away();
  }, 1);
  it.give("a");
  it.give("b");
  await it.clock.pass(5 * 60_000 + 30_000);
  t.same(it.settled, ["requeue"], "and the next one is not even begun, or this would be a spin");
  t.equal(await it.end(), "stopped");
});

t.test("gives its messages back when it has to stop meanwhile", async (t) => {
  const it = receiving(async () => {
    throw away();
  });
  it.give("a");
  await it.clock.pass(1_000);
  t.equal(await it.end(), "stopped");
  t.same(it.settled, ["requeue"]);
});

t.test("a bug ends the loop; the messages of other lanes are still decided and settled", async (t) => {
  const slow = Promise.withResolvers<Outcome>();
  const bug = new TypeError("a bug");
  const it = receiving(async ({ body }) => {
    if (Buffer.from(body).toString() === "slow") return await slow.promise;
    throw bug;
  });
  const others: string[] = [];
  it.give("slow", 0, others);
  it.give("bad");
  await it.clock.pass(0);
  slow.resolve(recorded);
  t.equal(await it.ended, bug);
  t.same(others, ["ack"]);
  t.same(it.settled, [], "the one that met the bug comes again, and is counted then");
});

t.test("a failure that does not pass by itself ends the loop", async (t) => {
  const it = receiving(async () => {
    throw new Failure("halt", "SchemaTooNew", "The ledger's schema is newer than this launcher.");
  });
  it.give("a");
  t.match(await it.ended, { code: "SchemaTooNew" });
  t.same(it.settled, []);
});

t.test("counts a message that came back often before anybody looks into it", async (t) => {
  let looked = 0;
  const it = receiving(async () => {
    looked += 1;
    return recorded;
  });
  it.ledger.down = true;
  it.give("suspect", 3);
  await it.clock.pass(1_000);
  t.equal(looked, 0, "while it could not be counted");
  it.ledger.down = false;
  await it.clock.pass(10_000);
  t.equal(looked, 1);
  t.same([...it.suspects.values()], [1]);
  t.same(it.settled, ["ack"]);
  await it.end();
});

t.test("suspects are worked on one at a time, beside the others", async (t) => {
  let most = 0;
  let now = 0;
  const it = receiving(async ({ redeliveries }) => {
    if (redeliveries === 0) return recorded;
    most = Math.max(most, ++now);
    await it.clock.sleep(100);
    now -= 1;
    return recorded;
  });
  for (const body of ["a", "b", "c"]) it.give(body, 3);
  it.give("good");
  await it.clock.pass(50);
  t.same(it.settled, ["ack"], "the good one did not wait for them");
  await it.clock.pass(1_000);
  t.equal(most, 1);
  t.equal(it.settled.length, 4);
  await it.end();
});

t.test("at the fifth count it is quarantined unread", async (t) => {
  let looked = 0;
  const it = receiving(async () => {
    looked += 1;
    return recorded;
  });
  for (let n = 0; n < 5; n++) it.give("the killer", 3 + n);
  await it.clock.pass(0);
  t.equal(looked, 4);
  t.same(it.settled, ["ack", "ack", "ack", "ack", "quarantine Poison"]);
  await it.end();
});

t.test("a suspect that meets a bug does not keep the next suspect waiting for ever", async (t) => {
  const it = receiving(async ({ body }) => {
    if (Buffer.from(body).toString() === "bad") throw new TypeError("a bug");
    return recorded;
  });
  it.give("bad", 3);
  it.give("good", 3);
  t.match(await it.ended, { message: "a bug" });
  t.same(it.settled, ["requeue"], "we are ending: it is another's turn");
});
