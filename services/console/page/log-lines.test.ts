import t from "tap";
import { BLOCK_LINES, type Lines, NO_LINES, textOf, withGap, withTail, withText } from "./log-lines.ts";

const numbered = (from: number, count: number): string =>
  Array.from({ length: count }, (_, at) => `line ${from + at}\n`).join("");
const tail = (text: string, state: "complete" | "truncated" | "unavailable" = "complete") => ({ state, lines: 0, tail: text });
const of = (...texts: readonly string[]): Lines => texts.reduce(withText, NO_LINES);

t.test("lines stand in blocks, and one that is full stays the same value: it is not drawn again", async (t) => {
  const first = of(numbered(0, BLOCK_LINES));
  const more = withText(withText(first, numbered(BLOCK_LINES, 50)), numbered(BLOCK_LINES + 50, 70));
  t.equal(more.blocks[0], first.blocks[0]);
  t.same(more.blocks.map(({ key, lines }) => [key, lines.length]), [[0, 100], [1, 100], [2, 20]]); // biome-ignore format: one line
  t.equal(textOf(more), numbered(0, 220));
});

t.test("at most 5,000 lines are held, the last ones", async (t) => {
  const many = of(numbered(0, 3_000), numbered(3_000, 3_000), numbered(6_000, 6_000));
  t.equal(textOf(many), numbered(7_000, 5_000));
  t.ok(many.isCut);
  t.equal(many.blocks.at(-1)?.key, 119, "blocks keep their keys");
});

t.test("a gap is told where it is, also in what is saved", async (t) => {
  const lines = withText(withGap(withGap(of("one\n"), 1_300_000), undefined), "two\n");
  t.equal(textOf(lines), "one\n… 1.2 MB skipped: more was printed than is shown live …\n… some lines are missing …\ntwo\n");
});

t.test("a line that was printed over itself is what it was last", async (t) => {
  t.equal(textOf(of("10 %\r50 %\r100 %\nend\r\n")), "100 %\nend\n");
});

const ENDS: readonly (readonly [name: string, live: Lines, tail: string, whole: string])[] = [
  ["nothing was live", NO_LINES, "one\ntwo\n", "one\ntwo\n"],
  ["all was live", of(numbered(0, 300)), numbered(200, 100), numbered(0, 300)],
  ["the last lines were not", of(numbered(0, 250)), numbered(200, 100), numbered(0, 300)],
  ["only the first line was", of("a\n"), "a\nb\n", "a\nb\n"],
  ["it ended without a line's end", of("a\nb\n"), "a\nb\nc", "a\nb\nc\n"],
  ["equal lines are counted right", of("x\nx\nx\n"), "x\nx\nx\n", "x\nx\nx\n"],
  ["more was missed than was recorded", of("a\nb\n"), "y\nz\n", "a\nb\n… some lines are missing …\ny\nz\n"],
  ["after a gap", withText(withGap(of("a\n"), undefined), "y\n"), "x\ny\nz\n", "a\n… some lines are missing …\ny\nz\n"],
  ["a gap stands last", withGap(of("a\n"), undefined), "y\nz\n", "a\n… some lines are missing …\ny\nz\n"],
  ["nothing was recorded", of("a\n"), "", "a\n"],
];

for (const [name, live, recorded, whole] of ENDS)
  t.test(`what was recorded closes a log: ${name}`, async (t) => t.equal(textOf(withTail(live, tail(recorded))), whole));
