/**
 * The creates in flight of one launcher in one group: attempts that are claimed and not yet recorded. POSTs each Job, and
 * records the answers.
 *
 * The bugs this prevents: claims without bound, which would run out before their turn comes; one slow create that keeps the
 * answers of a hundred fast ones out of the ledger; and a transaction for each answer, which costs more than the create itself.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { CLAIM_BUDGET } from "@longshore/kubernetes/request/claim-budget.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import type { Entry, Work } from "@longshore/ledger/port.ts";
import { lingering } from "@longshore/runtime/loop.ts";
import { createUnderAnchor } from "./anchor.ts";
import type { Cluster, Parts } from "../parts.ts";

/**
 * The bound adapts to the number of creates that the cluster answers in a second or two. Such a time is far shorter than a
 * claim, and shorter than the wait for a connection.
 */
export const IN_FLIGHT_FIRST = 32;
const IN_FLIGHT_LEAST = 8;
const IN_FLIGHT_MOST = 256;
/** If this many answers wait for a slow ledger, nothing more is claimed. */
export const UNWRITTEN_MOST = 4 * IN_FLIGHT_MOST;
const FAST_MS = 1_000;
const SLOW_MS = CLAIM_BUDGET.turnMs / 2;
/** As soon as this many answers of one claim are there, they go into the ledger together. */
const TOGETHER = 64;
/** The longest time that an answer waits for the other answers of its claim. A slower create has trouble of its own. */
const SIBLINGS_MS = 100;
/**
 * After a stop was asked for, the answers of sent creates are awaited for this long: without its answer, a create is in doubt,
 * and its Job is held, until the fence has passed. The wait is far shorter than the time that a program has for stopping.
 */
export const ANSWERS_AWAITED_MS = 5_000;

export interface InFlightCreates {
  /** Returns how many more attempts it takes. */
  room(): number;
  /**
   * True if at least half of the bound is free, so that one transaction claims many. Otherwise wakes the launch and place loops
   * as soon as half is free.
   */
  wants(): boolean;
  take(works: readonly Work[], signal: AbortSignal): void;
  /** Throws if a create failed with an error that no retry mends. */
  check(): void;
  /** Waits until no create is in flight. */
  rest(): Promise<void>;
}

export function openInFlightCreates(parts: Parts, cluster: Cluster): InFlightCreates {
  const turns = new Set<Promise<void>>();
  const bugs: unknown[] = [];
  let most = IN_FLIGHT_FIRST;
  let inFlight = 0;
  let unwritten = 0;
  let wanted = false;
  const isFree = (): boolean => inFlight === 0 || inFlight <= most / 2;

  /** Adapts the bound. Speed alone does not raise it: refusals, and creates that were never sent, are fast too. */
  function learn(tookMs: number, created: number): void {
    if (created > 0 && tookMs < FAST_MS) most = Math.min(IN_FLIGHT_MOST, most * 2);
    else if (created === 0 || tookMs > SLOW_MS) most = Math.max(IN_FLIGHT_LEAST, Math.floor(most / 2));
  }

  function leave(): void {
    inFlight--;
    if (!wanted || !isFree()) return;
    wanted = false;
    parts.wakeUps.ready.wake();
    parts.wakeUps.waiting.wake();
  }

  async function write(entries: readonly Entry[], signal: AbortSignal): Promise<void> {
    unwritten += entries.length;
    try {
      await writeDown(parts, entries, signal);
    } finally {
      unwritten -= entries.length;
    }
  }

  function failed(error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    if (isTransient(error)) {
      // The claims run out, and are made again.
      parts.log.warn("answers of creates could not be written down", { group: cluster.name, code: error.code, error });
      return;
    }
    bugs.push(error);
    parts.wakeUps.ready.wake();
  }

  return {
    room: () => Math.max(0, Math.min(most - inFlight, UNWRITTEN_MOST - unwritten)),
    wants() {
      wanted ||= !isFree();
      return isFree();
    },
    take(works, signal) {
      if (works.length === 0) return;
      inFlight += works.length;
      const beganMs = parts.clock.now();
      const patient = lingering(signal, { clock: parts.clock, ms: ANSWERS_AWAITED_MS });
      const turn = siblings(parts, cluster, works, { leave, write }, patient.signal).then(
        (created) => learn(parts.clock.now() - beganMs, created),
        (error: unknown) => failed(error, patient.signal),
      );
      turns.add(turn);
      void turn.finally(() => {
        patient.release();
        turns.delete(turn);
      });
    },
    check() {
      if (bugs.length > 0) throw bugs[0];
    },
    rest: async () => {
      await Promise.all(turns);
    },
  };
}

