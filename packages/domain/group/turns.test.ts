/** Whose turn it is to take a slot: by priority, then by acceptance, of all that could take it, read or not. */
import { GroupName, RunId } from "@longshore/contract/ids.ts";
import t from "tap";
import {
  at,
  group as east,
  elsewhere as west,
  HOUR,
  main,
  NOW,
  planOf,
  runOf,
  SECOND,
  step,
} from "../attempt/testing/examples.ts";
import type { Attempt, RunRecord } from "../run/record.ts";
import type { Group } from "./group.ts";
import { type Line, lineOf, mostFor, openingsOf, placeAttempts } from "./place-attempts.ts";
import { open, placer, simple, taking } from "./testing/placing.ts";

interface Waiting {
  readonly run: string;
  readonly priority?: number;
  /** The groups in which the attempt waits for room; absent: it was not judged yet. */
  readonly waitsFor?: readonly GroupName[];
  readonly wants?: readonly GroupName[];
  readonly dueInMs?: number;
}

interface Turn {
  readonly name: string;
  /** In the order in which they were accepted. */
  readonly waiting: readonly Waiting[];
  /** The runs in each line, in any order; `most`: no more than this many were read. */
  readonly lines: readonly { readonly of: Line["of"]; readonly runs: readonly string[]; readonly most?: number }[];
  readonly groups: readonly Group[];
  readonly most?: number;
  readonly want: readonly string[];
  readonly more?: boolean;
  /** Runs about which nothing is written. */
  readonly untouched?: readonly string[];
}

const LATER = 4 * SECOND;

const turns: readonly Turn[] = [
  {
    name: "who waits for room is placed before who is due and less urgent, long before its timer",
    waiting: [{ run: "due", priority: 5 }, { run: "urgent", priority: 9, waitsFor: [east], dueInMs: LATER }],
    lines: [{ of: "due", runs: ["due"] }, { of: [east], runs: ["urgent"] }],
    groups: [open(east, taking(1))],
    want: ["urgent"],
  },
  {
    name: "of the same priority the run that was accepted first is placed, not the one that is due first",
    waiting: [{ run: "first", waitsFor: [east], dueInMs: LATER }, { run: "second", dueInMs: -HOUR }],
    lines: [{ of: "fresh", runs: ["second"] }, { of: [east], runs: ["first"] }],
    groups: [open(east, taking(1))],
    want: ["first"],
  },
  {
    name: "who comes after the last one that was read takes nothing that one of those not read could take",
    waiting: [
      { run: "a", priority: 9, waitsFor: [east, west], wants: [west] },
      { run: "unread", priority: 9, waitsFor: [east, west] },
      { run: "low", waitsFor: [east] },
    ],
    lines: [{ of: [east, west], runs: ["a"], most: 1 }, { of: [east], runs: ["low"], most: 1 }],
    groups: [open(east, taking(1)), open(west, taking(1))],
    want: ["a"],
    untouched: ["low"],
    more: true,
  },
  {
    name: "what those not read cannot take goes to the next one",
    waiting: [
      { run: "a", priority: 9, waitsFor: [west], wants: [west] },
      { run: "unread", priority: 9, waitsFor: [west], wants: [west] },
      { run: "low", waitsFor: [east] },
    ],
    lines: [{ of: [west], runs: ["a"], most: 1 }, { of: [east], runs: ["low"], most: 2 }],
    groups: [open(east, taking(2)), open(west, taking(1))],
    want: ["a", "low"],
    more: false,
  },
  {
    name: "any group may be for those who were not judged yet and not read",
    waiting: [{ run: "a", priority: 5, wants: [west] }, { run: "unread", priority: 5 }, { run: "low", waitsFor: [east] }],
    lines: [{ of: "fresh", runs: ["a"], most: 1 }, { of: [east], runs: ["low"] }],
    groups: [open(east, taking(1)), open(west, taking(1))],
    want: ["a"],
    untouched: ["low"],
    more: true,
  },
  {
    name: "those who are only to be judged again stop nobody",
    waiting: [{ run: "a", priority: 5, waitsFor: [west], wants: [west] }, { run: "low", waitsFor: [east] }],
    lines: [{ of: "due", runs: ["a"], most: 1 }, { of: [east], runs: ["low"] }],
    groups: [open(east, taking(1)), open(west, { ...taking(1), slotsUsed: 1 })],
    want: ["low"],
    more: true,
  },
  {
    name: "who is in two lines is placed once",
    waiting: [{ run: "a", waitsFor: [east] }, { run: "b", waitsFor: [east] }],
    lines: [{ of: "due", runs: ["a", "b"] }, { of: [east], runs: ["b", "a"] }],
    groups: [open(east, taking(5))],
    want: ["a", "b"],
    more: false,
  },
  {
    name: "no more are placed than were asked for",
    waiting: [{ run: "a" }, { run: "b" }, { run: "c" }],
    lines: [{ of: "fresh", runs: ["a", "b", "c"] }],
    groups: [open(east)],
    most: 2,
    want: ["a", "b"],
    untouched: ["c"],
    more: true,
  },
]; // biome-ignore format: a table

