/**
 * The group's table: the effect of each input in each state; the cells that depend on more than the state; and what each state
 * allows.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { hear } from "./health.ts";
import { wordOf } from "./recorded-health.ts";
import { ANOTHER, context, forbidden, input, NOW, OURS, SECOND, view } from "./testing/views.ts";
import {
  diagnosisOf,
  type GroupInput,
  type GroupInputKind,
  type GroupView,
  lookAgainMs,
  mayClaim,
  mayCreate,
  mayJudge,
  probeAgainMs,
  quietIn,
  UNREACHED,
  unverified,
  type ViewState,
  whyNot,
} from "./view.ts";

/** A cell in short: the new state, "·" if nothing changes, "note" if anything but the state does. */
function wordFor(before: GroupView, after: GroupView): string {
  if (before === after) return "·";
  return before.state === after.state ? "note" : after.state;
}

// biome-ignore format: a table is read down its columns
const TABLE: Readonly<Record<GroupInputKind, readonly string[]>> = {
  //              unverified    healthy       doubted       refusing      terminating   barred        away          moved
  answered:     ["healthy",    "note",       "healthy",    "note",       "healthy",    "healthy",    "healthy",    "healthy"],
  missing:      ["barred",     "barred",     "barred",     "barred",     "barred",     "note",       "barred",     "·"],
  refused:      ["away",       "barred",     "barred",     "barred",     "barred",     "note",       "note",       "·"],
  silent:       ["away",       "doubted",    "away",       "away",       "away",       "away",       "note",       "·"],
  throttled:    ["note",       "note",       "healthy",    "note",       "note",       "note",       "note",       "note"],
  writeRefused: ["·",          "refusing",   "refusing",   "·",          "·",          "·",          "·",          "·"],
  writeTaken:   ["·",          "·",          "healthy",    "note",       "·",          "·",          "·",          "·"],
  recorded:     ["note",       "·",          "·",          "·",          "·",          "·",          "·",          "·"],
  unnamed:      ["note",       "unverified", "unverified", "unverified", "unverified", "unverified", "unverified", "unverified"],
  overruled:    ["·",          "·",          "·",          "note",       "note",       "note",       "note",       "note"],
  heeded:       ["·",          "·",          "·",          "·",          "·",          "·",          "·",          "·"],
};

for (const [kind, row] of Object.entries(TABLE) as [GroupInputKind, readonly string[]][])
  t.test(`${kind} means for a group in each state what the table says`, async (t) => {
    for (const [index, [state, before]] of Object.entries(view).entries())
      t.equal(wordFor(before, hear(before, [input[kind]], context())), row[index], state);
  });

interface Case {
  readonly name: string;
  readonly from: GroupView;
  readonly heard: readonly GroupInput[];
  readonly atMs?: number;
  readonly want: object;
}

const { answered, missing, refused, silent, throttled, writeRefused, writeTaken, recorded, unnamed } = input;
const fresh = unverified(UNREACHED);
const rested = view.refusing.refusals.untilMs;

const cases: readonly Case[] = [
  { name: "the first answer names the namespace", from: fresh, heard: [answered], want: { state: "healthy", namespaceUid: OURS } },
  { name: "a namespace that nobody named and that is not there may be made yet", from: fresh, heard: [missing], want: { state: "away", namespaceUid: undefined, diagnosis: { hint: /Create the namespace/ } } },
  { name: "one that is gone can be accepted when it was made anew", from: view.healthy, heard: [missing], want: { diagnosis: { code: "NamespaceTerminating", hint: /group accept prod-a/ } } },
  { name: "another UID is another namespace", from: view.healthy, heard: [{ ...answered, uid: ANOTHER }], want: { state: "moved", namespaceUid: OURS, diagnosis: { code: "GroupMoved", hint: /group accept prod-a --yes/ } } },
  { name: "a namespace that is being deleted is left while that is possible", from: view.healthy, heard: [{ ...answered, deleting: true }], want: { state: "terminating", diagnosis: { code: "NamespaceTerminating" } } },
  { name: "when the rest is over, an answered read makes the group well", from: view.refusing, heard: [answered], atMs: rested, want: { state: "healthy", refusals: { times: 1 } } },
  { name: "a rest outlasts an outage", from: view.refusing, heard: [silent, answered], want: { state: "refusing", refusals: { times: 1, untilMs: rested } } },
  { name: "after a write that was taken, the next probe ends the rest", from: view.refusing, heard: [writeTaken, answered], want: { state: "healthy", refusals: { times: 0 } } },
  { name: "after a write that was taken, rests begin anew", from: { ...view.healthy, refusals: { ...view.refusing.refusals, times: 7 } }, heard: [writeTaken, writeRefused], want: { state: "refusing", refusals: { times: 1 } } },
  { name: "of two pauses the later one counts", from: view.healthy, heard: [throttled, { kind: "throttled", quiet: { untilMs: NOW + SECOND, why: "Again." } }], want: { quiet: { untilMs: NOW + 5 * SECOND, why: "Again." } } },
  { name: "another namespace is trusted now, by another launcher's answer", from: view.moved, heard: [{ ...recorded, namespaceUid: ANOTHER }], want: { state: "unverified", namespaceUid: ANOTHER } },
  { name: "and it is ours when it has answered us, too", from: view.moved, heard: [{ ...recorded, namespaceUid: ANOTHER }, { ...answered, uid: ANOTHER }], want: { state: "healthy", namespaceUid: ANOTHER } },
  { name: "a group that is away for us has the UID that another launcher found", from: { ...view.away, namespaceUid: undefined }, heard: [recorded], want: { state: "away", namespaceUid: OURS } },
  { name: "an API server that refuses reads as well does not bring back what refused writes", from: view.refusing, heard: [refused], want: { state: "barred", diagnosis: { code: "AuthRejected" }, refusals: { times: 1 } } },
  { name: "what a person accepted is trusted as it is found", from: view.moved, heard: [unnamed, { ...answered, uid: ANOTHER }], want: { state: "healthy", namespaceUid: ANOTHER } },
]; // biome-ignore format: a table is read down its columns

