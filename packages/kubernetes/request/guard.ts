/**
 * A `Transport` that gives one cluster no more than its share of us, and no more of us than it can bear.
 *
 *   request ─▶ breaker (closed? else "unsent" at once) ─▶ pace of creates ─▶ window (how many at once) ─▶ cluster
 *
 * A request's purpose says which of these it passes, and whose fault its silence is (purpose.ts). Its bound in time is set by its
 * caller, by the same table.
 *
 * The bugs this prevents: one dead cluster fills every lane with waiting requests; a restarted one is met by all of us at
 * once; a 429 answered by trying again immediately; and a node that does not answer for its logs, for which its whole cluster is
 * taken to be away. It is per group, so nothing here is shared between clusters.
 */
import { Failure } from "@longshore/contract/problem.ts";
import { CLAIM_BUDGET } from "./claim-budget.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { timedOut, within } from "./deadline.ts";
import { retryAfterMs } from "../objects.ts";
import type { ApiAnswer, ApiStream, Transport } from "../transport.ts";
import { openPace, type Pace } from "./pace.ts";
import { type Channel, type Purpose, PURPOSES } from "./purpose.ts";
import { throttled } from "./throttled.ts";
import { openWindow, type Window } from "./window.ts";

export interface GuardOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly inFlightMax?: number;
  /** The most requests that may wait for a place; one more is turned away as "unsent". */
  readonly waitingMax?: number;
  /**
   * The longest wait for a turn, by pace and window together. A request that would wait longer is "unsent"; a request that is
   * sent still has enough of its caller's time left.
   */
  readonly waitMaxMs?: number;
  readonly createsPerSecond?: number | undefined;
  readonly breaker?: Partial<BreakerOptions>;
  /** Answers that take longer than this shrink the window. */
  readonly slowMs?: number;
  /** For metrics: `code` is the status, or "unsent" or "unanswered". */
  readonly onRequest?: (purpose: Purpose, code: string) => void;
}

export interface BreakerOptions {
  readonly failuresMax: number;
  readonly firstMs: number;
  readonly mostMs: number;
}

export interface Guard extends Channel, AsyncDisposable {
  /** The pace of a group with `createsPerSecond`: callers ask it before they claim attempts to create. */
  readonly pace: Pace | undefined;
  /** Returns how many requests may be in flight at this moment, how many are, and how many wait. */
  load(): { readonly window: number; readonly inFlight: number; readonly waiting: number };
}

