/** The rules that the attempt's table (lifecycle.ts) names: each says what one input does in one state. All are pure. */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { EventData } from "@longshore/contract/event.ts";
import type { Evidence } from "@longshore/contract/fact.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import { liveDueMs } from "./due.ts";
import type { AttemptInput, InputKind, InputOf } from "./input.ts";
import type { Attempt, AttemptOutcome, AttemptResult, Cause, Limits, Stray } from "./record.ts";
import { isFenced, isNewer, isOpen } from "./record.ts";

/** A create that nobody waits for any more may still be delivered this long after; then the name may be free. */
export const FENCE_MS = 10 * 60_000;

export interface Context {
  readonly nowMs: number;
  readonly limits: Limits;
}

/** What there is to tell about an attempt, in order; its end is told by the step's and the run's tables. */
export type News =
  | {
      readonly kind: "waiting";
      readonly reason: string;
      readonly considered: EventData<"run.waiting">["considered"];
      readonly diagnosis?: Diagnosis;
    }
  | { readonly kind: "launched"; readonly adopted: boolean }
  | { readonly kind: "started"; readonly evidence: Evidence }
  | { readonly kind: "stalled"; readonly diagnosis: Diagnosis }
  | { readonly kind: "resumed" };

export interface Move {
  readonly attempt: Attempt;
  readonly news: readonly News[];
  readonly strays: readonly Stray[];
  readonly illegal: boolean;
}

export type Rule<K extends InputKind> = (attempt: Attempt, input: InputOf<K>, context: Context) => Move;

const move = (attempt: Attempt, news: readonly News[] = [], strays: readonly Stray[] = []): Move => ({
  attempt,
  news,
  strays,
  illegal: false,
});

export const stay = (attempt: Attempt): Move => move(attempt);
export const illegal = (attempt: Attempt): Move => ({ ...move(attempt), illegal: true });

// ── Strays: Jobs with our proof that are not this attempt's ─────────────────────────────────────────────────────────

type Sighting = { readonly uid: Uid; readonly group: GroupName };

function strayOf(kind: Stray["kind"], attempt: Attempt, { uid, group }: Sighting, { nowMs }: Context): Stray {
  const holdUntilMs = isFenced(attempt, nowMs) ? (attempt.fenceUntilMs ?? nowMs) : nowMs;
  return { kind, group, name: attempt.name, uid, holdUntilMs };
}

export const stray = (attempt: Attempt, input: Sighting, context: Context): Move =>
  move(attempt, [], [strayOf("stray", attempt, input, context)]);

/** An attempt that ended without evidence has no outcome to protect: whatever still stands of it must go. */
const endedBlind = ({ outcome }: Attempt): boolean => outcome?.result === "lost";

/** Is this the attempt's own Job? "bind": it has none recorded (or that one is gone), and this may be it. */
function whose(attempt: Attempt, { uid, group }: Sighting): "own" | "bind" | "other" {
  if (group !== attempt.group) return "other";
  if (attempt.uid === uid) return endedBlind(attempt) ? "other" : "own";
  const bindable = attempt.state === "claimed" || attempt.state === "closing";
  return bindable && (attempt.uid === undefined || attempt.notes.gone === true) ? "bind" : "other";
}

/** Wraps a rule for something seen of a Job: only the attempt's own Job is heard, and it is bound where none was recorded. */
function ofOwn<K extends "created" | "started" | "stalled" | "resumed" | "complete" | "failed" | "deleting" | "lookedDeleted">(
  rule: Rule<K>,
): Rule<K> {
  return (attempt, input, context) => {
    const sighting: Sighting & { readonly rv: string } = input;
    const whoseJob = whose(attempt, sighting);
    if (whoseJob === "other") return stray(attempt, sighting, context);
    const seenRv = isNewer(sighting.rv, attempt.seenRv) ? sighting.rv : attempt.seenRv;
    if (whoseJob === "own") return rule(attempt, input, context);
    const { gone: _, ...notes } = attempt.notes;
    return rule({ ...attempt, uid: sighting.uid, seenRv, notes }, input, context);
  };
}

