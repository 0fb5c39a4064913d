import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { type Change, type FollowOptions, follow } from "./follow.ts";
import { object, page, type Play, scripted, status } from "./testing/scripted.ts";
import { standingClock, virtualClock } from "./testing/virtual-clock.ts";

const list = (names: readonly string[], version: string, next?: string): Play => ({
  answer: 200,
  body: page(names, version, next),
});
/** What a server is asked before a watch that broke goes on: how far it is. */
const store = (version: string): Play => list([], version);
const added = (name: string, version: string) => ({ type: "ADDED", object: object(name, version) });
const deleted = (name: string, version: string) => ({ type: "DELETED", object: object(name, version) });
const bookmark = (version: string) => ({ type: "BOOKMARK", object: { kind: "Job", metadata: { resourceVersion: version } } });

interface Case extends Partial<Pick<FollowOptions, "pageSize">> {
  readonly name: string;
  readonly plays: readonly Play[];
  /** What is said until the script is played out. */
  readonly want: readonly string[];
  /** The versions that watches began from. */
  readonly watchedFrom?: readonly string[];
}

const cases: readonly Case[] = [
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
    name: "begins the listing anew, and says so, when the next page's token has expired",
    plays: [
      list(["a"], "10", "t1"),
      { answer: 410, body: status(410, "Expired") },
      list(["a", "b"], "20"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "listed a", "listing pageExpired", "listed a", "listed b", "synced 20"],
    watchedFrom: ["20"],
  },
  {
    name: "lists again when the watch is refused with 410",
    plays: [list([], "10"), { refuses: 410, body: status(410, "Expired") }, list(["a"], "30"), { lines: [], then: "silent" }],
    want: ["listing start", "synced 10", "broken expired", "listing expired", "listed a", "synced 30"],
    watchedFrom: ["10", "30"],
  },
  {
    name: "lists again when 410 comes within the watch",
    plays: [
      list([], "10"),
      { lines: [added("a", "11"), { type: "ERROR", object: status(410, "Expired") }, added("never", "12")], then: "silent" },
      list(["a"], "40"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "seen a", "broken expired", "listing expired", "listed a", "synced 40"],
    watchedFrom: ["10", "40"],
  },
  {
    name: "lists again when the watch reports an error that is not 410",
    plays: [
      list([], "10"),
      { lines: [{ type: "ERROR", object: status(500, "InternalError") }], then: "silent" },
      list([], "41"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "broken serverError", "listing serverError", "synced 41"],
  },
  {
    name: "lists again after a line that is no JSON, and believes nothing behind it",
    plays: [
      list([], "10"),
      { lines: [added("a", "11"), "<html>proxy</html>", added("never", "12")], then: "silent" },
      list(["a"], "50"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "seen a", "broken garbage", "listing garbage", "listed a", "synced 50"],
  },
  {
    name: "lists again after JSON that is no event",
    plays: [
      list([], "10"),
      { lines: [{ type: "ADDED", object: { metadata: {} } }], then: "silent" },
      list([], "51"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "broken garbage", "listing garbage", "synced 51"],
  },
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
  {
    name: "lists again when the server that came back is behind what it told us (an etcd restored from a snapshot)",
    plays: [
      list(["a", "b"], "900"),
      { lines: [added("c", "1001")], then: "breaks" },
      { fails: "unsent" },
      store("999"),
      list(["a"], "999"),
      { lines: [], then: "silent" },
    ],
    want: [
      "listing start",
      "listed a",
      "listed b",
      "synced 900",
      "seen c",
      "broken cut",
      "broken unreachable",
      "broken ahead",
      "listing ahead",
      "listed a",
      "synced 999",
    ],
    watchedFrom: ["900", "999"],
  },
  {
    name: "polls by listing where it may list and not watch",
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
    name: "lists again when the server is older than what it told us before (a restored etcd)",
    plays: [
      list([], "900"),
      {
        refuses: 504,
        body: status(504, "Timeout", {
          details: { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }] },
        }),
      },
      list(["a"], "100"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 900", "broken ahead", "listing ahead", "listed a", "synced 100"],
    watchedFrom: ["900", "100"],
  },
];

for (const { name, plays, want, watchedFrom, pageSize } of cases) {
  t.test(name, async (t) => {
    const transport = scripted(plays);
    const stop = new AbortController();
    const said: string[] = [];
    const options = {
      transport,
      clock: virtualClock(),
      kind: "jobs",
      namespace: "batch",
      selector: "ours=yes",
      signal: stop.signal,
    } as const;
    for await (const change of follow(pageSize === undefined ? options : { ...options, pageSize })) {
      said.push(words(change));
      if (said.length === want.length) {
        // One more turn of the loop shows where it would go on, unless the script ends in silence.
        if (watchedFrom && watched(transport.requests).length < watchedFrom.length) continue;
        stop.abort();
      }
      if (said.length > want.length) stop.abort();
    }
    t.same(said.slice(0, want.length), want);
    if (watchedFrom) t.same(watched(transport.requests), watchedFrom, "versions watched from");
  });
}

function watched(requests: readonly { readonly path: string }[]): string[] {
  const queries = requests.map((it) => new URL(it.path, "http://any").searchParams).filter((it) => it.get("watch") === "true");
  return queries.map((it) => it.get("resourceVersion") ?? "");
}

function words(change: Change): string {
  const name = (it: unknown) => (it as { metadata: { name: string } }).metadata.name;
  switch (change.kind) {
    case "listing":
      return `listing ${change.reason}`;
    case "seen":
      return `${change.listed ? "listed" : "seen"} ${name(change.object)}`;
    case "gone":
      return `gone ${name(change.object)}`;
    case "listed":
      return `synced ${change.resourceVersion}`;
    case "alive":
      return "alive";
    case "broken":
      return `broken ${change.reason}`;
  }
}

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
