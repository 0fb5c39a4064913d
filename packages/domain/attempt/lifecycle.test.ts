/** The attempt's table, cell by cell, and the cells that depend on more than the state. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import * as example from "./testing/examples.ts";
import {
  after,
  claimed,
  claimedTwice,
  closing,
  closingUnborn,
  context,
  ended,
  done,
  input,
  live,
  NOW,
  occupant,
  other,
  passed,
  ready,
  waiting,
} from "./testing/examples.ts";
import type { AttemptInput, InputKind } from "./input.ts";
import { moveAttempt } from "./lifecycle.ts";
import type { Move } from "./moves/move.ts";
import type { Attempt, AttemptState } from "../run/record.ts";

/** A move in short: "S" is a stray, "·" no change, "note" a change of anything but the state. */
function wordsOf(before: Attempt, { attempt, strays, illegal }: Move): string {
  if (illegal) return "illegal";
  const [stray] = strays;
  if (stray !== undefined) return stray.kind === "stray" ? "S" : "release";
  if (attempt === before) return "·";
  const isNew = attempt.state !== before.state || attempt.cause !== before.cause;
  if (!isNew) return "note";
  if (attempt.outcome !== undefined) return `${attempt.state}(${attempt.outcome.result})`;
  return attempt.state === "closing" ? `closing(${attempt.cause})` : attempt.state;
}

const states: Readonly<Record<AttemptState, Attempt>> = { waiting, ready, claimed, live, closing, ended, done };

// biome-ignore format: a table is read down its columns
const TABLE: Readonly<Record<InputKind, readonly string[]>> = {
  //               waiting             ready               claimed             live                 closing             ended      done
  placed:        ["ready",            "·",                "·",                "·",                 "·",                "·",       "·"],
  noPlace:       ["note",             "waiting",          "·",                "·",                 "·",                "·",       "·"],
  claimDue:      ["illegal",          "claimed",          "note",             "illegal",           "illegal",          "illegal", "illegal"],
  created:       ["S",                "S",                "live",             "·",                 "·",                "·",       "·"],
  refused:       ["illegal",          "illegal",          "done(refused)",    "·",                 "·",                "·",       "·"],
  deferred:      ["illegal",          "illegal",          "waiting",          "·",                 "·",                "·",       "·"],
  unanswered:    ["illegal",          "illegal",          "·",                "·",                 "·",                "·",       "·"],
  nameTaken:     ["illegal",          "illegal",          "done(refused)",    "·",                 "·",                "·",       "·"],
  started:       ["S",                "S",                "live",             "note",              "note",             "·",       "·"],
  stalled:       ["S",                "S",                "live",             "note",              "·",                "·",       "·"],
  resumed:       ["S",                "S",                "live",             "note",              "·",                "·",       "·"],
  progressed:    ["S",                "S",                "live",             "note",              "·",                "·",       "·"],
  complete:      ["S",                "S",                "ended(succeeded)", "ended(succeeded)",  "ended(succeeded)", "·",       "release"],
  failed:        ["S",                "S",                "ended(failed)",    "ended(failed)",     "ended(cancelled)", "·",       "release"],
  deleting:      ["S",                "S",                "closing(external)","closing(external)", "·",                "·",       "release"],
  lookedDeleted: ["illegal",          "illegal",          "illegal",          "ended(deleted)",    "ended(cancelled)", "·",       "release"],
  unstarted:     ["illegal",          "illegal",          "illegal",          "·",                 "note",             "·",       "·"],
  gone:          ["illegal",          "illegal",          "·",                "ended(lost)",       "ended(cancelled)", "done(succeeded)", "·"],
  anchorGone:    ["·",                "·",                "·",                "·",                 "·",                "·",       "·"],
  occupied:      ["illegal",          "illegal",          "illegal",          "illegal",           "note",             "note",    "·"],
  kept:          ["·",                "·",                "·",                "·",                 "·",                "note",    "·"],
  children:      ["·",                "·",                "·",                "·",                 "·",                "·",       "·"],
  inDoubt:       ["·",                "·",                "·",                "·",                 "·",                "·",       "·"],
  fencePassed:   ["illegal",          "illegal",          "·",                "·",                 "·",                "done(succeeded)", "·"],
  released:      ["illegal",          "illegal",          "illegal",          "illegal",           "illegal",          "done(succeeded)", "·"],
  cancel:        ["done(cancelled)",  "done(cancelled)",  "closing(cancel)",  "closing(cancel)",   "·",                "·",       "·"],
  waitExpired:   ["done(failed)",     "done(failed)",     "closing(waitExpired)", "·",             "·",                "·",       "·"],
  hopeless:      ["done(refused)",    "done(refused)",    "·",                "·",                 "·",                "·",       "·"],
  elsewhere:     ["·",                "·",                "·",                "·",                 "·",                 "·",       "·"],
  goesOn:        ["·",                "·",                "·",                "·",                 "·",                 "·",       "·"],
  startExpired:  ["·",                "·",                "·",                "closing(startExpired)", "·",            "·",       "·"],
  deadline:      ["·",                "·",                "·",                "closing(deadline)", "·",                "·",       "·"],
  abandon:       ["done(lost)",       "done(lost)",       "ended(lost)",      "ended(lost)",       "ended(lost)",      "·",       "·"],
};