// ── The create's answers ────────────────────────────────────────────────────────────────────────────────────────────

/** Takes one claim off the wire. The same attempt comes back where that answer was heard before. */
function hear(attempt: Attempt, claimNo: number | undefined): Attempt {
  if (claimNo === undefined || !attempt.unanswered.includes(claimNo)) return attempt;
  return { ...attempt, unanswered: attempt.unanswered.filter((it) => it !== claimNo) };
}

export const heardAnswer = (attempt: Attempt, { claimNo }: { readonly claimNo: number }): Move => move(hear(attempt, claimNo));

export const claimed: Rule<"claimDue"> = (attempt, { by, untilMs }) => {
  const claimNo = attempt.claimNo + 1;
  return move({
    ...attempt,
    state: "claimed",
    claimNo,
    claimBy: by,
    claimUntilMs: untilMs,
    dueMs: untilMs,
    fenceUntilMs: untilMs + FENCE_MS,
    unanswered: [...attempt.unanswered, claimNo],
    started: attempt.started === "no" ? "unknown" : attempt.started,
  });
};

export const live: Rule<"created"> = ofOwn<"created">((attempt, { claimNo, rv, adopted }, context) =>
  alive({ ...hear(attempt, claimNo), seenRv: isNewer(rv, attempt.seenRv) ? rv : attempt.seenRv }, context, adopted),
);

/** Becomes live if it was not, and tells of the launch if that was not told. */
function alive(attempt: Attempt, context: Context, adopted = false): Move {
  const toldBefore = attempt.notes.launchedAtMs !== undefined;
  const notes = { ...attempt.notes, launchedAtMs: attempt.notes.launchedAtMs ?? context.nowMs };
  const now: Attempt = { ...attempt, state: "live", notes, claimBy: undefined, claimUntilMs: undefined };
  return move({ ...now, dueMs: liveDueMs(now, context.limits) }, toldBefore ? [] : [{ kind: "launched", adopted }]);
}

/** A create's answer about a Job that is already known, or about one more than there should be. */
export const answered: Rule<"created"> = (attempt, input, context) => {
  const heard = hear(attempt, input.claimNo);
  return whose(attempt, input) === "own" ? move(heard) : stray(heard, input, context);
};

export const noteUid: Rule<"created"> = (attempt, input, context) => {
  const heard = hear(attempt, input.claimNo);
  const whoseJob = whose(heard, input);
  if (whoseJob === "own") return move(heard);
  if (whoseJob === "other") return stray(heard, input, context);
  const { gone: _, ...notes } = heard.notes;
  return move({ ...heard, uid: input.uid, seenRv: input.rv, notes, dueMs: context.nowMs });
};

export const refused: Rule<"refused"> = (attempt, { claimNo, diagnosis }, context) => {
  const heard = hear(attempt, claimNo);
  if (heard === attempt) return stay(attempt);
  return isOpen(heard)
    ? closing(heard, "refused", diagnosis, context)
    : end(heard, "refused", context, { diagnosis, started: "no" });
};

export const nameTaken: Rule<"nameTaken"> = (attempt, { claimNo, diagnosis }, context) => {
  const heard = hear(attempt, claimNo);
  if (heard === attempt) return stay(attempt);
  return isOpen(heard)
    ? closing(heard, "nameConflict", diagnosis, context)
    : end(heard, "refused", context, { diagnosis, started: "no" });
};

export const deferred: Rule<"deferred"> = (attempt, { claimNo, diagnosis, retryAtMs }) => {
  const heard = hear(attempt, claimNo);
  if (heard === attempt) return stay(attempt);
  // An older claim may still land: the attempt may not go to another group before the fence has passed.
  if (isOpen(heard)) return move(claimNo === heard.claimNo ? { ...heard, dueMs: heard.fenceUntilMs } : heard);
  return backToWaiting(heard, diagnosis.code, retryAtMs, diagnosis);
};

