/**
 * What happens to a run's anchors when something happens to the run: who makes them, and who may give them up.
 *
 * The bugs this prevents: volumes that are given up under another attempt's claim, whose pod then mounts what is being deleted;
 * and a step that goes to another group than the files of the step before.
 */
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { type Anchor, type Attempt, isOpen, type RunRecord } from "../run/record.ts";
import type { Draft } from "../run/steps.ts";
import { CHECK_MS, type AnchorInput, moveAnchor } from "./lifecycle.ts";

export const newestAnchor = ({ anchors = [] }: Pick<RunRecord, "anchors">): Anchor | undefined => anchors.at(-1);

/** The anchor in whose group every further attempt of the run has to be placed. */
export function pinnedTo(record: Pick<RunRecord, "anchors">): Anchor | undefined {
  const newest = newestAnchor(record);
  return newest?.state === "making" || newest?.state === "standing" ? newest : undefined;
}

export const anchorOf = ({ anchors = [] }: Pick<RunRecord, "anchors">, { notes }: Attempt): Anchor | undefined =>
  anchors.find(({ number }) => number === notes.anchor);

const ownedBy = ({ attempts }: Pick<RunRecord, "attempts">, { number }: Pick<Anchor, "number">): readonly Attempt[] =>
  attempts.filter(({ notes }) => notes.anchor === number);

/** True if nothing of the run can start or be created under this anchor any more. */
export const isClear = (record: Pick<RunRecord, "attempts">, anchor: Pick<Anchor, "number">): boolean =>
  ownedBy(record, anchor).every(({ state }) => state === "done");

/**
 * Returns the anchor if the run may still leave it for another group: not all its volumes are there, so nothing was written to them,
 * and no attempt under it is placed or may still be created.
 */
export function leavable(record: Pick<RunRecord, "anchors" | "attempts">): Anchor | undefined {
  const pinned = pinnedTo(record);
  if (pinned?.state !== "making") return undefined;
  const isOver = (it: Attempt): boolean => (it.state === "ended" || it.state === "done") && !isOpen(it);
  return ownedBy(record, pinned).every(isOver) ? pinned : undefined;
}

/** True if a Job of the run was there, which is created after all volumes. Otherwise nothing was ever written to them. */
export const hasStood = (record: Pick<RunRecord, "attempts">, anchor: Anchor): boolean =>
  ownedBy(record, anchor).some(({ uid }) => uid !== undefined);

export function setAnchor(draft: Draft, number: number, input: AnchorInput): void {
  const anchor = draft.anchors.find((it) => it.number === number);
  const moved = anchor && moveAnchor(anchor, input, draft.at.nowMs);
  if (moved === "illegal") draft.illegal = true;
  else if (moved !== undefined && moved !== anchor) draft.anchors = draft.anchors.map((it) => (it === anchor ? moved : it));
}

/**
 * Returns the attempt with its anchor, which is booked with the run's first placement. An attempt that waits again has none: no
 * create of it can land, and the next placement may be under another anchor.
 */
export function underAnchor(draft: Draft, attempt: Attempt): Attempt {
  const wanted = draft.run.plan.storage?.anchor;
  const { group, state } = attempt;
  if (wanted === undefined || (state === "ready") === (attempt.notes.anchor !== undefined)) return attempt;
  if (state === "waiting") {
    const { anchor: _, ...notes } = attempt.notes;
    return { ...attempt, notes };
  }
  if (state !== "ready" || group === undefined) return attempt;
  const { number } = pinnedTo(draft) ?? bookAnchor(draft, group, attempt.notes.namespace ?? "", wanted.bytes);
  return { ...attempt, notes: { ...attempt.notes, anchor: number } };
}