for (const { name, from, heard, atMs, want } of cases)
  t.test(name, async (t) => void t.match(hear(from, heard, context(atMs)), want));

t.test("rests double from 10 s to 5 min", async (t) => {
  let nowMs = NOW;
  let group: GroupView = view.healthy;
  const rests: number[] = [];
  for (let times = 0; times < 8; times++) {
    group = hear(group, [writeRefused], context(nowMs));
    if (group.state !== "refusing") throw new Error(`${group.state} after a refused write`);
    rests.push((group.refusals.untilMs - nowMs) / SECOND);
    nowMs = group.refusals.untilMs;
    group = hear(group, [answered], context(nowMs));
  }
  t.same(rests, [10, 20, 40, 80, 160, 300, 300, 300]);
});

// ── What is allowed ──────────────────────────────────────────────────────────────────────────────────────────────────

// biome-ignore format: a table is read down its columns
const ALLOWED: Readonly<Record<ViewState, readonly [claim: boolean, create: boolean, judge: boolean, lookMs: number, probeMs: number | undefined]>> = {
  unverified:  [false, false, false,  2_000, 1_000],
  healthy:     [true,  true,  true,   2_000, undefined],
  doubted:     [true,  true,  true,   2_000, 2_000],
  refusing:    [true,  true,  true,   2_000, 1_000],
  terminating: [true,  true,  true,   2_000, 1_000],
  barred:      [true,  false, true,  15_000, 1_000],
  away:        [true,  false, false, 15_000, 1_000],
  moved:       [true,  false, false, 15_000, 1_000],
};

for (const [state, want] of Object.entries(ALLOWED) as [ViewState, (typeof ALLOWED)[ViewState]][])
  t.test(`what is allowed in a group that is ${state}`, async (t) => {
    const it = view[state];
    t.same([mayClaim(it), mayCreate(it), mayJudge(it), lookAgainMs(it, 15_000), probeAgainMs(it)], want);
  });

t.test("why nothing can be judged is told in the words of the launcher that asked", async (t) => {
  t.equal(whyNot(view.moved, context().group), view.moved.diagnosis);
  t.equal(whyNot(view.away, context().group), view.away.diagnosis);
  t.match(whyNot(view.unverified, context().group), { code: "EndpointUnreachable", sentence: /was not reached yet/ });
});

t.test("a pause ends by itself", async (t) => {
  const quiet = hear(view.healthy, [throttled], context());
  t.match(quietIn(quiet, NOW), /too much/);
  t.equal(quietIn(quiet, NOW + 5 * SECOND), undefined);
});

// ── What is told ─────────────────────────────────────────────────────────────────────────────────────────────────────

const UNKNOWN = { namespaceUid: OURS, health: "unknown", diagnosis: undefined } as const;
const WELL = { ...UNKNOWN, health: "healthy" } as const;
const unwellFor = (diagnosis = forbidden) => ({ ...UNKNOWN, health: "unhealthy", diagnosis }) as const;

t.test("nothing is told of a group that did not answer us yet, or that is asked again at once", async (t) => {
  t.equal(wordOf(view.unverified, WELL), undefined);
  t.equal(wordOf(view.doubted, WELL), undefined);
});

t.test("a word that changes nothing asks nobody", async (t) => {
  t.match(wordOf(view.healthy, WELL), { health: "healthy", turns: false, needs: [] });
  t.match(wordOf(view.barred, unwellFor()), { health: "unhealthy", turns: false, needs: [] });
});

t.test("whose word has to be over before ours is told", async (t) => {
  t.match(wordOf(view.healthy, unwellFor()), { turns: true, needs: ["refused"] });
  t.match(wordOf(view.healthy, undefined), { turns: true, needs: ["refused"] });
  t.match(wordOf(view.away, WELL), { turns: true, needs: ["healthy"] });
  t.match(wordOf(view.away, UNKNOWN), { turns: true, needs: ["healthy"] });
  t.match(wordOf(view.away, unwellFor()), { turns: true, needs: ["healthy", "unhealthy"] });
});

t.test("that a group moved is not taken back by who does not reach it", async (t) => {
  const moved = unwellFor(diagnose("GroupMoved", "It moved."));
  for (const it of [view.away, view.barred]) t.match(wordOf(it, moved), { diagnosis: moved.diagnosis, turns: false });
  t.match(wordOf(view.healthy, moved), { health: "healthy", turns: true });
  t.equal(diagnosisOf(view.away)?.code, "EndpointUnreachable", "we know it otherwise ourselves");
});
