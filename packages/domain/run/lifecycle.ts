/**
 * The life of an attempt. Whoever asks "what now?" asks this table.
 *
 * The bug this prevents: news arrives late, twice and out of order, and code that asks "already over?" in six places
 * forgets the seventh. Here every input has a cell for every state, so a new word in either list does not compile until
 * all its cells are decided. "illegal" is counted and changes nothing; it never throws.
 *
 * Two things make it longer than "created, running, ended". A request on the wire cannot be called back: `unanswered`
 * holds the claims whose create may still land, and until the fence has passed the name must stay taken. And a Job under
 * deletion never gets a condition, so only a look may end what is being deleted. The rules are in moves.ts.
 */
import type { AttemptInput, InputKind, InputOf } from "./input.ts";
import * as to from "./moves.ts";
import type { Attempt, AttemptState } from "./record.ts";
import type { Context, Move, Rule } from "./moves.ts";

const { stay, illegal, stray } = to;

type Row<K extends InputKind> = Record<AttemptState, Rule<K>>;

// biome-ignore format: a table is read down its columns
export const ATTEMPT: { readonly [K in InputKind]: Row<K> } = {
  //               waiting                 ready                   claimed                   live                       closing                    ended               done
  placed:        { waiting: to.ready,      ready: stay,            claimed: stay,            live: stay,                closing: stay,             ended: stay,        done: stay },
  noPlace:       { waiting: to.waitOn,     ready: to.waitOn,       claimed: stay,            live: stay,                closing: stay,             ended: stay,        done: stay },
  claimDue:      { waiting: illegal,       ready: to.claimed,      claimed: to.claimed,      live: illegal,             closing: illegal,          ended: illegal,     done: illegal },
  created:       { waiting: stray,         ready: stray,           claimed: to.live,         live: to.answered,         closing: to.noteUid,       ended: to.answered, done: to.answered },
  refused:       { waiting: illegal,       ready: illegal,         claimed: to.refused,      live: to.heardAnswer,      closing: to.endUnborn,     ended: to.heardAnswer, done: stay },
  deferred:      { waiting: illegal,       ready: illegal,         claimed: to.deferred,     live: to.heardAnswer,      closing: to.endUnborn,     ended: to.heardAnswer, done: stay },
  unanswered:    { waiting: illegal,       ready: illegal,         claimed: stay,            live: stay,                closing: stay,             ended: stay,        done: stay },
  nameTaken:     { waiting: illegal,       ready: illegal,         claimed: to.nameTaken,    live: to.heardAnswer,      closing: to.endUnborn,     ended: to.heardAnswer, done: stay },

  started:       { waiting: stray,         ready: stray,           claimed: to.started,      live: to.started,          closing: to.startedLate,   ended: to.known,    done: to.known },
  stalled:       { waiting: stray,         ready: stray,           claimed: to.stalled,      live: to.stalled,          closing: to.known,         ended: to.known,    done: to.known },
  resumed:       { waiting: stray,         ready: stray,           claimed: to.resumed,      live: to.resumed,          closing: to.known,         ended: to.known,    done: to.known },
  complete:      { waiting: stray,         ready: stray,           claimed: to.succeeded,    live: to.succeeded,        closing: to.succeeded,     ended: to.again,    done: to.again },
  failed:        { waiting: stray,         ready: stray,           claimed: to.failed,       live: to.failed,           closing: to.failedLate,    ended: to.again,    done: to.again },
  deleting:      { waiting: stray,         ready: stray,           claimed: to.external,     live: to.external,         closing: to.lookNow,       ended: to.known,    done: to.again },

  lookedDeleted: { waiting: illegal,       ready: illegal,         claimed: illegal,         live: to.deleted,          closing: to.deleted,       ended: to.again,    done: to.again },
  gone:          { waiting: illegal,       ready: illegal,         claimed: stay,            live: to.lost,             closing: to.gone,          ended: to.doneGone, done: stay },
  occupied:      { waiting: illegal,       ready: illegal,         claimed: illegal,         live: illegal,             closing: to.occupied,      ended: to.noteOccupant, done: stay },
  fencePassed:   { waiting: illegal,       ready: illegal,         claimed: to.unfenced,     live: stay,                closing: to.unfencedEnd,   ended: to.unfencedDone, done: stay },
  released:      { waiting: illegal,       ready: illegal,         claimed: illegal,         live: illegal,             closing: illegal,          ended: to.done,     done: stay },

  cancel:        { waiting: to.cancelled,  ready: to.cancelled,    claimed: to.closeFor("cancel"), live: to.closeFor("cancel"), closing: to.closeFor("cancel"), ended: stay, done: stay },
  waitExpired:   { waiting: to.waitedOut,  ready: to.waitedOut,    claimed: to.waitedOut,    live: to.waitedOutLive,    closing: stay,             ended: stay,        done: stay },
  startExpired:  { waiting: stay,          ready: stay,            claimed: stay,            live: to.startExpired,     closing: stay,             ended: stay,        done: stay },
  deadline:      { waiting: stay,          ready: stay,            claimed: stay,            live: to.closeFor("deadline"), closing: stay,         ended: stay,        done: stay },
  abandon:       { waiting: to.abandoned,  ready: to.abandoned,    claimed: to.abandoned,    live: to.abandoned,        closing: to.abandoned,     ended: stay,        done: stay },
};

/** `move.attempt === attempt` means nothing to write; then there is nothing to tell either, but there may be strays. */
export function moveAttempt(attempt: Attempt, input: AttemptInput, context: Context): Move {
  return cell(attempt, input, context);
}

function cell<K extends InputKind>(attempt: Attempt, input: InputOf<K>, context: Context): Move {
  const row: Row<K> = ATTEMPT[input.kind as K];
  return row[attempt.state](attempt, input, context);
}