for (const { name, waiting, lines, groups, most = 100, want, more, untouched = [] } of turns)
  t.test(name, (t) => {
    const records = new Map(
      waiting.map(({ run, priority = 0, waitsFor, wants, dueInMs = 0 }) => {
        const { run: of, attempts } = runOf({ ...planOf([step("main")], {}, true), groups: wants });
        const changed = attempts.map((it): Attempt => ({ ...it, priority, waitsFor, dueMs: NOW + dueInMs }));
        return [RunId.parse(run), { run: of, attempts: changed }];
      }),
    );
    const read = lines.map(({ of, runs, most = 100 }) => {
      const candidates = waiting.flatMap(({ run, priority = 0 }, accepted) =>
        runs.includes(run) ? [{ run: RunId.parse(run), step: main, n: 1, priority, accepted }] : [],
      );
      return lineOf(of, candidates, most);
    });
    const done = placeAttempts({ lines: read, records, groups, entering: new Set(), placer, most, claiming: undefined }, at);
    const states = [...done.changes].map(([run, { after }]) => [run, after.attempts.at(-1)?.state]);
    t.same(states.flatMap(([run, state]) => (state === "ready" ? [run] : [])), want); // biome-ignore format: one call
    if (more !== undefined) t.equal(done.more, more);
    for (const run of untouched) t.notOk(done.changes.has(RunId.parse(run)), `${run} is left for the next turn`);
    t.end();
  });

t.test("an attempt waits for the groups that lack only room; asked again in vain, it is left as it is", (t) => {
  const third = GroupName.parse("prod-c");
  const groups = [
    open(west, { ...taking(1), slotsUsed: 1 }),
    open(third, { paused: true }),
    open(east, { ...taking(1), slotsUsed: 1 }),
  ];
  const run = RunId.parse("run");
  const candidate = { run, step: main, n: 1, priority: 0, accepted: 1 };
  const ask = (record: RunRecord) =>
    placeAttempts({ lines: [lineOf([east], [candidate], 5)], records: new Map([[run, record]]), groups, entering: new Set(), placer, most: 5, claiming: undefined }, at); // biome-ignore format: one call
  const after = ask(simple()).changes.get(run)?.after;
  t.match(after?.attempts, [{ state: "waiting", waitsFor: [east, west], notes: { waiting: "GroupsFull" } }]);
  t.equal(after && ask(after).changes.size, 0);
  t.end();
});

t.test("of those who wait for a group no more are read than it has free slots", (t) => {
  const groups = [open(east, { ...taking(5), slotsUsed: 2 }), open(west, { paused: true })];
  const openings = openingsOf(groups, placer, NOW);
  t.equal(mostFor([east, west], openings, 100), 3);
  t.equal(mostFor([east], openings, 2), 2);
  t.equal(mostFor([west], openings, 100), 0);
  t.end();
});