interface Keeping {
  leave(): void;
  write(entries: readonly Entry[], signal: AbortSignal): Promise<void>;
}

/**
 * Works on one claim: its Jobs are created side by side, and their answers are recorded as they come, many at a time. Returns
 * the number of Jobs created.
 */
async function siblings(
  parts: Parts,
  cluster: Cluster,
  works: readonly Work[],
  { leave, write }: Keeping,
  signal: AbortSignal,
): Promise<number> {
  const writing: Promise<void>[] = [];
  let open = works.length;
  let answers: Entry[] = [];
  let callOff: (() => void) | undefined;
  let created = 0;
  const flush = (): void => {
    if (answers.length === 0) return;
    const written = write(answers, signal);
    written.catch(() => undefined); // awaited below, when all siblings are done: an unhandled rejection before that would end the program
    writing.push(written);
    answers = [];
  };
  const late = (): void => {
    callOff = undefined;
    flush();
  };
  const one = async (work: Work): Promise<void> => {
    try {
      const entries = await answered(parts, cluster, work, signal);
      created += entries.filter(({ input }) => input.kind === "created").length;
      answers = [...answers, ...entries]; // `answers` is read after the await: a flush meanwhile starts a new list
    } finally {
      open--;
      leave();
      if (answers.length >= TOGETHER || open === 0) flush();
      else if (answers.length > 0) callOff ??= parts.clock.alarm(SIBLINGS_MS, late);
    }
  };
  const done = await Promise.allSettled(works.map(one));
  callOff?.();
  const written = await Promise.allSettled(writing);
  for (const it of [...done, ...written]) if (it.status === "rejected") throw it.reason;
  return created;
}

async function answered(parts: Parts, cluster: Cluster, work: Work, signal: AbortSignal): Promise<readonly Entry[]> {
  const { run, attempt, nowMs } = work;
  const of = { run: run.id, step: attempt.step, n: attempt.n };
  const entryOf = (input: AttemptInput): Entry => ({ ...of, input });
  if (nowMs >= attempt.notes.waitUntilMs) return gaveUp(attempt, nowMs).map(entryOf);
  await parts.fail("beforePost");
  const answer = await createUnderAnchor(parts, cluster, work, signal);
  await parts.fail("afterPost");
  return [{ ...of, ...answer }];
}

/**
 * `waitFor` also bounds an attempt whose creates all end in errors: without a bound, its cluster would be asked for ever. For
 * this claim nothing was sent, so it counts as deferred.
 */
function gaveUp({ claimNo, notes }: Attempt, nowMs: number): readonly AttemptInput[] {
  const diagnosis = diagnose("WaitExpired", "Its cluster gave no answer that could be relied on within `waitFor`.");
  return [{ kind: "deferred", claimNo, diagnosis: notes.stall ?? diagnosis, retryAtMs: nowMs }, { kind: "waitExpired" }];
}

/**
 * Tries until the claim's time is over: an answer that is not recorded leaves its create in doubt, and the Job held, until the
 * fence has passed. If only the COMMIT's answer was lost, the answer is recorded twice, which the lifecycle allows.
 */
async function writeDown(parts: Parts, entries: readonly Entry[], signal: AbortSignal): Promise<void> {
  const untilMs = parts.clock.now() + parts.timing.claimMs;
  for (let failures = 0; ; await parts.pause(++failures, signal)) {
    try {
      await Promise.all(entries.map((entry) => parts.recording(entry)));
      return;
    } catch (error) {
      if (!isTransient(error) || signal.aborted || parts.clock.now() >= untilMs) throw error;
    }
  }
}
