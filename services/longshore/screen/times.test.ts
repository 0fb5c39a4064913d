import t from "tap";
import { clockTime, day, span, timeText } from "./times.ts";

for (const [ms, want] of [
  [0, "0.0 s"],
  [9_940, "9.9 s"],
  [59_000, "59 s"],
  [61_000, "1 m 1 s"],
  [3_600_000, "1 h 0 m"],
  [90_000_000, "1 d"],
] as const)
  t.equal(span(ms), want);

const ms = Date.UTC(2030, 0, 1, 9, 8, 7);
t.equal(timeText(ms), "2030-01-01 09:08:07Z");
t.equal(`${day(ms)} ${clockTime(ms)}`, timeText(ms));
