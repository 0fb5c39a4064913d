import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { boundedLines } from "./bounded-lines.ts";

const bounded = (bytesPerSecond: number, burstBytes: number) => {
  const clock = stepsClock();
  return { clock, lines: boundedLines({ bytesPerSecond, burstBytes }, clock) };
};

t.test("within the limit, all lines pass in order", async (t) => {
  const { clock, lines } = bounded(10, 100);
  for (const line of ["one", "two"]) lines.give(line);
  t.same(lines.take(), { text: "one\ntwo\n" });
  t.equal(lines.take(), undefined);
  await clock.pass(1_000);
  lines.give("");
  t.same(lines.take(), { text: "\n" }, "an empty line is a line");
});

t.test("what is more is counted, and the gap stands where the lines are missing", async (t) => {
  const { clock, lines } = bounded(10, 10);
  for (const line of ["1234", "5678", "too", "much"]) lines.give(line);
  t.same(lines.take(), { text: "1234\n5678\n" });
  t.same(lines.take(), { gap: { bytes: 9 }, text: "" });
  t.equal(lines.take(), undefined, "and is told once");
  lines.give("also too much");
  await clock.pass(500);
  lines.give("now");
  t.same(lines.take(), { gap: { bytes: 14 }, text: "now\n" });
});

t.test("after a gap, nothing overtakes the lines before it", async (t) => {
  const { clock, lines } = bounded(10, 5);
  lines.give("1234");
  lines.give("lost");
  await clock.pass(10_000);
  lines.give("5678");
  t.same(lines.take(), { text: "1234\n" });
  t.same(lines.take(), { gap: { bytes: 10 }, text: "" });
  lines.give("next");
  t.same(lines.take(), { text: "next\n" });
});

t.test("a line that is longer than any message is left out, and lines that were lost elsewhere have no number", async (t) => {
  const { lines } = bounded(1_000_000, 1_000_000);
  lines.give("x".repeat(100_000));
  lines.give("a");
  t.same(lines.take(), { gap: { bytes: 100_001 }, text: "a\n" });
  lines.give("y".repeat(100_000));
  lines.lose();
  lines.give("b");
  t.same(lines.take(), { gap: {}, text: "b\n" });
});

t.test("a burst travels in messages that a broker carries", async (t) => {
  const { lines } = bounded(1_000_000, 1_000_000);
  for (let at = 0; at < 100; at++) lines.give("z".repeat(1_000));
  const pieces = [];
  for (let piece = lines.take(); piece !== undefined; piece = lines.take()) pieces.push(piece.text.length);
  t.equal(pieces.reduce((sum, it) => sum + it, 0), 100_100); // biome-ignore format: one line
  t.ok(pieces.every((it) => it <= 32 * 1024), pieces.join()); // biome-ignore format: one line
});
