/**
 * Invariants of every run at every moment, whatever inputs came in whatever order. The tables' tests and the simulation check
 * them; production does not.
 *
 * Each function returns the broken invariants as sentences, and an empty list if all hold.
 */
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { type Attempt, isOver as isEndOfStep, isParked, type Run, type RunRecord, type Step } from "../../run/record.ts";

/** A rule's name and whether it is broken. */
type Check = readonly [rule: string, broken: boolean];

const broken = (who: string, checks: readonly Check[]): readonly string[] =>
  checks.flatMap(([rule, isBroken]) => (isBroken ? [`${who}: ${rule}`] : []));

/** Judges one run as it is stored. */
export function problemsOf({ run, attempts }: RunRecord): readonly string[] {
  const known = run.state === "tombstone" ? [] : run.plan.steps.map(({ name }) => name);
  return [
    ...problemsOfRun(run, attempts),
    ...known.flatMap((name) => {
      const step = run.steps[name];
      const own = attempts.filter((it) => it.step === name);
      return step === undefined ? [`step ${name}: is planned and not kept`] : problemsOfStep(name, step, own, run);
    }),
    ...attempts.flatMap(problemsOfAttempt),
  ];
}

function problemsOfRun({ state, outcome, endedAtMs, cancel, steps, generation, seq }: Run, attempts: readonly Attempt[]) {
  const all = Object.values(steps);
  const isEnded = state === "ended";
  return broken(`run ${state}`, [
    ["it is ended exactly when it has an outcome", isEnded !== (outcome !== undefined)],
    ["it is ended exactly when it has an end's time", isEnded !== (endedAtMs !== undefined)],
    ["it is ended exactly when all its steps are", state !== "tombstone" && isEnded !== all.every((it) => it.state === "ended")],
    ["an ended run has no attempt that has not ended", isEnded && attempts.some((it) => it.outcome === undefined)],
    ["it is cancelled by a cancel", (state === "cancelling" || outcome === "cancelled") && cancel === undefined],
    ["a cancelling run has no blocked step", state === "cancelling" && all.some((it) => it.state === "blocked")],
    ["it succeeds only if no step is left undone", outcome === "succeeded" && all.some(isUndone)],
    ["it begins with an event, and a restart tells another", state !== "tombstone" && seq < 2 * generation - 1],
    ["no two attempts have one name", new Set(attempts.map(({ name }) => name)).size !== attempts.length],
  ]);
}

const isUndone = ({ outcome, skippedBy }: Step): boolean =>
  outcome === "cancelled" || outcome === "lost" || skippedBy === "cancel";

function problemsOfStep(name: string, step: Step, attempts: readonly Attempt[], { plan, generation }: Run): readonly string[] {
  const newest = attempts.find(({ n }) => n === step.n);
  const unended = attempts.filter(({ outcome }) => outcome === undefined);
  const underWay = attempts.filter((it) => !isEndOfStep(it));
  const numbers = attempts.map(({ n }) => n).toSorted((a, b) => a - b);
  return broken(`step ${name} ${step.state}`, [
    ["it is ended exactly when it has an outcome", (step.state === "ended") !== (step.outcome !== undefined)],
    ["its attempts are numbered without a gap", numbers.length !== step.n || numbers.some((n, index) => n !== index + 1)],
    [
      "an open step has exactly its newest attempt under way",
      step.state === "open" && (underWay.length !== 1 || underWay[0] !== newest),
    ],
    ["a step that is not open has no attempt under way", step.state !== "open" && unended.length > 0],
    ["an open step's attempt is of this generation", step.state === "open" && newest?.generation !== generation],
    ["it succeeds only by its attempt", step.outcome === "succeeded" && newest?.outcome?.result !== "succeeded"],
    ["it is not retried more often than asked for", step.retries > plan.limits.retriesMax],
  ]);
}

const LANDED: readonly Attempt["state"][] = ["live", "closing", "ended", "done"];

