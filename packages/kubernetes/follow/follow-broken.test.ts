/** If the connection is cut, silent or refused, the follower goes on from where it was. Also tests how long it waits. */
import t from "tap";
import { follow } from "./follow.ts";
import { added, list, store, type Story, tells } from "../testing/followed.ts";
import { type Play, scripted, status } from "../testing/scripted.ts";
import { virtualClock } from "../testing/virtual-clock.ts";

const stories: readonly Story[] = [
  {
    name: "goes on from the last version when the connection is cut, in the middle of a line or between two",
    plays: [
      list([], "10"),
      { lines: [added("a", "11")], then: "breaks" },
      store("12"),
      { lines: [added("b", "12")], then: "silent" },
    ],
    want: ["listing start", "synced 10", "seen a", "broken cut", "seen b"],
    watchedFrom: ["10", "11"],
  },
  {
    name: "takes a silent watch for dead, goes on from the last version, and lists when that is silent too",
    plays: [
      list([], "10"),
      { lines: [added("a", "11")], then: "silent" },
      store("11"),
      { lines: [], then: "silent" },
      list(["a"], "60"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "seen a", "broken silent", "broken silent", "listing silent", "listed a", "synced 60"],
    watchedFrom: ["10", "11", "60"],
  },
  {
    name: "gives up a watch that never opens",
    plays: [list([], "10"), { hangs: true }, store("11"), { lines: [added("a", "11")], then: "silent" }],
    want: ["listing start", "synced 10", "broken unreachable", "seen a"],
    watchedFrom: ["10", "10"],
  },
  {
    name: "outlives an API server that is down, refuses, throttles and garbles, in list and in watch",
    plays: [
      { fails: "unsent" },
      { answer: 500, body: "boom" },
      { answer: 401, body: status(401, "Unauthorized") },
      { answer: 403, body: status(403, "Forbidden") },
      { answer: 429, body: status(429, "TooManyRequests", { details: { retryAfterSeconds: 7 } }) },
      { answer: 200, body: "<html>a captive portal</html>" },
      { hangs: true },
      list(["a"], "10"),
      { refuses: 503, body: "later" },
      store("10"),
      { refuses: 401, body: status(401, "Unauthorized") },
      { answer: 401, body: status(401, "Unauthorized") },
      store("10"),
      { fails: "unanswered" },
      { fails: "unsent" },
      { answer: 200, body: "<html>a captive portal</html>" },
      store("11"),
      { lines: [added("b", "11")], then: "silent" },
    ],
    want: [
      "listing start",
      "broken unreachable",
      "listing start",
      "broken unreachable",
      "listing start",
      "broken rejected",
      "listing start",
      "broken forbidden",
      "listing start",
      "broken throttled",
      "listing start",
      "broken garbage",
      "listing garbage",
      "broken unreachable",
      "listing garbage",
      "listed a",
      "synced 10",
      "broken unreachable",
      "broken rejected",
      "broken rejected",
      "broken unreachable",
      "broken unreachable",
      "broken garbage",
      "seen b",
    ],
    watchedFrom: ["10", "10", "10", "10"],
  },
];

for (const story of stories) t.test(story.name, (t) => tells(t, story));

t.test("waits longer after each failure, up to its bound, and as long as a 429 asks", async (t) => {
  const clock = virtualClock();
  const down: Play = { fails: "unsent" };
  const transport = scripted([
    down,
    down,
    down,
    down,
    down,
    { answer: 429, headers: { "retry-after": "9" }, body: "slow down" },
    list([], "1"),
  ]);
  const stop = new AbortController();
  const waits: number[] = [];
  for await (const change of follow({
    transport,
    clock,
    kind: "jobs",
    namespace: "n",
    selector: "s",
    signal: stop.signal,
    backOff: { firstMs: 100, mostMs: 400 },
  })) {
    if (change.kind === "broken") waits.push(change.retryInMs);
    if (change.kind === "listed") stop.abort();
  }
  t.same(waits, [75, 150, 300, 300, 300, 9000]);
});

t.test("does not spin when a server ends every watch after one event", async (t) => {
  const clock = virtualClock();
  const transport = scripted([
    list([], "1"),
    ...Array.from({ length: 20 }, (_, i): Play => ({ lines: [added("a", String(i + 2))], then: "ends" })),
  ]);
  const stop = new AbortController();
  const waits: number[] = [];
  for await (const change of follow({ transport, clock, kind: "jobs", namespace: "n", selector: "s", signal: stop.signal })) {
    if (change.kind === "broken" && waits.push(change.retryInMs) === 10) stop.abort();
  }
  t.ok(
    waits.every((it) => it > 0 && it <= 500),
    waits.join(" "),
  );
});