function backToWaiting(attempt: Attempt, reason: string, retryAtMs: number, diagnosis?: Diagnosis): Move {
  const { considered = [], ...notes } = attempt.notes;
  const waiting: Attempt = {
    ...attempt,
    state: "waiting",
    group: undefined,
    claimBy: undefined,
    claimUntilMs: undefined,
    fenceUntilMs: undefined,
    started: "no",
    dueMs: Math.min(retryAtMs, notes.waitUntilMs),
    notes: { ...notes, considered, waiting: reason },
  };
  return move(
    waiting,
    attempt.notes.waiting === reason ? [] : [{ kind: "waiting", reason, considered, ...(diagnosis && { diagnosis }) }],
  );
}

/** While closing: once no create is on the wire and no Job is known, nothing is left to close. */
export function endUnborn(attempt: Attempt, { claimNo }: { readonly claimNo: number }, context: Context): Move {
  const heard = hear(attempt, claimNo);
  if (heard === attempt) return stay(attempt);
  return heard.uid === undefined && !isOpen(heard) ? endOfCause(heard, context, { started: "no" }) : move(heard);
}

// ── Placing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const ready: Rule<"placed"> = (attempt, { group, namespace, considered }, { nowMs }) =>
  move({ ...attempt, state: "ready", group, dueMs: nowMs, notes: { ...attempt.notes, namespace, considered } });

export const waitOn: Rule<"noPlace"> = (attempt, { reason, considered, retryAtMs, diagnosis }) =>
  backToWaiting({ ...attempt, notes: { ...attempt.notes, considered } }, reason, retryAtMs, diagnosis);

// ── What was seen of its Job ────────────────────────────────────────────────────────────────────────────────────────

/** Events that a later sighting implies and nobody told yet: a Job seen complete was launched and did start. */
function catchUp(attempt: Attempt, evidence: Evidence | undefined, { nowMs }: Context): Move {
  const news: News[] = [];
  let notes = attempt.notes;
  if (notes.launchedAtMs === undefined) {
    notes = { ...notes, launchedAtMs: nowMs };
    news.push({ kind: "launched", adopted: false });
  }
  if (evidence?.started === "yes" && notes.startedAtMs === undefined) {
    const { stall: _, stalledAtMs: __, ...rest } = notes;
    notes = { ...rest, startedAtMs: Math.min(Date.parse(evidence.startedAt ?? "") || nowMs, nowMs) };
    news.push({ kind: "started", evidence });
  }
  if (notes === attempt.notes) return move(attempt);
  return move({ ...attempt, notes, started: notes.startedAtMs === undefined ? attempt.started : "yes" }, news);
}

const withNews = (news: readonly News[], then: Move): Move => ({ ...then, news: [...news, ...then.news] });

export const started: Rule<"started"> = ofOwn<"started">((attempt, { evidence }, context) => {
  const caught = catchUp(attempt, { ...evidence, started: "yes" }, context);
  if (caught.attempt === attempt) return attempt.state === "live" ? stay(attempt) : alive(attempt, context);
  return withNews(caught.news, alive(caught.attempt, context));
});

/** While closing: remembered for the outcome, not told as progress twice. */
export const startedLate: Rule<"started"> = ofOwn<"started">((attempt, { evidence }, context) => {
  const caught = catchUp(attempt, { ...evidence, started: "yes" }, context);
  return caught;
});

export const stalled: Rule<"stalled"> = ofOwn<"stalled">((attempt, { diagnosis, rv }, context) => {
  const lively = attempt.state === "claimed" ? alive(attempt, context) : move(attempt);
  const stale = attempt.state === "live" && !isNewer(rv, attempt.seenRv);
  const same = attempt.notes.stall?.code === diagnosis.code && attempt.notes.stall.sentence === diagnosis.sentence;
  if (stale || same) return lively;
  const notes = {
    ...lively.attempt.notes,
    stall: diagnosis,
    stalledAtMs: attempt.notes.stall?.code === diagnosis.code ? (attempt.notes.stalledAtMs ?? context.nowMs) : context.nowMs,
  };
  const now: Attempt = { ...lively.attempt, notes, seenRv: rv };
  return withNews(lively.news, move({ ...now, dueMs: liveDueMs(now, context.limits) }, [{ kind: "stalled", diagnosis }]));
});

