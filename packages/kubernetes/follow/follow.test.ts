/** Following while nothing breaks: the requests, the changes that are reported, the objects kept in memory, and the stop. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { follow } from "./follow.ts";
import { added, bookmark, deleted, list, type Story, tells, words } from "../testing/followed.ts";
import { page, scripted, status } from "../testing/scripted.ts";
import { standingClock, virtualClock } from "../testing/virtual-clock.ts";

const stories: readonly Story[] = [
  {
    name: "lists, then watches from the list's version",
    plays: [list(["a", "b"], "10"), { lines: [added("c", "11"), deleted("a", "12"), bookmark("15")], then: "ends" }],
    want: ["listing start", "listed a", "listed b", "synced 10", "seen c", "gone a", "alive", "broken ended"],
    watchedFrom: ["10", "15"],
  },
  {
    name: "reads a large namespace page by page",
    plays: [list(["a"], "10", "t1"), list(["b"], "10", "t2"), list(["c"], "10"), { lines: [], then: "silent" }],
    want: ["listing start", "listed a", "listed b", "listed c", "synced 10"],
    watchedFrom: ["10"],
  },
  {
    name: "polls by listing if it may list and not watch",
    plays: [
      list(["a"], "10"),
      { refuses: 403, body: status(403, "Forbidden") },
      list(["a"], "20"),
      { refuses: 403, body: status(403, "Forbidden") },
      list([], "30"),
      { lines: [], then: "silent" },
    ],
    want: [
      "listing start",
      "listed a",
      "synced 10",
      "broken poll",
      "listing poll",
      "listed a",
      "synced 20",
      "broken poll",
      "listing poll",
      "synced 30",
    ],
  },
  {
    name: "only lists, again and again, if it is to poll, and calls nothing broken but a listing that fails",
    pollMs: 10_000,
    plays: [list(["a"], "10"), list(["a", "b"], "20"), { fails: "unanswered" }, list(["b"], "30"), { hangs: true }],
    want: [
      "listing start",
      "listed a",
      "synced 10",
      "listing poll",
      "listed a",
      "listed b",
      "synced 20",
      "listing poll",
      "broken unreachable",
      "listing poll",
      "listed b",
      "synced 30",
      "listing poll",
    ],
    watchedFrom: [],
  },
];

for (const story of stories) t.test(story.name, (t) => tells(t, story));

t.test(
  "asks for our objects only, for bookmarks, and for an end between 240 and 300 s that differs from watch to watch",
  async (t) => {
    let chance = 0;
    const clock = virtualClock({ random: () => (chance = (chance + 0.37) % 1) });
    const transport = scripted([
      list([], "1"),
      { lines: [bookmark("2")], then: "ends" },
      { lines: [bookmark("3")], then: "ends" },
      { lines: [bookmark("4")], then: "silent" },
    ]);
    const stop = new AbortController();
    let bookmarks = 0;
    for await (const change of follow({
      transport,
      clock,
      kind: "pods",
      namespace: "batch",
      selector: "ours=yes",
      signal: stop.signal,
    })) {
      if (change.kind === "alive" && ++bookmarks === 3) stop.abort();
    }
    const asked = transport.requests.map((it) => new URL(it.path, "http://any"));
    t.ok(
      asked.every((it) => it.pathname === "/api/v1/namespaces/batch/pods" && it.searchParams.get("labelSelector") === "ours=yes"),
    );
    t.equal(asked[0]?.searchParams.has("resourceVersion"), false, "the listing is answered by the store, not by a cache");
    const timeouts = asked.slice(1).map((it) => Number(it.searchParams.get("timeoutSeconds")));
    t.ok(
      timeouts.every((it) => it >= 240 && it <= 300),
      timeouts.join(" "),
    );
    t.equal(new Set(timeouts).size, 3, "no two alike");
    t.ok(asked.slice(1).every((it) => it.searchParams.get("allowWatchBookmarks") === "true"));
  },
);

t.test("a reader that takes its time is not taken for a silent server", async (t) => {
  const clock = virtualClock();
  const transport = scripted([list([], "1"), { lines: [added("a", "2"), added("b", "3")], then: "silent" }]);
  const stop = new AbortController();
  const said: string[] = [];
  for await (const change of follow({ transport, clock, kind: "jobs", namespace: "n", selector: "s", signal: stop.signal })) {
    said.push(words(change));
    if (words(change) === "seen a") await clock.sleep(600_000);
    if (words(change) === "seen b") stop.abort();
  }
  t.same(said, ["listing start", "synced 1", "seen a", "seen b"]);
});

t.test("stops at once by its signal: while it lists, waits for an event, or waits to try again", async (t) => {
  for (const plays of [[{ hangs: true }], [list([], "1"), { lines: [], then: "silent" }], [{ fails: "unsent" }]] as const) {
    const stop = new AbortController();
    const clock = standingClock(0);
    const iterator = follow({
      transport: scripted(plays),
      clock,
      kind: "jobs",
      namespace: "n",
      selector: "s",
      signal: stop.signal,
    });
    setImmediate(() => stop.abort());
    for await (const _change of iterator);
    t.pass("it ended");
  }
});

t.test("polls as often as it is told", async (t) => {
  const clock = virtualClock();
  const transport = scripted([list([], "1"), list([], "2"), list([], "3"), { hangs: true }]);
  const stop = new AbortController();
  const listedMs: number[] = [];
  for await (const change of follow({
    transport,
    clock,
    kind: "jobs",
    namespace: "n",
    selector: "s",
    signal: stop.signal,
    pollMs: 7_000,
  })) {
    if (change.kind === "listed") listedMs.push(change.asOfMs);
    if (listedMs.length === 3) stop.abort();
  }
  t.same(listedMs.map((it) => it - (listedMs[0] ?? 0)), [0, 7_000, 14_000]); // biome-ignore format: one call
});

t.test("keeps nothing of the 50,000 objects that it lists", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  const names = (from: number) => Array.from({ length: 500 }, (_, i) => `job-${from + i}`);
  let pages = 0;
  const transport = {
    ...scripted([{ lines: [], then: "silent" }]),
    send: async () => ({
      status: 200,
      headers: {},
      body: page(names(pages * 500), "7", ++pages < 100 ? `page-${pages}` : undefined),
    }),
  };
  const stop = new AbortController();
  const held: WeakRef<object>[] = [];
  let seen = 0;
  for await (const change of follow({
    transport,
    clock: virtualClock(),
    kind: "jobs",
    namespace: "n",
    selector: "s",
    signal: stop.signal,
  })) {
    if (change.kind === "seen" && seen++ % 500 === 0) held.push(new WeakRef(change.object as object));
    if (change.kind === "listed") stop.abort();
  }
  await new Promise((resolve) => setImmediate(resolve));
  if (typeof collect === "function") collect();
  t.equal(seen, 50_000);
  t.equal(held.filter((it) => it.deref() !== undefined).length, 0, "objects still held");
});
