/** The values that LONGSHORE_FAILPOINT may have. program.test.ts shows with a real process that a failpoint kills. */
import t from "tap";
import { FailpointProblem, failpoints } from "./failpoint.ts";
import { stepsClock } from "./testing/steps-clock.ts";

const NAMES = ["afterCreate", "beforeAck"] as const;

t.test("without a setting it does nothing and waits for nothing", async (t) => {
  t.equal(failpoints(undefined, NAMES)("afterCreate"), undefined);
  t.equal(failpoints("", NAMES)("beforeAck"), undefined);
});

t.test("sleeps at its line alone, at each pass or at the one named", async (t) => {
  const clock = stepsClock();
  const each = failpoints("beforeAck:sleep:500", NAMES, clock);
  t.equal(each("afterCreate"), undefined);
  for (const pass of ["first", "second"]) {
    let woke = false;
    const sleeping = Promise.resolve(each("beforeAck")).then(() => (woke = true));
    await clock.pass(499);
    t.notOk(woke, `${pass} pass still asleep`);
    await clock.pass(1);
    await sleeping;
  }
  const second = failpoints("beforeAck:sleep:5:2", NAMES, clock);
  t.equal(second("beforeAck"), undefined);
  t.ok(second("beforeAck") instanceof Promise);
  t.equal(second("beforeAck"), undefined);
  await clock.pass(5);
});

for (const wrong of [
  "nowhere:kill",
  "beforeAck",
  "beforeAck:die",
  "beforeAck:kill:0",
  "beforeAck:kill:x",
  "beforeAck:sleep",
  "beforeAck:sleep:-1",
  "beforeAck:kill:1:2",
  ":kill",
]) {
  t.test(`refuses "${wrong}"`, async (t) => {
    t.throws(() => failpoints(wrong, NAMES), FailpointProblem);
  });
}