export const resumed: Rule<"resumed"> = ofOwn<"resumed">((attempt, { rv }, context) => {
  const lively = attempt.state === "claimed" ? alive(attempt, context) : move(attempt);
  if (attempt.notes.stall === undefined || !isNewer(rv, attempt.seenRv)) return lively;
  const { stall: _, stalledAtMs: __, ...notes } = lively.attempt.notes;
  const now: Attempt = { ...lively.attempt, notes, seenRv: rv };
  return withNews(lively.news, move({ ...now, dueMs: liveDueMs(now, context.limits) }, [{ kind: "resumed" }]));
});

export const succeeded: Rule<"complete"> = ofOwn<"complete">((attempt, { evidence }, context) => {
  const ran: Evidence = { ...evidence, started: "yes" };
  const caught = catchUp(attempt, ran, context);
  return withNews(caught.news, end(caught.attempt, "succeeded", context, { evidence: ran, started: "yes" }));
});

export const failed: Rule<"failed"> = ofOwn<"failed">((attempt, { evidence }, context) => {
  const caught = catchUp(attempt, evidence, context);
  const diagnosis =
    evidence.diagnosis ?? attempt.notes.stall ?? diagnose("Unknown", "The Job failed, and nothing that was seen of it says why.");
  return withNews(caught.news, end(caught.attempt, "failed", context, { evidence, diagnosis, started: evidence.started }));
});

/** Once our DELETE is sent, only Complete beats it: our own SIGTERM gives exit 143, which is not the program's failure. */
export const failedLate: Rule<"failed"> = ofOwn<"failed">((attempt, input, context) => {
  if (attempt.cause === "external") return failed(attempt, input, context);
  const caught = catchUp(attempt, input.evidence, context);
  return withNews(
    caught.news,
    endOfCause(caught.attempt, context, { evidence: input.evidence, started: input.evidence.started }),
  );
});

export const external: Rule<"deleting"> = ofOwn<"deleting">((attempt, _input, context) =>
  closing(attempt, "external", diagnose("DeletedExternally", "Somebody deleted the Job while it was not finished."), context),
);

export const lookNow: Rule<"deleting"> = ofOwn<"deleting">((attempt, _input, { nowMs }) => move({ ...attempt, dueMs: nowMs }));

/** Nothing new about its own Job; any other is a stray. */
export const known = (attempt: Attempt, input: Sighting, context: Context): Move =>
  whose(attempt, input) === "other" ? stray(attempt, input, context) : stay(attempt);

/** The outcome is recorded and the hold still stands: release it, though not while a create may yet land. */
export const again = (attempt: Attempt, input: Sighting, context: Context): Move => {
  if (whose(attempt, input) === "other") return stray(attempt, input, context);
  if (attempt.state === "done") return move(attempt, [], [strayOf("release", attempt, input, context)]);
  return move({ ...attempt, dueMs: isFenced(attempt, context.nowMs) ? attempt.fenceUntilMs : context.nowMs });
};

// ── What only a look may say ────────────────────────────────────────────────────────────────────────────────────────

export const deleted: Rule<"lookedDeleted"> = ofOwn<"lookedDeleted">((attempt, { evidence }, context) => {
  const caught = catchUp(attempt, evidence, context);
  const how = { evidence, started: evidence.started };
  return withNews(
    caught.news,
    attempt.state === "live"
      ? end(caught.attempt, "deleted", context, { ...how, diagnosis: CAUSES.external.diagnosis })
      : endOfCause(caught.attempt, context, how),
  );
});

export const lost: Rule<"gone"> = (attempt, { uid }, context) =>
  attempt.uid !== uid
    ? stay(attempt)
    : end(attempt, "lost", context, {
        diagnosis: diagnose("Gone", "The Job vanished from the cluster without telling how it ended."),
      });

