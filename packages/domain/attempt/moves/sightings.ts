/**
 * Sightings of a Job, by the watcher or by our own look: late, repeated and in any order.
 *
 * The bugs this prevents: another Job's end told as this attempt's; a Job seen complete whose start is told afterwards; a stall
 * told again after it passed; our own deletion's SIGTERM told as the program's failure; and a surplus Job that runs on because
 * no loop is responsible for it.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { indexesIn } from "@longshore/contract/request/slices.ts";
import type { Evidence, LogTail, SliceCounts } from "@longshore/contract/messages/fact.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import { type Attempt, isFenced, isNewer, type Stray } from "../../run/record.ts";
import { causeKey } from "../../diagnosis/repeat.ts";
import { liveDueMs } from "../timers.ts";
import type { AttemptInput } from "../input.ts";
import {
  after,
  CAUSES,
  closing,
  type Context,
  doubted,
  end,
  endOfCause,
  type Move,
  move,
  restUntilMs,
  type Rule,
  stay,
} from "./move.ts";

export function alive(attempt: Attempt, { limits }: Context): Attempt {
  const live: Attempt = { ...attempt, state: "live", claimBy: undefined, claimUntilMs: undefined };
  return { ...live, dueMs: liveDueMs(live, limits) };
}

/** Sets the attempt's timer by the newest knowledge. A closing attempt has no such timer. */
const retimed = (attempt: Attempt, context: Context): Attempt =>
  attempt.state === "closing" ? attempt : alive(attempt, context);

/** The start is told once, also if only the end was seen. */
export function begun(attempt: Attempt, evidence: Evidence, { nowMs }: Context): Move {
  if (evidence.started !== "yes" || attempt.notes.startedAtMs !== undefined) return move(attempt);
  // A node's clock may be an hour off: the start is not before the launch, and not later than now.
  const saidMs = Date.parse(evidence.startedAt ?? "");
  const startedAtMs = Number.isNaN(saidMs) ? nowMs : Math.min(nowMs, Math.max(saidMs, attempt.notes.launchedAtMs ?? saidMs));
  return move({ ...attempt, started: "yes", notes: { ...attempt.notes, startedAtMs } }, [{ kind: "started", evidence }]);
}

function withoutStall(attempt: Attempt): Attempt {
  if (attempt.notes.stall === undefined) return attempt;
  const { stall: _, stalledAtMs: __, ...notes } = attempt.notes;
  return { ...attempt, notes };
}

export const started: Rule<"started"> = ofOwn<"started">((attempt, { evidence, rv }, context) => {
  const { attempt: running, news } = begun(attempt, { ...evidence, started: "yes" }, context);
  const seen = sighted(isNewer(rv, attempt.seenRv) ? withoutStall(running) : running, rv);
  const changed = attempt.state === "claimed" || seen.notes !== attempt.notes;
  return move(changed ? retimed(seen, context) : seen, news);
});

/** A view of the same version may bring news: Events say why a Job gets no pod, and do not change the Job's version. */
export const stalled: Rule<"stalled"> = ofOwn<"stalled">((attempt, { diagnosis, rv }, context) => {
  const lively = attempt.state === "claimed" ? alive(attempt, context) : attempt;
  const { stall, stalledAtMs } = attempt.notes;
  const isOlder = attempt.seenRv !== undefined && isNewer(attempt.seenRv, rv);
  if (isOlder || (stall !== undefined && causeKey(stall) === causeKey(diagnosis))) return move(sighted(lively, rv));
  const sinceMs = stall?.code === diagnosis.code ? (stalledAtMs ?? context.nowMs) : context.nowMs;
  const stalling = { ...sighted(lively, rv), notes: { ...lively.notes, stall: diagnosis, stalledAtMs: sinceMs } };
  return move(alive(stalling, context), [{ kind: "stalled", diagnosis }]);
});

export const resumed: Rule<"resumed"> = ofOwn<"resumed">((attempt, { rv }, context) => {
  const lively = sighted(attempt.state === "claimed" ? alive(attempt, context) : attempt, rv);
  if (attempt.notes.stall === undefined || !isNewer(rv, attempt.seenRv)) return move(lively);
  return move(alive(withoutStall(lively), context), [{ kind: "resumed" }]);
});

