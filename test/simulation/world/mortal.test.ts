/** A crashed process does nothing more, a frozen one goes on where it was, and a timer that throws stops no other. */
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import { TimeUp, within } from "@longshore/runtime/loop.ts";
import t from "tap";
import { mortal } from "./mortal.ts";

const open = () => {
  const clock = stepsClock();
  return { clock, process: mortal({ name: "one", clock }), stop: new AbortController() };
};

t.test("an answer to a dead process never comes, and one to a frozen process comes at its thaw", async (t) => {
  const { clock, process, stop } = open();
  const heard: string[] = [];
  void process.clock.sleep(1_000, stop.signal).then(() => heard.push("sleep"));
  void process.hear(Promise.resolve("answer")).then(() => heard.push("answer"));
  process.clock.alarm(1_000, () => heard.push("alarm"));
  process.freeze();
  stop.abort();
  await clock.pass(5_000);
  t.same(heard, []);
  process.thaw();
  await clock.pass(1);
  t.same(heard.toSorted(), ["alarm", "answer", "sleep"]);

  process.clock.alarm(1_000, () => heard.push("alarm of the dead"));
  process.crash();
  await clock.pass(5_000);
  process.thaw();
  await clock.pass(5_000);
  t.equal(heard.length, 3);
});

t.test("at the thaw an answer that came in time is there before the timer that bounds it rings", async (t) => {
  const { clock, process, stop } = open();
  const bounds = { clock: process.clock, ms: 1_000, signal: stop.signal, what: "the call" };
  const answered = (ms: number) => within(bounds, () => process.hear(clock.sleep(ms).then(() => "answer")));
  const both = Promise.allSettled([answered(500), answered(1_500)]);
  process.freeze();
  await clock.pass(5_000);
  process.thaw();
  await clock.pass(100);
  t.match(await both, [{ value: "answer" }, { status: "rejected", reason: TimeUp }]);
});

t.test("an error in a timer is told as a rejection that nobody handled, and later timers still ring", async (t) => {
  const clock = stepsClock();
  const told: string[] = [];
  t.intercept(Promise, "reject", { value: (error: Error) => void told.push(error.message) });
  const rung: string[] = [];
  clock.alarm(1, () => {
    throw new Error("a bug");
  });
  clock.alarm(2, () => rung.push("the next"));
  await clock.pass(10);
  t.same(rung, ["the next"]);
  t.same(told, ["a bug"]);
});
