/**
 * Results of an authoritative look: deleted for good, gone, the name occupied, the fence passed, the hold released.
 *
 * The bug this prevents: an end concluded from silence. A passed fence shows that nothing more can land; it does not show that
 * nothing has landed, so only a look that began after the fence counts.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { type Attempt, isFenced, isOpen } from "../../run/record.ts";
import { backToWaiting } from "./decisions.ts";
import { after, CAUSES, doubted, end, endOfCause, finish, move, notStarted, restUntilMs, type Rule, stay } from "./move.ts";
import { begun, ofOwn } from "./sightings.ts";

export const deleted: Rule<"lookedDeleted"> = ofOwn<"lookedDeleted">((attempt, { evidence }, context) => {
  const { attempt: seen, news } = begun(attempt, evidence, context);
  const how = { evidence, started: evidence.started };
  if (attempt.state === "closing") return after(news, endOfCause(seen, context, how));
  return after(news, end(seen, "deleted", context, { ...how, diagnosis: CAUSES.external.diagnosis }));
});

/** Noted while the pods can still be seen: once they are gone, nothing can show that no container ran. */
export const unstarted: Rule<"unstarted"> = (attempt, { uid }, { nowMs }) =>
  attempt.uid !== uid || attempt.started !== "unknown" ? stay(attempt) : move({ ...attempt, started: "no", dueMs: nowMs });

const noteGone = (attempt: Attempt): Attempt => ({ ...attempt, notes: { ...attempt.notes, gone: true } });

export const goneWhileLive: Rule<"gone"> = (attempt, { uid }, context) => {
  if (attempt.uid !== uid) return stay(attempt);
  const diagnosis =
    attempt.notes.hold === false
      ? CAUSES.vanished.diagnosis
      : diagnose("Gone", "The Job vanished from the cluster without telling how it ended.");
  return end(noteGone(attempt), "lost", context, { diagnosis });
};

/** Nothing of this Job is left. While a create is unanswered, another Job may exist or still come: look again. */
export const goneWhileClosing: Rule<"gone"> = (attempt, { uid }, context) => {
  if (attempt.uid !== uid) return stay(attempt);
  const noted = noteGone(attempt);
  return isOpen(noted) ? move({ ...noted, dueMs: context.nowMs }) : endOfCause(noted, context, {});
};

export const goneAfterEnd: Rule<"gone"> = (attempt, { uid }, { nowMs }) => {
  if (attempt.uid !== uid) return stay(attempt);
  const noted = noteGone(attempt);
  return move(isOpen(noted) ? { ...doubted(noted, nowMs), dueMs: nowMs } : finish(noted));
};

/** The Job was deleted with its owner. The next step, or a restart, would find no volumes. */
export const anchorGone: Rule<"anchorGone"> = (attempt, { diagnosis }, { nowMs }) =>
  attempt.cause !== "external" || attempt.notes.anchorGone === true
    ? stay(attempt)
    : move({ ...attempt, dueMs: nowMs, notes: { ...attempt.notes, closing: diagnosis, anchorGone: true } });

/** Our occupant has the name, so nothing of this attempt can start any more. */
export const occupiedWhileClosing: Rule<"occupied"> = (attempt, { uid }, context) => {
  const noted: Attempt = attempt.occupantUid === uid ? attempt : { ...attempt, occupantUid: uid };
  if (noted.uid === undefined) return endOfCause(noted, context, { started: notStarted(noted) });
  return noted.notes.gone === true ? endOfCause(noted, context, {}) : move(noted);
};

/** The occupant may have no hold, so only another look at it shows that the name is kept. */
export const occupiedAfterEnd: Rule<"occupied"> = (attempt, { uid }, { nowMs }) =>
  attempt.occupantUid === uid ? stay(attempt) : move({ ...doubted({ ...attempt, occupantUid: uid }, nowMs), dueMs: nowMs });

/** Only a look that began after the attempt's end, and after the last doubt, shows that the name is taken. */
export const kept: Rule<"kept"> = (attempt, { uid, begunAtMs }, { nowMs }) => {
  const isOwn = uid === attempt.occupantUid || (uid === attempt.uid && attempt.notes.gone !== true);
  const { keptAtMs = -Infinity } = attempt.notes;
  if (!isOwn || begunAtMs < (attempt.outcome?.endedAtMs ?? Infinity) || begunAtMs <= keptAtMs) return stay(attempt);
  const seen: Attempt = { ...attempt, notes: { ...attempt.notes, keptAtMs: begunAtMs } };
  return move({ ...seen, dueMs: restUntilMs(seen, nowMs) });
};

/** Pods that were told to end take their grace: the next look is soon, and not at once. */
const CHILDREN_MS = 2_000;

export const children: Rule<"children"> = (attempt, { found }, { nowMs }) => {
  const { children: has, ...notes } = attempt.notes;
  if (has !== true) return stay(attempt);
  return move(found === "none" ? { ...attempt, notes, dueMs: nowMs } : { ...attempt, dueMs: nowMs + CHILDREN_MS });
};

export const inDoubt: Rule<"inDoubt"> = (attempt, _input, { nowMs }) => move(doubted(attempt, nowMs));

/** True if this look was late enough to see every create that can land. */
const isConclusive = (attempt: Attempt, begunAtMs: number): boolean =>
  !isOpen(attempt) || (attempt.fenceUntilMs !== undefined && begunAtMs >= attempt.fenceUntilMs);

export const fencePassedUnknown: Rule<"fencePassed"> = (attempt, { claimNo, begunAtMs, found }, context) => {
  if (claimNo !== attempt.claimNo || !isConclusive(attempt, begunAtMs)) return stay(attempt);
  const closed: Attempt = { ...attempt, unanswered: [], notes: { ...attempt.notes, unproven: true } };
  if (found === "nothing") return backToWaiting(closed, { reason: "Unanswered", retryAtMs: context.nowMs });
  return end(closed, "refused", context, { diagnosis: CAUSES.nameConflict.diagnosis });
};

export const fencePassedClosing: Rule<"fencePassed"> = (attempt, { claimNo, begunAtMs }, context) => {
  if (claimNo !== attempt.claimNo || !isConclusive(attempt, begunAtMs)) return stay(attempt);
  if (attempt.uid !== undefined && attempt.notes.gone !== true) return stay(attempt);
  const started = isOpen(attempt) && attempt.started === "no" ? "unknown" : attempt.started;
  return endOfCause({ ...attempt, unanswered: [], started }, context, {});
};

export const fencePassedEnded: Rule<"fencePassed"> = (attempt, { claimNo, begunAtMs }) =>
  claimNo === attempt.claimNo && isConclusive(attempt, begunAtMs) ? move(finish(attempt)) : stay(attempt);

/**
 * Until the fence has passed the name must stay taken: if the hold went too early, the release loop looks at once and occupies
 * the name.
 */
export const released: Rule<"released"> = (attempt, { begunAtMs }, { nowMs }) => {
  if (isFenced(attempt, nowMs)) return move(doubted(attempt, nowMs));
  return isConclusive(attempt, begunAtMs) ? move(finish(attempt)) : move({ ...attempt, dueMs: nowMs });
};