/** Forgets the anchors that are gone: a run that waits for room books one again and again, and only the newest number counts. */
function bookAnchor(draft: Draft, group: GroupName, namespace: string, bytes: number): Anchor {
  const { nowMs } = draft.at;
  const number = (newestAnchor(draft)?.number ?? 0) + 1;
  const anchor: Anchor = {
    number, state: "making", group, namespace, bytes, uid: undefined, fenceUntilMs: nowMs, dueMs: nowMs + CHECK_MS,
  }; // biome-ignore format: a value read as one
  draft.anchors = [...draft.anchors.filter(({ state }) => state !== "gone"), anchor];
  return anchor;
}

/** Follows what happened to an attempt. */
export function attemptMoved(draft: Draft, before: Attempt, attempt: Attempt, isUnanswered: boolean): void {
  const anchor = anchorOf(draft, attempt);
  if (anchor === undefined) return;
  const { number } = anchor;
  if (attempt.uid !== undefined) setAnchor(draft, number, { kind: "stands" });
  // A claim that is not just being worked on may have sent a create of the anchor that nobody heard of. If its Job is there, the
  // anchor's create was answered before: else each fact that comes before its answer would keep the anchor for the fence's time.
  const isAtWork = attempt.state === "claimed" || attempt.uid !== undefined;
  const isLeft = isUnanswered || !isAtWork || attempt.unanswered.length > 1;
  if (isLeft && isOpen(attempt) && attempt.fenceUntilMs !== undefined)
    setAnchor(draft, number, { kind: "unanswered", fenceUntilMs: attempt.fenceUntilMs });
  if (attempt.state === "done" && before.state !== "done" && isClear(draft, anchor)) setAnchor(draft, number, { kind: "clear" });
}

export function runEnded(draft: Draft, outcome: Outcome): void {
  const newest = newestAnchor(draft);
  if (newest === undefined) return;
  // If somebody deleted the anchor, nothing is left to keep: a restart is told so.
  const isGone = ownedBy(draft, newest).some(({ notes }) => notes.anchorGone === true);
  setAnchor(draft, newest.number, { kind: "runEnded", keepMs: isGone ? 0 : keepMsOf(draft, outcome) });
}

export function keepMsOf({ run }: Pick<RunRecord, "run">, outcome: Outcome): number {
  const { keepSucceededMs = 0, keepFailedMs = 0 } = run.plan.storage?.anchor ?? {};
  switch (outcome) {
    case "succeeded":
      return keepSucceededMs;
    case "cancelled":
      return 0;
    case "failed":
    case "lost":
      return keepFailedMs;
  }
}

/** States in which a Job of an attempt may be there, or a create of it be under way. */
const AT_WORK: readonly Attempt["state"][] = ["claimed", "live", "closing"];

/** The group would be chosen again: only its cluster knows that it has no room. */
function avoidNext(draft: Draft, avoid: GroupName): void {
  const isToPlace = ({ state }: Attempt): boolean => state === "waiting" || state === "ready";
  draft.attempts = draft.attempts.map((it) => (isToPlace(it) ? { ...it, notes: { ...it.notes, avoid } } : it));
}

/** What a loop learned of an anchor. Returns the attempts whose placement in the anchor's group is void. */
export function heardOfAnchor(draft: Draft, number: number, input: AnchorInput): readonly Attempt[] {
  const anchor = draft.anchors.find((it) => it.number === number);
  if (anchor === undefined) return [];
  if (input.kind === "noRoom") {
    const owned = ownedBy(draft, anchor);
    if (owned.some((it) => AT_WORK.includes(it.state) || isOpen(it))) return [];
    setAnchor(draft, number, input);
    avoidNext(draft, anchor.group);
    return owned.filter(({ state }) => state === "ready");
  }
  if (input.kind === "gone" && !isClear(draft, anchor)) return [];
  const { outcome } = draft.run;
  // The run ended under a launcher that knew nothing of anchors: its volumes are kept from now on.
  const isUntold = input.kind === "due" && outcome !== undefined && anchor === pinnedTo(draft);
  setAnchor(draft, number, isUntold ? { kind: "runEnded", keepMs: keepMsOf(draft, outcome) } : input);
  return [];
}
