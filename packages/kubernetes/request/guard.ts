/**
 * A `Transport` that limits the requests to one cluster: to its share of our capacity, and to what it can bear.
 *
 *   request ─▶ breaker (closed? else "unsent" at once) ─▶ pace of creates ─▶ window (how many at once) ─▶ cluster
 *
 * purpose.ts says which of these a request passes, and whose fault its silence is.
 *
 * The bugs this prevents: a dead cluster fills every lane with waiting requests; a restarted cluster gets all our requests at
 * once; a slow cluster gets as many requests as a fast one; a 429 is answered by trying again at once; and a cluster counts as
 * away because one node does not answer for its logs. Nothing here is shared between clusters.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { retryAfterMs } from "../objects.ts";
import type { ApiAnswer, ApiStream, Transport } from "../transport.ts";
import { CLAIM_BUDGET } from "./claim-budget.ts";
import { openPace, type Pace } from "./pace.ts";
import { type Channel, type Purpose, PURPOSES, timedOut, within } from "./purpose.ts";

export interface GuardOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly inFlightMax?: number;
  /** The most requests that may wait for a place; one more is turned away as "unsent". */
  readonly waitingMax?: number;
  /** The longest wait for pace and window together: a request that is sent must have enough of its caller's time left. */
  readonly waitMaxMs?: number;
  readonly createsPerSecond?: number | undefined;
  readonly breaker?: Partial<BreakerOptions> | undefined;
  /** For metrics: `code` is the status, or "unsent" or "unanswered". */
  readonly onRequest?: ((group: string, purpose: Purpose, code: string) => void) | undefined;
}

interface BreakerOptions {
  readonly failuresMax: number;
  readonly firstMs: number;
  readonly mostMs: number;
}

export interface Guard extends Channel, AsyncDisposable {
  /** The pace of a group with `createsPerSecond`: callers ask it before they claim attempts to create. */
  readonly pace: Pace | undefined;
  /** Three numbers of requests: the limit in flight now, those in flight, and those that wait. */
  load: Window["load"];
}

/** Answers that take longer shrink the window. */
const SLOW_MS = 3_000;