for (const [kind, row] of Object.entries(TABLE) as [InputKind, readonly string[]][])
  t.test(`${kind} means for an attempt in each state what this table says`, async (t) => {
    for (const [index, [state, attempt]] of Object.entries(states).entries())
      t.equal(wordsOf(attempt, moveAttempt(attempt, input[kind], context())), row[index], state);
  });

const stalledBy = (code: "QuotaExceeded" | "Unschedulable" | "ImageNotFound") =>
  after(live, [{ ...input.stalled, diagnosis: diagnose(code, "It waits.") }]);
const externally = after(live, [input.deleting]);
/**
 * In the `open…` attempts the Job was seen before its create was answered: the Job lives, and the create still counts as
 * unanswered.
 */
const unheld: Attempt = { ...live, notes: { ...live.notes, hold: false } };
const openLive = after(claimed, [input.started]);
const openEnded = after(openLive, [input.complete]);
const openClosing = after(openLive, [input.cancel]);
const goneClosing = after(openClosing, [input.gone]);

interface Case {
  readonly name: string;
  readonly from: Attempt;
  readonly input: AttemptInput;
  readonly atMs?: number;
  readonly want: string;
}

const cases: readonly Case[] = [
  { name: "a claimed attempt is claimed again in its group, under the next number", from: claimed, input: input.claimDue, want: "note" },
  { name: "a Job of another group is a stray, whatever it says", from: claimed, input: { ...input.complete, group: example.elsewhere }, want: "S" },
  { name: "a second Job of a live attempt is a stray", from: live, input: { ...input.created, uid: other }, want: "S" },
  { name: "another Job's end is not a live attempt's", from: live, input: { ...input.complete, uid: other }, want: "S" },
  { name: "another Job's end is not a closing attempt's", from: closing, input: { ...input.failed, uid: other }, want: "S" },
  { name: "another Job is a stray also after the end", from: ended, input: { ...input.started, uid: other }, want: "S" },
  { name: "another Job is a stray also when all is done", from: done, input: { ...input.complete, uid: other }, want: "S" },
  { name: "a Job of an attempt that was cancelled before it had one is a stray", from: after(ready, [input.cancel]), input: input.started, want: "S" },
  { name: "the Job of an attempt that ended without evidence is a stray", from: after(live, [input.gone]), input: input.started, want: "S" },
  { name: "a Job that turns up while closing is noted, to be deleted", from: closingUnborn, input: input.created, want: "note" },
  { name: "a stall seen while closing tells which Job to delete", from: closingUnborn, input: input.stalled, want: "note" },
  { name: "a Job that completed while its create was being cancelled did succeed", from: closingUnborn, input: input.complete, want: "ended(succeeded)" },
  { name: "our own occupant is nobody's Job", from: after(closing, [input.occupied]), input: { ...input.started, uid: occupant }, want: "·" },
  { name: "a Job that others deleted may still fail by itself", from: externally, input: input.failed, want: "ended(failed)" },
  { name: "a Job that others deleted is called so when a look shows it deleted", from: externally, input: input.lookedDeleted, want: "ended(deleted)" },
  { name: "a cancel takes over a Job that others deleted", from: externally, input: input.cancel, want: "closing(cancel)" },
  { name: "a refusal ends a closing attempt that never had a Job", from: closingUnborn, input: input.refused, want: "done(cancelled)" },
  { name: "a refusal for now ends a closing attempt that never had a Job, too", from: closingUnborn, input: input.deferred, want: "done(cancelled)" },
  { name: "a stranger's Job under the name ends a closing attempt that never had a Job", from: closingUnborn, input: input.nameTaken, want: "done(cancelled)" },
  { name: "an occupant ends a closing attempt that never had a Job", from: closingUnborn, input: input.occupied, want: "ended(cancelled)" },
  { name: "an occupant says nothing about a Job that is known", from: openClosing, input: input.occupied, want: "note" },
  { name: "an occupant ends a closing attempt whose Job is gone", from: goneClosing, input: input.occupied, want: "ended(cancelled)" },
  { name: "the last create's answer ends a closing attempt whose Job is gone", from: goneClosing, input: input.refused, want: "ended(cancelled)" },
  { name: "another Job may take the place of one that is gone", from: goneClosing, input: { ...input.created, uid: other }, want: "note" },
  { name: "a late refusal says nothing of a live Job, but closes the wire", from: openLive, input: input.refused, want: "note" },
  { name: "another Job that is gone says nothing about this one", from: live, input: { ...input.gone, uid: other }, want: "·" },
  { name: "an ended attempt keeps its hold while fenced", from: openEnded, input: input.released, want: "note" },
  { name: "a look that began before the fence passed ends nothing", from: openEnded, input: input.released, atMs: passed, want: "note" },
  { name: "a look that began after the fence ends it", from: openEnded, input: { ...input.released, begunAtMs: passed }, atMs: passed, want: "done(succeeded)" },
  { name: "waiting long enough for quota ends a live attempt", from: stalledBy("QuotaExceeded"), input: input.waitExpired, want: "closing(waitExpired)" },
  { name: "waiting long enough for a node ends a live attempt", from: stalledBy("Unschedulable"), input: input.waitExpired, want: "closing(waitExpired)" },
  { name: "waiting for an image is no waiting for room", from: stalledBy("ImageNotFound"), input: input.waitExpired, want: "·" },
  { name: "an attempt that has started does not wait", from: after(stalledBy("QuotaExceeded"), [input.started]), input: input.waitExpired, want: "·" },
  { name: "an attempt that has started is not given up for not starting", from: after(live, [input.started]), input: input.startExpired, want: "·" },
  { name: "without a hold, a Job that is not there any more is not called deleted by others", from: unheld, input: { ...input.deleting, vanished: true }, want: "closing(vanished)" },
  { name: "without a hold, one that was seen being deleted is", from: unheld, input: input.deleting, want: "closing(external)" },
  { name: "without a hold, what vanished is lost", from: after(unheld, [{ ...input.deleting, vanished: true }]), input: input.gone, want: "ended(lost)" },
  { name: "what waits for a node goes where there is one", from: stalledBy("Unschedulable"), input: input.elsewhere, want: "closing(elsewhere)" },
  { name: "an attempt that waits for its image stays where it is", from: stalledBy("ImageNotFound"), input: input.elsewhere, want: "·" },
  { name: "an attempt that has started stays where it is", from: after(stalledBy("Unschedulable"), [input.started]), input: input.elsewhere, want: "·" },
  { name: "an attempt that got a node after all goes on", from: after(stalledBy("Unschedulable"), [input.elsewhere]), input: input.goesOn, want: "live" },
  { name: "an attempt that started in the moment in which its time was up goes on", from: after(live, [input.startExpired]), input: input.goesOn, want: "live" },
  { name: "a cancel is not taken back", from: after(live, [input.startExpired, input.cancel]), input: input.goesOn, want: "·" },
  { name: "an attempt that provably did not start is moved", from: after(stalledBy("Unschedulable"), [input.elsewhere, input.unstarted]), input: input.lookedDeleted, want: "ended(moved)" },
  { name: "an attempt that may have started is not moved", from: after(stalledBy("Unschedulable"), [input.elsewhere]), input: { ...input.lookedDeleted, evidence: { started: "unknown" } }, want: "ended(failed)" },
  { name: "an attempt that completed while it was to be moved did succeed", from: after(stalledBy("Unschedulable"), [input.elsewhere]), input: input.complete, want: "ended(succeeded)" },
  { name: "an open claim that waited too long is closed, not ended", from: claimedTwice, input: input.waitExpired, want: "closing(waitExpired)" },
  { name: "the fence of an older claim changes nothing", from: claimedTwice, input: { ...input.fencePassed, begunAtMs: passed }, atMs: passed, want: "·" },
  { name: "after the fence, an empty name sends it back to wait", from: claimed, input: { ...input.fencePassed, begunAtMs: passed }, atMs: passed, want: "waiting" },
  { name: "after the fence, a stranger's Job under the name is a conflict", from: claimed, input: { ...input.fencePassed, found: "foreign", begunAtMs: passed }, atMs: passed, want: "done(refused)" },
  { name: "after the fence, closing ends if there is no Job", from: closingUnborn, input: { ...input.fencePassed, begunAtMs: passed }, atMs: passed, want: "done(cancelled)" },
  { name: "after the fence, closing goes on if there is a Job", from: openClosing, input: { ...input.fencePassed, begunAtMs: passed }, atMs: passed, want: "·" },
]; // biome-ignore format: a table is read down its columns

for (const { name, from, input: said, atMs = NOW, want } of cases)
  t.test(name, async (t) => {
    t.equal(wordsOf(from, moveAttempt(from, said, context(atMs))), want);
  });
