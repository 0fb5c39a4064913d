/** Loops under a clock that the test sets: what wakes them, what ends them, and that they leave nothing behind. */
import { getEventListeners } from "node:events";
import t from "tap";
import { again, backOff, batch, wakeUp, every, lanes, together, TimeUp, within } from "./loop.ts";
import { type Clock, sleepBy } from "./clock.ts";
import { stepsClock } from "./testing/steps-clock.ts";

const until = (signal: AbortSignal) =>
  new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));

t.test("together", async (t) => {
  t.test("ends in order when its signal aborts and all loops have come to rest", async (t) => {
    const stop = new AbortController();
    let rested = 0;
    const loop = async (signal: AbortSignal) => {
      await until(signal);
      rested++;
    };
    const ending = together(stop.signal, { place: loop, launch: loop });
    stop.abort();
    t.same(await ending, { kind: "stopped" });
    t.equal(rested, 2);
  });

  t.test("a loop that throws stops the others, is waited for, and is named", async (t) => {
    let rested = false;
    const ending = together(new AbortController().signal, {
      place: async (signal) => {
        await until(signal);
        rested = true;
      },
      launch: async () => {
        throw new RangeError("no such row");
      },
    });
    await t.rejects(ending, { message: 'the loop "launch" failed: no such row', cause: { name: "RangeError" } });
    t.ok(rested, "the other loop had come to rest");
  });

  t.test("a loop that returns unasked is a failure: work would stop while the process looks healthy", async (t) => {
    await t.rejects(together(new AbortController().signal, { relay: async () => {}, place: until }), {
      message: /"relay" returned although nobody/,
    });
  });

  t.test("an error that a loop throws because it was aborted is an orderly end", async (t) => {
    const stop = new AbortController();
    const ending = together(stop.signal, {
      place: async (signal) => {
        await until(signal);
        signal.throwIfAborted();
      },
    });
    stop.abort();
    t.same(await ending, { kind: "stopped" });
  });

  t.test("two loops that fail are both told of", async (t) => {
    const ending = together(new AbortController().signal, {
      place: async () => {
        throw new Error("one");
      },
      launch: async (signal) => {
        await until(signal);
        throw new Error("two");
      },
    });
    await t.rejects(ending, { name: "AggregateError", message: /"place" failed: one; the loop "launch" failed: two/ });
  });
});

t.test("wake-up", async (t) => {
  t.test("it wakes every waiter, and leaves no sleeper behind", async (t) => {
    const clock = stepsClock();
    const it = wakeUp(clock);
    const waiting = it.wait(60_000, new AbortController().signal);
    it.wake();
    t.equal(await waiting, "woken");
    t.equal(clock.sleepers(), 0);
  });

  t.test("a wake-up that nobody waited for is not lost, and counts once", async (t) => {
    const clock = stepsClock();
    const it = wakeUp(clock);
    const { signal } = new AbortController();
    it.wake();
    it.wake();
    t.equal(await it.wait(60_000, signal), "woken");
    const second = it.wait(1_000, signal);
    await clock.pass(1_000);
    t.equal(await second, "passed");
    it.wake();
    t.equal(await it.wait(60_000, signal), "woken", "a wait that is over does not swallow the next wake-up");
  });

  t.test("an abort ends the wait, before it or during it", async (t) => {
    const clock = stepsClock();
    const it = wakeUp(clock);
    const stop = new AbortController();
    const waiting = it.wait(60_000, stop.signal);
    stop.abort();
    t.equal(await waiting, "aborted");
    t.equal(await it.wait(60_000, stop.signal), "aborted");
    t.equal(clock.sleepers(), 0);
  });
});

t.test("every", async (t) => {
  t.test("works at once, then after each pause, and not after its abort", async (t) => {
    const clock = stepsClock();
    const stop = new AbortController();
    const at: number[] = [];
    const loop = every({ clock, ms: 100, signal: stop.signal }, async () => at.push(clock.now()));
    await clock.pass(250);
    stop.abort();
    await loop;
    await clock.pass(1_000);
    t.same(at, [0, 100, 200]);
  });

  t.test("a wake-up cuts the pause short", async (t) => {
    const clock = stepsClock();
    const stop = new AbortController();
    const woken = wakeUp(clock);
    let times = 0;
    const loop = every({ clock, ms: 60_000, signal: stop.signal, wakeUp: woken }, async () => times++);
    await clock.pass(0);
    woken.wake();
    await clock.pass(0);
    t.equal(times, 2);
    stop.abort();
    await loop;
  });

  t.test("spreads its pauses by a tenth", async (t) => {
    for (const [chance, at] of [
      [0, 90],
      [1, 110],
    ] as const) {
      const clock = stepsClock({ chance });
      const stop = new AbortController();
      let times = 0;
      const loop = every({ clock, ms: 100, signal: stop.signal }, async () => times++);
      await clock.pass(at - 1);
      t.equal(times, 1);
      await clock.pass(1.5);
      t.equal(times, 2);
      stop.abort();
      await loop;
    }
  });

  t.test("refuses to spin", async (t) => {
    await t.rejects(
      every({ clock: stepsClock(), ms: 0, signal: new AbortController().signal }, async () => {}),
      RangeError,
    );
  });
});