export function guard(transport: Transport, options: GuardOptions): Guard {
  const { name, clock, inFlightMax = 12, waitingMax = 1_000, waitMaxMs = CLAIM_BUDGET.turnMs, onRequest } = options;
  const window = openWindow(name, inFlightMax, waitingMax);
  const lines = { cluster: window, behind: window, nodes: openWindow(name, Math.ceil(inFlightMax / 2), waitingMax) };
  const breaker = openBreaker(name, clock, { failuresMax: 5, firstMs: 1_000, mostMs: 15_000, ...options.breaker });
  const creates = options.createsPerSecond === undefined ? undefined : openPace(clock, options.createsPerSecond);
  let quietUntilMs = 0;

  /** Creates go out one by one, each in its turn. A caller whose wait would be too long is told so before anything is sent. */
  async function turnOf(purpose: Purpose, signal: AbortSignal): Promise<void> {
    const now = clock.now();
    const pace = purpose === "create" ? creates : undefined;
    const turn = Math.max(now, quietUntilMs, pace?.nextMs() ?? 0);
    if (turn - now > waitMaxMs) throw throttled(tooLongSentence(name, turn - now, turn === quietUntilMs));
    pace?.take(turn);
    if (turn > now) await clock.sleep(turn - now, signal);
    if (signal.aborted) throw givenUp(name);
  }

  /**
   * If a 429 came while this request waited in line, waits until the 429's pause is over. Else the whole line would still be
   * sent.
   */
  async function hush(sinceMs: number, signal: AbortSignal): Promise<void> {
    for (let left = quietUntilMs - clock.now(); left > 0; left = quietUntilMs - clock.now()) {
      if (quietUntilMs - sinceMs > waitMaxMs) throw throttled(tooLongSentence(name, left, true));
      await clock.sleep(left, signal);
      if (signal.aborted) throw givenUp(name);
    }
  }

  /** Waits for a place in the window, within the rest of the allowed wait. */
  function enter(line: keyof typeof lines, sinceMs: number, signal: AbortSignal): Promise<() => void> | (() => void) {
    const leftMs = Math.max(1, sinceMs + waitMaxMs - clock.now());
    const places = lines[line];
    return places.enterNow() ?? within(clock, leftMs, signal, (it) => places.enter(line === "behind", it));
  }

  async function attempt<T extends ApiAnswer | ApiStream>(
    purpose: Purpose,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const leave = breaker.enter();
    const begunMs = clock.now();
    const ofNode = PURPOSES[purpose].blames === "node";
    try {
      const answer = await work(signal);
      onRequest?.(name, purpose, String(answer.status));
      note(answer, ofNode ? 0 : clock.now() - begunMs);
      if (!ofNode || answer.status < 500) breaker.answered(answer.status);
      return answer;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      onRequest?.(name, purpose, error.code);
      // If a caller was stopped, nothing was learned about the cluster. If its time ran out, the cluster was silent, unless the
      // request waited for a node.
      const saysNothing = (signal.aborted && !timedOut(signal)) || (ofNode && error.code !== "unsent");
      if (!saysNothing) {
        window.shrink();
        breaker.failed(error.message, error);
      }
      throw error;
    } finally {
      leave();
    }
  }

  function note(answer: ApiAnswer | ApiStream, tookMs: number): void {
    if (answer.status === 429) {
      const asked = retryAfterMs({ status: 429, headers: answer.headers ?? {}, body: answer.body }) ?? 1_000;
      // Jitter only lengthens the wait: no request comes earlier than the API server asked, and not all come in the same
      // instant.
      quietUntilMs = Math.max(quietUntilMs, clock.now() + asked * (1 + clock.random() / 4));
    }
    if (answer.status === 429 || tookMs > SLOW_MS) window.shrink();
    else window.grow();
  }

  return {
    async send(request, signal) {
      breaker.check();
      const sinceMs = clock.now();
      const { line } = PURPOSES[request.purpose];
      await turnOf(request.purpose, signal);
      const leave = line === "none" ? () => undefined : await enter(line, sinceMs, signal);
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

/** A request that our own limits stopped is unsent too, but nothing is wrong with the cluster. */
const throttled = (message: string): Failure => unsent(message, new Failure("retry", "Throttled", message));

export const isThrottled = ({ cause }: Failure): boolean => cause instanceof Failure && cause.code === "Throttled";

const unsent = (message: string, cause?: Failure) => new Failure("retry", "unsent", message, cause);

const givenUp = (name: string) => throttled(`The request to ${name} was given up before its turn came.`);

function tooLongSentence(name: string, waitMs: number, asked: boolean): string {
  const seconds = Math.ceil(waitMs / 1000);
  return asked
    ? `The API server of ${name} has too much to do and asked for a pause, of which ${seconds} s are left.`
    : `Many creates are in line for ${name}: this one would wait ${seconds} s. The limit is createsPerSecond.`;
}

interface Window {
  /** If a place is free and no caller waits, takes the place and returns the function that gives it back. */
  enterNow(): (() => void) | undefined;
  /**
   * Resolves in order of arrival; those that let others pass come after them. Throws `throttled` if too many wait already, or if
   * the signal aborts.
   */
  enter(letsPass: boolean, signal: AbortSignal): Promise<() => void>;
  shrink(): void;
  grow(): void;
  load(): { readonly window: number; readonly inFlight: number; readonly waiting: number };
}

/** So many pass one that lets others pass: it is delayed, and not for ever. */
const PASS_MOST = 3;

/** The number of requests that may be out at once: fewer while the cluster is slow or says 429, more again while it is well. */
function openWindow(name: string, most: number, waitingMax: number): Window {
  let size = most;
  let inFlight = 0;
  let passed = 0;
  // In order of arrival.
  const waiting = new Set<() => void>();
  const behind = new Set<() => void>();

  function admit(): void {
    while (inFlight < Math.floor(size)) {
      const next = nextInLine();
      if (next === undefined) return;
      inFlight++;
      next();
    }
  }

  function nextInLine(): (() => void) | undefined {
    const isTheirTurn = waiting.size === 0 || (behind.size > 0 && passed === PASS_MOST);
    passed = isTheirTurn || behind.size === 0 ? 0 : passed + 1;
    const line = isTheirTurn ? behind : waiting;
    const [next] = line;
    if (next !== undefined) line.delete(next);
    return next;
  }

  function leaveOnce(): () => void {
    let left = false;
    return () => {
      if (left) return;
      left = true;
      inFlight--;
      admit();
    };
  }

  return {
    enterNow() {
      if (waiting.size + behind.size > 0 || inFlight >= Math.floor(size)) return undefined;
      inFlight++;
      return leaveOnce();
    },
    enter: (letsPass, signal) => {
      const line = letsPass ? behind : waiting;
      if (signal.aborted) return Promise.reject(givenUp(name));
      if (waiting.size + behind.size >= waitingMax)
        return Promise.reject(throttled(`${waitingMax} requests wait for ${name} already.`));
      return new Promise((resolve, reject) => {
        const go = () => {
          signal.removeEventListener("abort", giveUp);
          resolve(leaveOnce());
        };
        const giveUp = () => {
          line.delete(go);
          reject(throttled(`Too many requests to ${name} wait for its answers: this one's turn did not come in time.`));
        };
        line.add(go);
        signal.addEventListener("abort", giveUp, { once: true });
        admit();
      });
    },
    shrink: () => void (size = Math.max(1, size / 2)),
    grow() {
      // Grows by one place after each full window of requests that went well.
      size = Math.min(most, size + 1 / size);
      admit();
    },
    load: () => ({ window: Math.floor(size), inFlight, waiting: waiting.size + behind.size }),
  };
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

  function answered(status: number): void {
    // A gateway answers like this if the API server behind it is away.
    if (status === 502 || status === 503 || status === 504) return failed(`The API server of ${name} answers ${status}.`);
    failures = 0;
    openUntilMs = undefined;
  }

  function check(): void {
    if (openUntilMs === undefined) return;
    const left = openUntilMs - clock.now();
    if (left <= 0 && !probing) return;
    const when = left <= 0 ? "tried at this moment" : `tried again in ${Math.ceil(left / 1000)} s`;
    // The failure carries the last cause, so that an untrusted certificate is reported as one while the breaker is open too.
    throw unsent(`${name} has not answered ${failures} times in a row; it is ${when}. ${why}`, last);
  }

  /** Returns the function to call when the request has ended. */
  function enter(): () => void {
    check();
    const probe = openUntilMs !== undefined;
    probing ||= probe;
    return () => void (probing &&= !probe);
  }

  return { check, enter, answered, failed };
}