/** Facts come again and in any order: only more ended slices are news. */
export const progressed: Rule<"progressed"> = ofOwn<"progressed">((attempt, { slices, rv }, context) => {
  const lively = sighted(attempt.state === "claimed" ? alive(attempt, context) : attempt, rv);
  const { slices: before } = attempt.notes;
  if (before !== undefined && endedOf(slices) <= endedOf(before)) return move(lively);
  return move({ ...lively, notes: { ...lively.notes, slices } }, [{ kind: "progressed", slices }]);
});

const endedOf = ({ succeeded, failed }: SliceCounts): number => succeeded + indexesIn(failed).length;

function succeed(attempt: Attempt, given: Evidence, context: Context): Move {
  const evidence: Evidence = given.slices?.count === 0 ? given : { ...given, started: "yes" };
  const { attempt: ran, news } = begun(attempt, evidence, context);
  return after(news, end(ran, "succeeded", context, { evidence, started: evidence.started }));
}

export const succeeded: Rule<"complete"> = ofOwn<"complete">((attempt, { evidence }, context) =>
  succeed(attempt, evidence, context),
);

/**
 * Kubernetes fails a Job of which any slice failed, also if its step may have so many. Every slice has ended then: with another
 * reason, slices were ended for the sake of others.
 */
const isTolerated = ({ slices }: Evidence, { failedMax }: Context): boolean =>
  failedMax !== undefined && slices?.reason === "FailedIndexes" && indexesIn(slices.failed).length <= failedMax;

export const failed: Rule<"failed"> = ofOwn<"failed">((attempt, { evidence }, context) => {
  if (isTolerated(evidence, context)) return succeed(attempt, evidence, context);
  const { attempt: ran, news } = begun(attempt, evidence, context);
  const diagnosis =
    evidence.diagnosis ?? attempt.notes.stall ?? diagnose("Unknown", "The Job failed, and nothing that was seen of it says why.");
  return after(news, end(ran, "failed", context, { evidence, diagnosis, started: evidence.started }));
});

/**
 * After our DELETE only Complete counts as the Job's own end, and as many failed slices as may be: our SIGTERM gives exit 143, which
 * is not the program's failure. Slices that a deletion ends are not counted as failed.
 */
export const failedLate: Rule<"failed"> = ofOwn<"failed">((attempt, input, context) => {
  const isOwnEnd = attempt.cause === "external" || attempt.cause === "vanished" || isTolerated(input.evidence, context);
  if (isOwnEnd) return failed(attempt, input, context);
  const { evidence } = input;
  const { attempt: ran, news } = begun(attempt, evidence, context);
  return after(news, endOfCause(ran, context, { evidence, started: evidence.started }));
});

/** A Job without a hold may have ended before it vanished. Only a Job that was seen under deletion was certainly unfinished. */
export const external: Rule<"deleting"> = ofOwn<"deleting">((attempt, { vanished, log }, context) => {
  const cause = vanished === true && attempt.notes.hold === false ? "vanished" : "external";
  return closing(withLogSoFar(attempt, log), cause, CAUSES[cause].diagnosis, context);
});

/** The last log that could be read counts: when the Job's deletion has ended, its pods are gone, and their logs with them. */
const withLogSoFar = (attempt: Attempt, log: LogTail | undefined): Attempt =>
  log === undefined || log.state === "unavailable" ? attempt : { ...attempt, notes: { ...attempt.notes, log } };

/** A watcher's views of Jobs and of pods lag independently, so only a look may say that the pods are gone. */
export const lookNow: Rule<"deleting"> = ofOwn<"deleting">((before, { log }, { nowMs }) => {
  const attempt = withLogSoFar(before, log);
  return attempt.dueMs !== undefined && attempt.dueMs <= nowMs ? move(attempt) : move({ ...attempt, dueMs: nowMs });
});

// ── Whose Job was seen: the attempt's own, one that may become it, or a stray ────────────────────────────────────────

type Sighting = { readonly uid: Uid; readonly group: GroupName };
export type SightingKind =
  | "created"
  | "started"
  | "stalled"
  | "resumed"
  | "progressed"
  | "complete"
  | "failed"
  | "deleting"
  | "lookedDeleted";