t.test("backOff doubles, keeps under its ceiling for ever, and ends with its signal", async (t) => {
  const clock = stepsClock({ chance: 1 });
  const stop = new AbortController();
  const pause = backOff(clock, { firstMs: 100, mostMs: 1_000 });
  for (const [failures, ms] of [
    [1, 100],
    [2, 200],
    [4, 800],
    [5, 1_000],
    [5_000, 1_000],
  ] as const) {
    let over = false;
    const waiting = pause(failures, stop.signal).then(() => (over = true));
    await clock.pass(ms - 1);
    t.notOk(over, `still pausing before ${ms} ms`);
    await clock.pass(1);
    t.ok(over, `over at ${ms} ms`);
    await waiting;
  }
  const long = pause(9, stop.signal);
  stop.abort();
  await long;
  t.equal(clock.sleepers(), 0);
});

t.test("within", async (t) => {
  const bounds = (clock = stepsClock()) => ({ clock, ms: 100, signal: new AbortController().signal, what: "the call" });

  t.test("returns the work's result, and leaves no sleeper", async (t) => {
    const clock = stepsClock();
    t.equal(await within(bounds(clock), async () => 7), 7);
    t.equal(clock.sleepers(), 0);
  });

  t.test("throws when the time is up, also when the work ignores its signal", async (t) => {
    const clock = stepsClock();
    let told: AbortSignal | undefined;
    const late = within(bounds(clock), (signal) => {
      told = signal;
      return new Promise(() => {});
    });
    const refused = t.rejects(late, { name: "TimeUp", message: "the call took longer than 100 ms" });
    await clock.pass(100);
    await refused;
    t.ok(told?.aborted && told.reason instanceof TimeUp);
  });

  t.test("passes the work's error on", async (t) => {
    await t.rejects(
      within(bounds(), () => Promise.reject(new Error("no"))),
      { message: "no" },
    );
  });
});

t.test("a signal that lives long carries nothing of the waits that are over", async (t) => {
  const steps = stepsClock();
  let calledOff = 0;
  const alarm: Clock["alarm"] = (ms, ring) => {
    const callOff = steps.alarm(ms, ring);
    return () => {
      calledOff++;
      callOff();
    };
  };
  const clock = { ...steps, alarm, sleep: sleepBy(alarm) };
  const stop = new AbortController();
  const { signal } = stop;
  const woken = wakeUp(clock);
  const inner: AbortSignal[] = [];
  for (let times = 0; times < 3; times++) {
    const waiting = Promise.all([woken.wait(10, signal), clock.sleep(10, signal)]);
    await clock.pass(10);
    await waiting;
    await within({ clock, ms: 10, signal, what: "it" }, async (it) => void inner.push(it));
    await backOff(clock)(1, AbortSignal.abort());
  }
  t.equal(getEventListeners(signal, "abort").length, 1, "all waits share one listener");
  t.equal(steps.sleepers(), 0);
  calledOff = 0;
  stop.abort();
  t.equal(calledOff, 0, "no wait that is over ends once more");
  t.same(inner.map(({ aborted }) => aborted), [false, false, false]); // biome-ignore format: one line
});

