/**
 * Sightings of the attempt's own Job, by the watcher or by our own look: late, repeated and in any order.
 *
 * The bugs this prevents: a Job seen complete whose start is told afterwards; a stall told again after it passed, because its
 * news was slower; and our own deletion's SIGTERM told as the program's failure.
 */
import { diagnose } from "@longshore/contract/diagnosis.ts";
import type { Evidence } from "@longshore/contract/fact.ts";
import { liveDueMs } from "../due.ts";
import { type Attempt, isNewer } from "../../run/record.ts";
import { CAUSES, closing, end, endOfCause } from "./ending.ts";
import { after, type Context, type Move, move, type Rule } from "./move.ts";
import { ofOwn, sighted } from "./own.ts";

export function alive(attempt: Attempt, { limits }: Context): Attempt {
  const live: Attempt = { ...attempt, state: "live", claimBy: undefined, claimUntilMs: undefined };
  return { ...live, dueMs: liveDueMs(live, limits) };
}

/** Sets its timers by the newest knowledge. A closing attempt has none of these timers. */
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

/** Two views may be equally old: Events tell why a Job gets no pod, and Events change nothing of the Job. */
export const stalled: Rule<"stalled"> = ofOwn<"stalled">((attempt, { diagnosis, rv }, context) => {
  const lively = attempt.state === "claimed" ? alive(attempt, context) : attempt;
  const { stall, stalledAtMs } = attempt.notes;
  const isOlder = attempt.seenRv !== undefined && isNewer(attempt.seenRv, rv);
  if (isOlder || (stall?.code === diagnosis.code && stall.sentence === diagnosis.sentence)) return move(sighted(lively, rv));
  const sinceMs = stall?.code === diagnosis.code ? (stalledAtMs ?? context.nowMs) : context.nowMs;
  const stalling = { ...sighted(lively, rv), notes: { ...lively.notes, stall: diagnosis, stalledAtMs: sinceMs } };
  return move(alive(stalling, context), [{ kind: "stalled", diagnosis }]);
});

export const resumed: Rule<"resumed"> = ofOwn<"resumed">((attempt, { rv }, context) => {
  const lively = sighted(attempt.state === "claimed" ? alive(attempt, context) : attempt, rv);
  if (attempt.notes.stall === undefined || !isNewer(rv, attempt.seenRv)) return move(lively);
  return move(alive(withoutStall(lively), context), [{ kind: "resumed" }]);
});

export const succeeded: Rule<"complete"> = ofOwn<"complete">((attempt, input, context) => {
  const evidence: Evidence = { ...input.evidence, started: "yes" };
  const { attempt: ran, news } = begun(attempt, evidence, context);
  return after(news, end(ran, "succeeded", context, { evidence, started: "yes" }));
});

export const failed: Rule<"failed"> = ofOwn<"failed">((attempt, { evidence }, context) => {
  const { attempt: ran, news } = begun(attempt, evidence, context);
  const diagnosis =
    evidence.diagnosis ?? attempt.notes.stall ?? diagnose("Unknown", "The Job failed, and nothing that was seen of it says why.");
  return after(news, end(ran, "failed", context, { evidence, diagnosis, started: evidence.started }));
});

/** Once our DELETE is sent, only Complete beats it: our own SIGTERM gives exit 143, which is not the program's failure. */
export const failedLate: Rule<"failed"> = ofOwn<"failed">((attempt, input, context) => {
  if (attempt.cause === "external" || attempt.cause === "vanished") return failed(attempt, input, context);
  const { evidence } = input;
  const { attempt: ran, news } = begun(attempt, evidence, context);
  return after(news, endOfCause(ran, context, { evidence, started: evidence.started }));
});

/** A Job without a hold may have ended before it went. Only one that was seen being deleted was certainly unfinished. */
export const external: Rule<"deleting"> = ofOwn<"deleting">((attempt, { vanished }, context) => {
  const cause = vanished === true && attempt.notes.hold === false ? "vanished" : "external";
  return closing(attempt, cause, CAUSES[cause].diagnosis, context);
});

/** A watcher's views of Jobs and of pods are stale independently: only a look may say that the pods are gone. */
export const lookNow: Rule<"deleting"> = ofOwn<"deleting">((attempt, _input, { nowMs }) =>
  attempt.dueMs !== undefined && attempt.dueMs <= nowMs ? move(attempt) : move({ ...attempt, dueMs: nowMs }),
);
