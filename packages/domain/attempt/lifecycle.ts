/**
 * The attempt's table: one cell for each input in each state.
 *
 * The bug this prevents: news arrives late, twice and out of order, and code that asks "already over?" in six places forgets
 * the seventh. Here a new state or input does not compile until all its cells are decided. "illegal" is counted and changes
 * nothing; it never throws.
 *
 * Two things make the life longer than "created, running, ended". A request that was sent cannot be called back: `unanswered`
 * lists the claims whose create may still land, and until the fence has passed the name must stay taken. And a Job under
 * deletion never gets a condition, so only a look may end it. The rules that the cells name are in moves/.
 */
import type { Attempt, AttemptState } from "../run/record.ts";
import type { AttemptInput, InputKind, InputOf } from "./input.ts";
import * as answers from "./moves/answers.ts";
import * as decisions from "./moves/decisions.ts";
import * as looks from "./moves/looks.ts";
import { type Context, illegal, type Move, type Rule, stay } from "./moves/move.ts";
import * as placing from "./moves/decisions.ts";
import { nothingNew, releaseAgain, stray } from "./moves/sightings.ts";
import * as seen from "./moves/sightings.ts";

type Row<K extends InputKind> = Record<AttemptState, Rule<K>>;

// biome-ignore format: a table is read down its columns
export const ATTEMPT: { readonly [K in InputKind]: Row<K> } = {
  // Our decisions.
  placed:        { waiting: placing.ready,       ready: stay,                claimed: stay,                live: stay,                    closing: stay,                ended: stay,                done: stay },
  noPlace:       { waiting: placing.waitOn,      ready: placing.waitOn,      claimed: stay,                live: stay,                    closing: stay,                ended: stay,                done: stay },
  claimDue:      { waiting: illegal,             ready: placing.claimed,     claimed: placing.claimed,     live: illegal,                 closing: illegal,             ended: illegal,             done: illegal },
  // Answers to the create.
  created:       { waiting: stray,               ready: stray,               claimed: answers.becomeLive,        live: answers.answeredLate,        closing: answers.answeredLate,    ended: answers.answeredLate,    done: answers.answeredLate },
  refused:       { waiting: illegal,             ready: illegal,             claimed: answers.refused,     live: answers.takeOffTheWire,     closing: answers.endWithoutJob,   ended: answers.takeOffTheWire, done: stay },
  deferred:      { waiting: illegal,             ready: illegal,             claimed: answers.deferred,    live: answers.takeOffTheWire,     closing: answers.endWithoutJob,   ended: answers.takeOffTheWire, done: stay },
  nameTaken:     { waiting: illegal,             ready: illegal,             claimed: answers.nameTaken,   live: answers.takeOffTheWire,     closing: answers.endWithoutJob,   ended: answers.takeOffTheWire, done: stay },
  unanswered:    { waiting: illegal,             ready: illegal,             claimed: stay,                live: stay,                    closing: stay,                ended: stay,                done: stay },
  // Sightings of a Job with our proof.
  started:       { waiting: stray,               ready: stray,               claimed: seen.started,        live: seen.started,            closing: seen.started,        ended: nothingNew,               done: nothingNew },
  stalled:       { waiting: stray,               ready: stray,               claimed: seen.stalled,        live: seen.stalled,            closing: nothingNew,               ended: nothingNew,               done: nothingNew },
  resumed:       { waiting: stray,               ready: stray,               claimed: seen.resumed,        live: seen.resumed,            closing: nothingNew,               ended: nothingNew,               done: nothingNew },
  progressed:    { waiting: stray,               ready: stray,               claimed: seen.progressed,     live: seen.progressed,         closing: nothingNew,               ended: nothingNew,               done: nothingNew },
  complete:      { waiting: stray,               ready: stray,               claimed: seen.succeeded,      live: seen.succeeded,          closing: seen.succeeded,      ended: releaseAgain,               done: releaseAgain },
  failed:        { waiting: stray,               ready: stray,               claimed: seen.failed,         live: seen.failed,             closing: seen.failedLate,     ended: releaseAgain,               done: releaseAgain },
  deleting:      { waiting: stray,               ready: stray,               claimed: seen.external,       live: seen.external,           closing: seen.lookNow,        ended: seen.vanishedLate,        done: releaseAgain },
  // Results of an authoritative look.
  lookedDeleted: { waiting: illegal,             ready: illegal,             claimed: illegal,             live: looks.deleted,           closing: looks.deleted,       ended: releaseAgain,               done: releaseAgain },
  unstarted:     { waiting: illegal,             ready: illegal,             claimed: illegal,             live: stay,                    closing: looks.unstarted,     ended: stay,                done: stay },
  gone:          { waiting: illegal,             ready: illegal,             claimed: stay,                live: looks.goneWhileLive,              closing: looks.goneWhileClosing,          ended: looks.goneAfterEnd,     done: stay },
  anchorGone:    { waiting: stay,                ready: stay,                claimed: stay,                live: stay,                    closing: looks.anchorGone,    ended: stay,                done: stay },
  occupied:      { waiting: illegal,             ready: illegal,             claimed: illegal,             live: illegal,                 closing: looks.occupiedWhileClosing,      ended: looks.occupiedAfterEnd,  done: stay },
  kept:          { waiting: stay,                ready: stay,                claimed: stay,                live: stay,                    closing: stay,                ended: looks.kept,          done: stay },
  children:      { waiting: stay,                ready: stay,                claimed: stay,                live: stay,                    closing: stay,                ended: looks.children,      done: stay },
  inDoubt:       { waiting: stay,                ready: stay,                claimed: stay,                live: stay,                    closing: stay,                ended: looks.inDoubt,       done: stay },
  fencePassed:   { waiting: illegal,             ready: illegal,             claimed: looks.fencePassedUnknown,      live: stay,                    closing: looks.fencePassedClosing,   ended: looks.fencePassedEnded,  done: stay },
  released:      { waiting: illegal,             ready: illegal,             claimed: illegal,             live: illegal,                 closing: illegal,             ended: looks.released,      done: stay },
  // People and timers.
  cancel:        { waiting: decisions.cancelUnsent, ready: decisions.cancelUnsent, claimed: decisions.cancelSent,    live: decisions.cancelSent,        closing: decisions.cancelSent,    ended: stay,                done: stay },
  waitExpired:   { waiting: decisions.waitExpiredUncreated, ready: decisions.waitExpiredUncreated, claimed: decisions.waitExpiredUncreated, live: decisions.waitExpiredCreated, closing: stay,                ended: stay,                done: stay },
  hopeless:      { waiting: decisions.hopeless,  ready: decisions.hopeless,  claimed: stay,                live: stay,                    closing: stay,                ended: stay,                done: stay },
  startExpired:  { waiting: stay,                ready: stay,                claimed: stay,                live: decisions.startExpired,  closing: stay,                ended: stay,                done: stay },
  elsewhere:     { waiting: stay,                ready: stay,                claimed: stay,                live: decisions.elsewhere,     closing: stay,                ended: stay,                done: stay },
  goesOn:        { waiting: stay,                ready: stay,                claimed: stay,                live: stay,                    closing: decisions.goesOn,    ended: stay,                done: stay },
  deadline:      { waiting: stay,                ready: stay,                claimed: stay,                live: decisions.deadline,      closing: stay,                ended: stay,                done: stay },
  abandon:       { waiting: decisions.abandon, ready: decisions.abandon, claimed: decisions.abandon, live: decisions.abandon,     closing: decisions.abandon, ended: stay,                done: stay },
};

/** If `move.attempt === attempt`, nothing is to be written or told, but there may be strays. */
export function moveAttempt(attempt: Attempt, input: AttemptInput, context: Context): Move {
  return cell(attempt, input, context);
}

function cell<K extends InputKind>(attempt: Attempt, input: InputOf<K>, context: Context): Move {
  const row: Row<K> = ATTEMPT[input.kind as K];
  return row[attempt.state](attempt, input, context);
}
