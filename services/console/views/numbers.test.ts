import t from "tap";
import { numbersOf } from "./numbers.ts";

const HOUR_MS = 3_600_000;
const NOW_MS = 10 * HOUR_MS + 5;

t.test("each hour says who succeeded, who was stopped, and who is to blame, and an empty one is there", (t) => {
  const { hours, codes } = numbersOf(
    [
      { atMs: 8 * HOUR_MS, outcome: "succeeded", code: "", blame: "", n: 7 },
      { atMs: 8 * HOUR_MS, outcome: "failed", code: "ExitCode", blame: "request", n: 2 },
      { atMs: 10 * HOUR_MS, outcome: "failed", code: "ExitCode", blame: "request", n: 1 },
      { atMs: 10 * HOUR_MS, outcome: "lost", code: "Gone", blame: "cluster", n: 4 },
      { atMs: 10 * HOUR_MS, outcome: "cancelled", code: "", blame: "", n: 5 },
    ],
    NOW_MS,
    3,
  );
  t.same(hours, [
    { atMs: 8 * HOUR_MS, succeeded: 7, stopped: 0, request: 2, cluster: 0, platform: 0 },
    { atMs: 9 * HOUR_MS, succeeded: 0, stopped: 0, request: 0, cluster: 0, platform: 0 },
    { atMs: 10 * HOUR_MS, succeeded: 0, stopped: 5, request: 1, cluster: 4, platform: 0 },
  ]);
  t.same(codes, [
    { code: "Gone", blame: "cluster", n: 4 },
    { code: "ExitCode", blame: "request", n: 3 },
  ]);
  t.end();
});