export const gone: Rule<"gone"> = (attempt, { uid }, context) => {
  if (attempt.uid !== uid) return stay(attempt);
  const noted: Attempt = { ...attempt, notes: { ...attempt.notes, gone: true } };
  return isFenced(attempt, context.nowMs) ? move({ ...noted, dueMs: context.nowMs }) : endOfCause(noted, context, {});
};

export const doneGone: Rule<"gone"> = (attempt, { uid }, { nowMs }) =>
  attempt.uid !== uid || isFenced(attempt, nowMs) ? stay(attempt) : move(finish(attempt));

export const occupied: Rule<"occupied"> = (attempt, { uid }, context) => {
  const noted: Attempt = { ...attempt, occupantUid: uid };
  if (attempt.uid !== undefined && attempt.notes.gone !== true) return move(noted);
  return endOfCause(noted, context, attempt.uid === undefined ? { started: "no" } : {});
};

export const noteOccupant: Rule<"occupied"> = (attempt, { uid }, { nowMs }) =>
  move({ ...attempt, occupantUid: uid, dueMs: isFenced(attempt, nowMs) ? attempt.fenceUntilMs : nowMs });

/** That a fence has passed says that nothing more can land, not that nothing has: only a look begun after it counts. */
const afterFence = (attempt: Attempt, begunAtMs: number): boolean =>
  attempt.fenceUntilMs !== undefined && begunAtMs >= attempt.fenceUntilMs;

export const unfenced: Rule<"fencePassed"> = (attempt, { claimNo, begunAtMs, found }, context) => {
  if (claimNo !== attempt.claimNo || !afterFence(attempt, begunAtMs)) return stay(attempt);
  const closed: Attempt = { ...attempt, unanswered: [] };
  if (found === "nothing") return backToWaiting(closed, "Unanswered", context.nowMs);
  return end(closed, "refused", context, { diagnosis: CAUSES.nameConflict.diagnosis });
};

export const unfencedEnd: Rule<"fencePassed"> = (attempt, { claimNo, begunAtMs }, context) => {
  if (claimNo !== attempt.claimNo || !afterFence(attempt, begunAtMs)) return stay(attempt);
  if (attempt.uid !== undefined && attempt.notes.gone !== true) return stay(attempt);
  return endOfCause({ ...attempt, unanswered: [] }, context, {});
};

export const unfencedDone: Rule<"fencePassed"> = (attempt, { claimNo, begunAtMs }) =>
  claimNo === attempt.claimNo && afterFence(attempt, begunAtMs) ? move(finish(attempt)) : stay(attempt);

export const done: Rule<"released"> = (attempt, { begunAtMs }, { nowMs }) => {
  if (isFenced(attempt, nowMs)) return move({ ...attempt, dueMs: attempt.fenceUntilMs });
  if (isOpen(attempt) && !afterFence(attempt, begunAtMs)) return move({ ...attempt, dueMs: nowMs });
  return move(finish(attempt));
};

const finish = (attempt: Attempt): Attempt => ({ ...attempt, state: "done", dueMs: undefined, unanswered: [] });

// ── Decisions and timers ────────────────────────────────────────────────────────────────────────────────────────────

const CAUSES: Readonly<Record<Cause, { readonly result: AttemptResult; readonly diagnosis: Diagnosis }>> = {
  cancel: { result: "cancelled", diagnosis: diagnose("Cancelled", "It was cancelled.") },
  deadline: { result: "failed", diagnosis: diagnose("DeadlineExceeded", "It ran longer than its deadline allows.") },
  startExpired: { result: "failed", diagnosis: diagnose("StartExpired", "Its pod did not start in time.") },
  waitExpired: { result: "failed", diagnosis: diagnose("WaitExpired", "No group could take it within `waitFor`.") },
  refused: { result: "refused", diagnosis: diagnose("Unknown", "The cluster refused it.") },
  nameConflict: { result: "refused", diagnosis: diagnose("NameConflict", "A Job that is not ours holds its name.") },
  external: {
    result: "deleted",
    diagnosis: diagnose("DeletedExternally", "Somebody deleted the Job while it was not finished."),
  },
};