function problemsOfAttempt(attempt: Attempt): readonly string[] {
  const { state, dueMs, claimNo, unanswered, uid, outcome, group, started, notes, fenceUntilMs, cause, waitsFor } = attempt;
  const result = outcome?.result;
  const isOver = state === "ended" || state === "done";
  const isQuiet = state === "waiting" || state === "ready" || state === "done";
  return broken(`attempt ${attempt.step}/${attempt.n} ${state}`, [
    ["it has a timer exactly until it is done", (dueMs === undefined) !== (state === "done")],
    ["only what waits, waits for groups", waitsFor !== undefined && state !== "waiting"],
    ["a timer is a moment", dueMs !== undefined && !Number.isFinite(dueMs)],
    ["it has an outcome exactly when it is over", isOver !== (outcome !== undefined)],
    ["only claims that were made are unanswered", unanswered.some((it) => it < 1 || it > claimNo)],
    ["a claim is unanswered once", new Set(unanswered).size !== unanswered.length],
    ["a waiting, ready or done attempt has no unanswered claim", isQuiet && unanswered.length > 0],
    [
      "a claim is unanswered, and has an end",
      state === "claimed" && (unanswered.length === 0 || attempt.claimUntilMs === undefined),
    ],
    ["an attempt with an unanswered claim has a fence", unanswered.length > 0 && fenceUntilMs === undefined],
    [
      "a waiting attempt has no group, and any other that is not over has one",
      !isOver && (state === "waiting") !== (group === undefined),
    ],
    [
      "a live attempt knows its Job and when it was launched",
      state === "live" && (uid === undefined || notes.launchedAtMs === undefined),
    ],
    ["it has a Job only if a create was sent", uid !== undefined && (claimNo === 0 || !LANDED.includes(state))],
    ["it has a cause only while it is closing and afterwards", cause !== undefined && state !== "closing" && !isOver],
    ["a closing attempt has a cause", state === "closing" && cause === undefined],
    ["it succeeds only by its own Job, which ran", result === "succeeded" && (uid === undefined || started !== "yes")],
    ["it is cancelled only by us", result === "cancelled" && cause !== undefined && cause !== "cancel"],
    ["it fails by its Job's end or by a timer", result === "failed" && uid === undefined && started === "yes"],
    ["it started exactly if that is noted", (started === "yes") !== (notes.startedAtMs !== undefined)],
    ["while a create may land, it is not said that nothing started", state === "claimed" && started === "no"],
    ["it is kept only by a look that began after its end", (notes.keptAtMs ?? Infinity) < (outcome?.endedAtMs ?? -Infinity)],
    [
      "it is kept by its Job or an occupant",
      notes.keptAtMs !== undefined && uid === undefined && attempt.occupantUid === undefined,
    ],
    ["only an ended attempt has children", notes.children === true && state !== "ended"],
    ["a lost attempt is not parked", isParked(attempt) && result === "lost"],
  ]);
}

/** Judges one change of a run, in one transaction. */
export function problemsOfChange(before: RunRecord, after: RunRecord, toldCount: number): readonly string[] {
  const was = before.run;
  const is = after.run;
  return [
    ...broken(`run ${was.state} to ${is.state}`, [
      ["its sequence is dense", is.seq !== was.seq + toldCount],
      ["its generation never falls", is.generation < was.generation],
      [
        "an ended run keeps its outcome until a restart",
        was.state === "ended" && is.generation === was.generation && is.outcome !== was.outcome,
      ],
      ["an ended run tells nothing", was.state === "ended" && is.generation === was.generation && toldCount > 0],
      ["no attempt is forgotten", after.attempts.length < before.attempts.length],
    ]),
    ...before.attempts.flatMap((it) => {
      const now = after.attempts.find(({ step, n }) => step === it.step && n === it.n);
      return now === undefined ? [`attempt ${it.step}/${it.n}: is forgotten`] : problemsOfMove(it, now);
    }),
  ];
}

function problemsOfMove(was: Attempt, is: Attempt): readonly string[] {
  const isNewUid = was.uid !== undefined && is.uid !== was.uid;
  return broken(`attempt ${is.step}/${is.n} ${was.state} to ${is.state}`, [
    ["its Job is replaced only after the earlier Job is gone", isNewUid && (was.notes.gone !== true || is.uid === undefined)],
    ["its claims are counted up, one by one", is.claimNo < was.claimNo || is.claimNo > was.claimNo + 1],
    ["only a claim puts a create on the wire", is.unanswered.some((it) => it <= was.claimNo && !was.unanswered.includes(it))],
    ["its outcome never changes", was.outcome !== undefined && is.outcome?.result !== was.outcome.result],
    ["a done attempt stays done", was.state === "done" && is.state !== "done"],
    ["a start is never taken back", was.started === "yes" && is.started !== "yes"],
    [
      "it leaves its group only with nothing on the wire",
      was.group !== undefined && is.group !== was.group && is.unanswered.length > 0,
    ],
    ["its name never changes", was.name !== is.name],
    [
      "a doubt ends only by a later look",
      isParked(is) && !isParked(was) && (is.notes.keptAtMs ?? 0) <= (was.notes.doubtedAtMs ?? 0),
    ],
  ]);
}

export interface Happened {
  readonly type: string;
  readonly sequence: number;
  readonly generation: number;
}

/** Judges a run's story so far, in order. */
export function problemsOfStory(story: readonly Happened[]): readonly string[] {
  let before: Happened | undefined;
  return story.flatMap((it, index) => {
    const last = before;
    before = it;
    const opens = last === undefined || isTerminal(last.type);
    const opener = last === undefined ? "run.accepted" : "run.restarted";
    const isOpener = it.type === "run.accepted" || it.type === "run.restarted";
    const generation = opens ? (last?.generation ?? 0) + 1 : last.generation;
    return broken(`event ${index + 1}, ${it.type}`, [
      [`its sequence is ${it.sequence}`, it.sequence !== index + 1],
      [`it stands where only ${opener} may`, opens && it.type !== opener],
      [`generation ${generation} has not ended before it`, !opens && isOpener],
      [`it is told of generation ${it.generation}, which is ${generation}`, it.generation !== generation],
    ]);
  });
}
