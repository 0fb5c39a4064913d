import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { progressOn } from "./progress.ts";
import { PIPE, type Screen } from "./screen.ts";

function stage(screen: Screen) {
  const clock = stepsClock();
  let said = "";
  const progress = progressOn({ write: (text) => void (said += text), screen, clock });
  return { clock, progress, said: () => said };
}
const TERMINAL: Screen = { columns: 20, styled: false };

t.test("what is done within a second says nothing", async (t) => {
  const { progress, said } = stage(TERMINAL);
  t.equal(await progress.during("asking", async () => 7), 7);
  t.equal(said(), "");
});

t.test("in a pipe it says once, in a line, for what it waits", async (t) => {
  const { clock, progress, said } = stage(PIPE);
  await progress.during("asking\u001b[2J the ledger", () => clock.pass(5_000));
  t.equal(said(), "asking·[2J the ledger …\n");
});

t.test("in a terminal a line counts the time, is not longer than the terminal, and is erased", async (t) => {
  const { clock, progress, said } = stage(TERMINAL);
  await progress.during("asking the ledger for all its runs", () => clock.pass(3_000));
  const lines = said().split("\r");
  t.ok(lines.length > 4);
  for (const it of lines) t.ok(it.length < 20, it);
  t.match(lines[0], /^\S asking the ledger/);
  t.match(said(), /\r +\r$/);
  t.notMatch(said(), "\u001b");
});

t.test("if the end is known, the time counts down to it", async (t) => {
  const { clock, progress, said } = stage({ columns: 60, styled: false });
  await progress.during("attempt 2 of 3", () => clock.pass(3_000), { untilMs: clock.now() + 7_000 });
  t.match(said(), /attempt 2 of 3, in 6 s.*attempt 2 of 3, in 5 s/s);
});

t.test("the time counts from when the wait began", async (t) => {
  const { clock, progress, said } = stage({ columns: 60, styled: false });
  await progress.during("started", () => clock.pass(200), { sinceMs: clock.now() - 61_000 });
  t.match(said(), /started {2}1 m 1 s/);
});

t.test("a wait that is told elsewhere says nothing in a pipe", async (t) => {
  const { clock, progress, said } = stage(PIPE);
  await progress.during("started", () => clock.pass(5_000), { onlyInTerminal: true });
  t.equal(said(), "");
});

t.test("work that fails leaves no line, and no alarm that would draw it again", async (t) => {
  const { clock, progress, said } = stage(TERMINAL);
  const work = async () => {
    await clock.pass(2_000);
    throw new Error("gone");
  };
  await t.rejects(progress.during("asking", work), /gone/);
  const before = said();
  await clock.pass(5_000);
  t.equal(said(), before);
});