function closing(attempt: Attempt, cause: Cause, diagnosis: Diagnosis, { nowMs }: Context): Move {
  return move({
    ...attempt,
    state: "closing",
    cause,
    dueMs: nowMs,
    claimBy: undefined,
    claimUntilMs: undefined,
    notes: { ...attempt.notes, closing: diagnosis },
  });
}

export const closeFor =
  (cause: "cancel" | "deadline") =>
  (attempt: Attempt, input: AttemptInput, context: Context): Move => {
    if (attempt.cause === cause) return stay(attempt);
    return closing(attempt, cause, input.kind === "cancel" ? input.diagnosis : CAUSES[cause].diagnosis, context);
  };

export const cancelled: Rule<"cancel"> = (attempt, { diagnosis }, context) =>
  end(attempt, "cancelled", context, { diagnosis, started: "no" });

export const waitedOut: Rule<"waitExpired"> = (attempt, _input, context) =>
  isOpen(attempt)
    ? closing(attempt, "waitExpired", CAUSES.waitExpired.diagnosis, context)
    : end(attempt, "failed", context, { diagnosis: waitDiagnosis(attempt), started: "no" });

const WAITING_FOR_ROOM: readonly string[] = ["QuotaExceeded", "Unschedulable"];

export const waitedOutLive: Rule<"waitExpired"> = (attempt, _input, context) =>
  attempt.started !== "yes" && attempt.notes.stall !== undefined && WAITING_FOR_ROOM.includes(attempt.notes.stall.code)
    ? closing(attempt, "waitExpired", waitDiagnosis(attempt), context)
    : stay(attempt);

function waitDiagnosis({ notes }: Attempt): Diagnosis {
  const why = notes.stall?.sentence ?? notes.waiting;
  return why === undefined
    ? CAUSES.waitExpired.diagnosis
    : diagnose("WaitExpired", `It waited as long as \`waitFor\` allows. Last reason: ${why}`);
}

export const startExpired: Rule<"startExpired"> = (attempt, { diagnosis }, context) =>
  attempt.started === "yes" ? stay(attempt) : closing(attempt, "startExpired", diagnosis, context);

export const abandoned: Rule<"abandon"> = (attempt, _input, context) =>
  end(attempt, "lost", context, { diagnosis: diagnose("Abandoned", "An operator gave it up.") });

// ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface How {
  readonly diagnosis?: Diagnosis;
  readonly evidence?: Evidence;
  /** Absent: nobody can tell, unless it was seen to start. */
  readonly started?: Attempt["started"];
}

function endOfCause(attempt: Attempt, context: Context, how: How): Move {
  const cause = CAUSES[attempt.cause ?? "external"];
  return end(attempt, cause.result, context, { diagnosis: attempt.notes.closing ?? cause.diagnosis, ...how });
}

/** Ended, with its hold to be released; done at once where no cluster can hold anything of it. */
function end(
  attempt: Attempt,
  result: AttemptResult,
  { nowMs }: Context,
  { diagnosis, evidence, started = "unknown" }: How,
): Move {
  const surely = attempt.started === "yes" ? "yes" : started;
  const outcome: AttemptOutcome = { result, ...(diagnosis && { diagnosis }), ...(evidence && { evidence }), endedAtMs: nowMs };
  const ended: Attempt = {
    ...attempt,
    state: "ended",
    outcome,
    started: surely,
    claimBy: undefined,
    claimUntilMs: undefined,
    dueMs: isFenced(attempt, nowMs) ? attempt.fenceUntilMs : nowMs,
  };
  const nowhere = attempt.uid === undefined && attempt.occupantUid === undefined && !isOpen(attempt);
  return move(nowhere ? finish(ended) : ended);
}