export function guard(transport: Transport, options: GuardOptions): Guard {
  const {
    name,
    clock,
    inFlightMax = 12,
    waitingMax = 1_000,
    slowMs = 3_000,
    waitMaxMs = CLAIM_BUDGET.turnMs,
    onRequest,
  } = options;
  const window = openWindow({ most: inFlightMax, waitingMax });
  const lines = { cluster: window, nodes: openWindow({ most: Math.ceil(inFlightMax / 2), waitingMax }) };
  const breaker = openBreaker(name, clock, { failuresMax: 5, firstMs: 1_000, mostMs: 15_000, ...options.breaker });
  const creates = options.createsPerSecond === undefined ? undefined : openPace(clock, options.createsPerSecond);
  let quietUntilMs = 0;

  /**
   * Creates go out one by one, each in its turn. If a request would wait too long, its caller is told so before anything of the
   * request is sent.
   */
  async function turnOf(purpose: Purpose, signal: AbortSignal): Promise<void> {
    const now = clock.now();
    const pace = purpose === "create" ? creates : undefined;
    const turn = Math.max(now, quietUntilMs, pace?.nextMs() ?? 0);
    if (turn - now > waitMaxMs) throw throttled(tooLongSentence(name, turn - now, turn === quietUntilMs));
    pace?.take(turn);
    if (turn > now) await clock.sleep(turn - now, signal);
    if (signal.aborted) throw throttled(`The request to ${name} was given up before its turn came.`);
  }

  /**
   * Waits out a 429 that came while requests stood in line. Else each would be sent as soon as a place is free: a thousand, one
   * after another.
   */
  async function hush(sinceMs: number, signal: AbortSignal): Promise<void> {
    for (let left = quietUntilMs - clock.now(); left > 0; left = quietUntilMs - clock.now()) {
      if (quietUntilMs - sinceMs > waitMaxMs) throw throttled(tooLongSentence(name, left, true));
      await clock.sleep(left, signal);
      if (signal.aborted) throw throttled(`The request to ${name} was given up before its turn came.`);
    }
  }

  /** Waits for a place in the window, within the rest of the allowed wait. */
  function enter(places: Window, sinceMs: number, signal: AbortSignal): Promise<() => void> | (() => void) {
    const leftMs = Math.max(1, sinceMs + waitMaxMs - clock.now());
    return places.enterNow() ?? within(clock, leftMs, signal, (inner) => places.enter(name, inner));
  }

  async function attempt<T extends ApiAnswer | ApiStream>(
    purpose: Purpose,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const pass = breaker.enter();
    const begunMs = clock.now();
    const ofNode = PURPOSES[purpose].blames === "node";
    try {
      const answer = await work(signal);
      onRequest?.(purpose, String(answer.status));
      note(answer, ofNode ? undefined : clock.now() - begunMs);
      if (ofNode && answer.status >= 500) pass.abandoned();
      else pass.answered(answer);
      return answer;
    } catch (error) {
      if (!(error instanceof Failure)) {
        pass.abandoned();
        throw error;
      }
      onRequest?.(purpose, error.code);
      // If a caller was stopped, nothing was learned about the cluster. If its time ran out, the cluster was silent, unless the
      // request waited for a node.
      if ((signal.aborted && !timedOut(signal)) || (ofNode && error.code !== "unsent")) pass.abandoned();
      else {
        window.shrink();
        pass.failed(error.message, error);
      }
      throw error;
    }
  }

  function note(answer: ApiAnswer | ApiStream, tookMs = 0): void {
    if (answer.status === 429) {
      const asked = retryAfterMs({ status: 429, headers: answer.headers ?? {}, body: answer.body }) ?? 1_000;
      // Jitter only lengthens the wait: never earlier than the API server asked, and not all of us in the same instant.
      quietUntilMs = Math.max(quietUntilMs, clock.now() + asked * (1 + clock.random() / 4));
    }
    if (answer.status === 429 || tookMs > slowMs) window.shrink();
    else window.grow();
  }

  return {
    async send(request, signal) {
      breaker.check();
      const sinceMs = clock.now();
      const { line } = PURPOSES[request.purpose];
      await turnOf(request.purpose, signal);
      const leave = line === "none" ? () => undefined : await enter(lines[line], sinceMs, signal);
      try {
        await hush(sinceMs, signal);
        return await attempt(request.purpose, signal, (it) => transport.send(request, it));
      } finally {
        leave();
      }
    },
    async open(request, signal) {
      await turnOf(request.purpose, signal);
      return await attempt(request.purpose, signal, (it) => transport.open(request, it));
    },
    pace: creates,
    load: () => window.load(),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

const unsent = (message: string, cause?: unknown) => new Failure("retry", "unsent", message, cause);

function tooLongSentence(name: string, waitMs: number, asked: boolean): string {
  const seconds = Math.ceil(waitMs / 1000);
  return asked
    ? `The API server of ${name} has too much to do and asked for a pause, of which ${seconds} s are left.`
    : `So many creates are in line for ${name} that this one would wait ${seconds} s; its limit is createsPerSecond.`;
}

interface Pass {
  answered(answer: { readonly status: number }): void;
  failed(why: string, cause?: Failure): void;
  abandoned(): void;
}

/** Closed: every request passes. Open: none passes, until the time is over; then one request passes, and its answer decides. */
function openBreaker(name: string, clock: Clock, { failuresMax, firstMs, mostMs }: BreakerOptions) {
  let failures = 0;
  let openUntilMs: number | undefined;
  let probing = false;
  let last: Failure | undefined;
  let why = "";

  function failed(reason: string, cause?: Failure): void {
    failures++;
    last = cause;
    if (failures < failuresMax) return;
    why = reason;
    const wait = Math.min(mostMs, firstMs * 2 ** Math.min(failures - failuresMax, 16));
    openUntilMs = clock.now() + wait * (0.75 + clock.random() / 2);
  }

  function answered({ status }: { readonly status: number }): void {
    // A gateway answers like this if the API server behind it is away.
    if (status === 502 || status === 503 || status === 504) return failed(`The API server of ${name} answers ${status}.`);
    failures = 0;
    openUntilMs = undefined;
  }

  function check(): void {
    if (openUntilMs === undefined) return;
    const left = openUntilMs - clock.now();
    if (left <= 0 && !probing) return;
    const when = Math.max(0, Math.ceil(left / 1000));
    // The failure carries its cause: an untrusted certificate is still told as one, however often it was met.
    throw unsent(`${name} has not answered ${failures} times in a row; it is tried again in ${when} s. ${why}`, last);
  }

  return {
    check,
    enter(): Pass {
      check();
      const probe = openUntilMs !== undefined;
      if (probe) probing = true;
      const done = () => {
        if (probe) probing = false;
      };
      return {
        answered: (answer) => (done(), answered(answer)),
        failed: (why, cause) => (done(), failed(why, cause)),
        abandoned: done,
      };
    },
  };
}