t.test("batch", async (t) => {
  t.test("items of the same turn go together; while they are in flight the next batch fills", async (t) => {
    const calls: number[][] = [];
    const gates: (() => void)[] = [];
    const double = batch({ most: 3 }, async (items: readonly number[]) => {
      calls.push([...items]);
      await new Promise<void>((open) => gates.push(open));
      return items.map((it) => it * 2);
    });
    const clock = stepsClock();
    const first = [double(1), double(2)];
    await clock.pass(0);
    const later = [3, 4, 5, 6].map((it) => double(it));
    await clock.pass(0);
    t.same(calls, [[1, 2]], "one in flight");
    for (const call of [1, 2, 3]) {
      t.equal(gates.length, call);
      gates[call - 1]?.();
      await clock.pass(0);
    }
    t.same(await Promise.all([...first, ...later]), [2, 4, 6, 8, 10, 12]);
    t.same(calls, [[1, 2], [3, 4, 5], [6]], "never more than three");
  });

  t.test("an error reaches each of its callers and nobody else", async (t) => {
    const work = batch({ most: 2 }, async (items: readonly string[]) => {
      if (items.includes("bad")) throw new Error("no batch today");
      return items;
    });
    const outcomes = await Promise.allSettled(["bad", "near", "far"].map((it) => work(it)));
    t.same(
      outcomes.map((it) => it.status),
      ["rejected", "rejected", "fulfilled"],
    );
    t.equal(await work("again"), "again", "the next one is served");
  });

  t.test("a run that throws before it awaits, or gives too few results, is an error and not a hang", async (t) => {
    await t.rejects(
      batch({ most: 2 }, (): Promise<never[]> => {
        throw new Error("at once");
      })(1),
      { message: "at once" },
    );
    await t.rejects(batch({ most: 2 }, async () => [])(1), { message: "a batch of 1 items gave 0 results" });
  });

  t.test("refuses items beyond the bound", async (t) => {
    const work = batch({ most: 1, waitingMost: 2 }, async (items: readonly number[]) => items);
    const outcomes = await Promise.allSettled([1, 2, 3].map((it) => work(it)));
    t.same(
      outcomes.map((it) => it.status),
      ["fulfilled", "fulfilled", "rejected"],
    );
  });
});

t.test("lanes", async (t) => {
  async function* numbers(signal: AbortSignal, most = 20) {
    for (let n = 1; n <= most && !signal.aborted; n++) yield n;
  }

  t.test("work on all that the source gives, so many at a time", async (t) => {
    let [inHand, inHandMost] = [0, 0];
    const done: number[] = [];
    await lanes(
      3,
      numbers,
      async (n) => {
        inHandMost = Math.max(inHandMost, ++inHand);
        await new Promise((next) => setImmediate(next));
        inHand--;
        done.push(n);
      },
      new AbortController().signal,
    );
    t.equal(done.length, 20);
    t.equal(inHandMost, 3);
  });

  t.test("work that throws ends the source; other work that has begun is finished first", async (t) => {
    const finished: number[] = [];
    const work = async (n: number) => {
      if (n === 2) throw new Error("two");
      await new Promise((next) => setImmediate(next));
      finished.push(n);
    };
    await t.rejects(lanes(3, numbers, work, new AbortController().signal), { message: "two" });
    t.same(finished, [1, 3]);
  });

  t.test("end when the source does, because the signal aborted", async (t) => {
    const stop = new AbortController();
    await lanes(
      2,
      (signal) => numbers(signal, Number.POSITIVE_INFINITY),
      async (n) => {
        if (n === 10) stop.abort();
      },
      stop.signal,
    );
    t.ok(stop.signal.aborted);
  });
});

t.test("again", async (t) => {
  const passing = new Error("the broker is away");
  const failing = (clock: ReturnType<typeof stepsClock>, told: number[] = []) => ({
    clock,
    pause: (failures: number, signal: AbortSignal) => clock.sleep(1_000 * failures, signal),
    passes: (error: unknown, failures: number) => told.push(failures) > 0 && error === passing,
  });

  t.test("begins anew with more patience each time, and with the first patience after it went well", async (t) => {
    const clock = stepsClock();
    const begun: number[] = [];
    const told: number[] = [];
    const stop = new AbortController();
    const ended = again(failing(clock, told), async (signal) => {
      if (begun.push(clock.now()) === 4) await clock.sleep(100_000, signal);
      throw passing;
    })(stop.signal);
    await clock.pass(108_000);
    stop.abort();
    await ended;
    t.same(begun, [0, 1_000, 3_000, 6_000, 107_000]);
    t.same(told, [0, 1, 2, 3, 1]);
  });

  t.test("throws an error that does not pass by itself", async (t) => {
    const work = () => Promise.reject(new TypeError("a bug"));
    await t.rejects(again(failing(stepsClock()), work)(new AbortController().signal), { message: "a bug" });
  });

  t.test("an error that the work throws because it was aborted is an orderly end", async (t) => {
    const stop = new AbortController();
    const told: number[] = [];
    const ended = again(failing(stepsClock(), told), async (signal) => {
      await until(signal);
      signal.throwIfAborted();
    })(stop.signal);
    stop.abort();
    await ended;
    t.same(told, []);
  });
});
