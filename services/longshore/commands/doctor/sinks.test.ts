import type { SinkState } from "@longshore/ledger/deliveries.ts";
import t from "tap";
import { findingOf } from "./sinks.ts";

const WHY = { code: "500", sentence: "It answered 500" };
const WELL: SinkState = {
  name: "shop",
  owner: "me",
  stopped: undefined,
  waiting: 0,
  oldestMs: 0,
  behindMs: 0,
  parkedLines: 0,
  parkedRequests: 0,
  failure: undefined,
};

// biome-ignore format: a table is read down its columns
const CASES = [
  { name: "all is told", state: {}, want: { state: "ok", says: "all is told" } },
  { name: "it is stopped", state: { stopped: WHY, owner: undefined }, want: { state: "FAIL", says: /^stopped\. It answered 500/, todo: /sinks retry --config x shop/ } },
  { name: "no recorder serves it", state: { owner: undefined }, want: { state: "WARN", todo: /npm run recorder/ } },
  { name: "no recorder serves it, and runs wait", state: { owner: undefined, waiting: 3 }, want: { state: "FAIL" } },
  { name: "a transaction holds the feed back", state: { behindMs: 120_000 }, want: { state: "WARN", says: /read 2 m(in)? .*late/, todo: /pg_stat_activity/ } },
  { name: "it fails", state: { waiting: 2, oldestMs: 60_000, failure: WHY }, want: { state: "WARN", says: /2 runs wait.*It answered 500/ } },
  { name: "something is parked", state: { parkedLines: 1, parkedRequests: 2 }, want: { state: "WARN", says: /^3 /, todo: /sinks list --config x/ } },
  { name: "it is being told", state: { waiting: 1 }, want: { state: "ok" } },
];
for (const { name, state, want } of CASES)
  t.test(name, async (t) => t.match(findingOf({ ...WELL, ...state }, " --config x"), { part: "sink shop", ...want }));