/**
 * "bind": the attempt has no Job, or only one that is provably gone, so that a create of it may have made this Job. "occupant":
 * our own Job that keeps the name taken. It is neither adopted nor a stray.
 */
function whose(attempt: Attempt, { uid, group }: Sighting): "own" | "bind" | "occupant" | "other" {
  if (group !== attempt.group) return "other";
  if (uid === attempt.occupantUid) return "occupant";
  if (uid === attempt.uid) return endedBlind(attempt) ? "other" : "own";
  const binds = attempt.state === "claimed" || attempt.state === "closing";
  return binds && (attempt.uid === undefined || attempt.notes.gone === true) ? "bind" : "other";
}

/** The attempt ended without evidence, so there is no outcome to protect: any Job of it must go. */
const endedBlind = ({ state, outcome, notes }: Attempt): boolean =>
  (state === "ended" || state === "done") && (outcome?.result === "lost" || notes.gone === true);

/**
 * Wraps a rule about a sighting: the rule gets only sightings of the attempt's own Job. A Job that may become its own is bound
 * first.
 */
export function ofOwn<K extends SightingKind>(rule: Rule<K>): Rule<K> {
  return (attempt, input, context) => {
    const sighting: Sighting = input;
    switch (whose(attempt, sighting)) {
      case "own":
        return rule(attempt, input, context);
      case "occupant":
        return stay(attempt);
      case "other":
        return stray(attempt, sighting, context);
      case "bind": {
        const said: AttemptInput = input;
        const bound = bind(attempt, sighting.uid, context, said.kind === "created" && said.adopted);
        return after(bound.news, rule(bound.attempt, input, context));
      }
    }
  };
}

/** The Job is known now, so the attempt was launched. If the attempt is closing, a look and a delete are due at once. */
function bind(attempt: Attempt, uid: Uid, { nowMs }: Context, adopted: boolean): Move {
  const { gone: _, ...notes } = attempt.notes;
  const dueMs = attempt.state === "closing" ? nowMs : attempt.dueMs;
  // Sightings of an earlier Job say nothing of this one.
  const started = attempt.started === "no" ? "unknown" : attempt.started;
  const bound: Attempt = { ...attempt, uid, dueMs, started, notes: { ...notes, launchedAtMs: notes.launchedAtMs ?? nowMs } };
  return move(bound, notes.launchedAtMs === undefined ? [{ kind: "launched", adopted }] : []);
}

/** Remembers the version of the view, so that an older view that comes later is known to be older. */
export const sighted = (attempt: Attempt, rv: string): Attempt =>
  isNewer(rv, attempt.seenRv) ? { ...attempt, seenRv: rv } : attempt;

/** Nothing new about the attempt's own Job; any other Job is a stray. */
export const nothingNew: Rule<SightingKind> = ofOwn<SightingKind>(stay);

/** The Job of an ended attempt is gone: its name may be free while a create may yet land. */
export const vanishedLate: Rule<"deleting"> = ofOwn<"deleting">((attempt, { vanished }, { nowMs }) =>
  vanished === true ? move(doubted(attempt, nowMs)) : stay(attempt),
);

/** The outcome is recorded and the Job still has our hold: the hold is released, but not while a create may still land. */
export const releaseAgain: Rule<"complete" | "failed" | "deleting" | "lookedDeleted"> = ofOwn((attempt, input, context) => {
  if (attempt.state === "done") return move(attempt, [], [strayOf("release", attempt, input, context)]);
  const soonestMs = Math.min(attempt.dueMs ?? Infinity, restUntilMs(attempt, context.nowMs));
  return soonestMs === attempt.dueMs ? stay(attempt) : move({ ...attempt, dueMs: soonestMs });
});

/** If the attempt has ended, another Job under its name shows that the name was free. */
export const stray = (attempt: Attempt, input: Sighting, context: Context): Move =>
  move(doubted(attempt, context.nowMs), [], [strayOf("stray", attempt, input, context)]);

function strayOf(kind: Stray["kind"], attempt: Attempt, { uid, group }: Sighting, { nowMs }: Context): Stray {
  const holdUntilMs = isFenced(attempt, nowMs) ? (attempt.fenceUntilMs ?? nowMs) : nowMs;
  return { kind, group, name: attempt.name, uid, holdUntilMs };
}
