import { Failure } from "@longshore/contract/problems/problem.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { receiving, settlement } from "./receiving.ts";
import type { Session, Sessions } from "./session.ts";

const session: Session = { over: new AbortController().signal, farewell: () => Promise.resolve(), drop: () => undefined };
const sessions: Sessions<Session> = {
  current: async (signal) => (signal.aborted ? undefined : session),
  status: () => ({ kind: "connected" }),
  close: () => Promise.resolve(),
};

function opened(signal = new AbortController().signal) {
  const clock = stepsClock();
  return { clock, ...receiving<string>({ clock, log: silentLog }, signal) };
}

t.test("a queue that cannot be consumed is tried again, and its lanes wait", async (t) => {
  const { clock, inHand, start } = opened();
  let tries = 0;
  const consume = async () => {
    if (++tries < 3) throw new Error("no such queue");
    inHand.give("a message");
    await new Promise(() => undefined);
  };
  const { deliveries } = start(sessions, { consume });
  const first = deliveries.next();
  await clock.pass(10_000);
  t.same(await first, { done: false, value: "a message" });
});

t.test("who may not take messages is told so, and others are not", async (t) => {
  const { clock, start } = opened();
  const consume = () => Promise.reject(new Failure("halt", "BrokerForbidden", "You may not."));
  const { begun, deliveries, close } = start(sessions, { consume });
  await t.rejects(begun, { code: "BrokerForbidden" });
  const waiting = deliveries.next();
  const closed = close();
  await clock.pass(10_000);
  await closed;
  t.equal((await waiting).done, true);
});

t.test("a receiver that is stopped before it begins ends, but not before its caller has it", async (t) => {
  const { start } = opened(AbortSignal.abort());
  const ended: unknown[] = [];
  const consume = () => Promise.reject(new Error("there is nothing to consume"));
  const started = start(sessions, { consume, onEnd: async () => void ended.push(started) });
  t.equal((await started.deliveries.next()).done, true);
  await started.close();
  t.equal(ended.length, 1);
});

t.test("a message is settled once", async (t) => {
  const done: string[] = [];
  const once = settlement("message 7", () => done.push("after"));
  await once(() => void done.push("ack"));
  await t.rejects(
    once(() => void done.push("requeue")),
    /message 7 was settled twice/,
  );
  t.same(done, ["ack", "after"]);
});
