/**
 * If its signal aborts, the system clock's sleep ends. All who wait for one signal share one listener. The steps clock wakes
 * sleepers in order.
 */
import { getEventListeners } from "node:events";
import t from "tap";
import { onAbort, systemClock, untilAborted } from "./clock.ts";
import { stepsClock } from "./testing/steps-clock.ts";

for (const [name, clock] of Object.entries({ systemClock, stepsClock: stepsClock() })) {
  t.test(`${name}: a sleep ends with its signal, and one that began after it does not begin`, async (t) => {
    const stop = new AbortController();
    const sleeping = clock.sleep(3_600_000, stop.signal);
    const another = clock.sleep(3_600_000, stop.signal);
    t.equal(getEventListeners(stop.signal, "abort").length, 1, "both share a listener");
    stop.abort();
    await another;
    await sleeping;
    await clock.sleep(3_600_000, stop.signal);
    t.equal(getEventListeners(stop.signal, "abort").length, 0);
  });
}

t.test("a wait for a signal's abort ends with it, and at once if it has been", async (t) => {
  const stop = new AbortController();
  let isOver = false;
  const waiting = untilAborted(stop.signal).then(() => (isOver = true));
  await new Promise(setImmediate);
  t.notOk(isOver);
  stop.abort();
  await waiting;
  await untilAborted(stop.signal);
  t.ok(isOver);
});

t.test("of all who wait for a signal, those that called off hear nothing of its abort", async (t) => {
  const stop = new AbortController();
  const heard: string[] = [];
  const callOff = onAbort(stop.signal, () => heard.push("called off"));
  onAbort(stop.signal, () => heard.push("first"));
  onAbort(stop.signal, () => heard.push("second"));
  callOff();
  stop.abort();
  t.same(heard, ["first", "second"]);
});

t.test("an alarm rings once, and one that was called off does not", async (t) => {
  const clock = stepsClock();
  const rung: string[] = [];
  const callOff = clock.alarm(10, () => rung.push("called off"));
  const late = clock.alarm(10, () => rung.push("rang"));
  t.equal(clock.sleepers(), 2);
  callOff();
  t.equal(clock.sleepers(), 1);
  await clock.pass(10);
  late(); // it is safe to call off an alarm that has rung
  t.equal(clock.sleepers(), 0);
  await clock.pass(100);
  t.same(rung, ["rang"]);

  const { promise, resolve } = Promise.withResolvers<string>();
  systemClock.alarm(1, () => resolve("called off"))();
  systemClock.alarm(2, () => resolve("rang"));
  t.equal(await promise, "rang");
});

t.test("chance is in [0, 1)", async (t) => {
  t.ok(Array.from({ length: 100 }, () => systemClock.random()).every((it) => it >= 0 && it < 1));
});

t.test("the steps clock wakes sleepers in the order of their times, each with everything that follows from it", async (t) => {
  const clock = stepsClock({ nowMs: 1_000 });
  const woken: string[] = [];
  const sleeper = async (name: string, ms: number) => {
    await clock.sleep(ms);
    woken.push(`${name} ${clock.now()}`);
  };
  const all = [sleeper("late", 20), sleeper("early", 10).then(() => sleeper("next", 5))];
  await clock.pass(20);
  await Promise.all(all);
  t.same(woken, ["early 1010", "next 1015", "late 1020"]);
  t.equal(clock.now(), 1_020);
});
