/**
 * The model's network: carries requests to the server, and answers back, late, or not at all.
 *
 * The bug this prevents: believing that a request which was given up did not happen. A request that was sent arrives at its
 * time; giving up only means that nobody hears the answer.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Agenda } from "../controllers/agenda.ts";
import type { ApiAnswer, ApiRequest, ApiStream, Identity, Transport } from "../api.ts";
import { type Delays, pick } from "../controllers/delays.ts";
import type { Faults, Trouble } from "./faults.ts";
import type { Lines } from "../server/lines.ts";
import type { Behind } from "../server/read.ts";
import type { Streaming } from "../server/serve.ts";
import { type Answer, expired, trouble as troubleAnswer } from "../server/status.ts";
import { expiredLine } from "../server/watch.ts";

export interface NetworkParts {
  readonly clock: Clock;
  readonly agenda: Agenda;
  readonly faults: Faults;
  readonly delays: Delays;
  readonly version: () => number;
  /** How long a client waits for a lost answer. */
  readonly clientTimeoutMs: number;
  readonly answer: (identity: Identity, request: ApiRequest, behind: Behind) => Promise<Answer>;
  readonly stream: (identity: Identity, request: ApiRequest, closed: () => void) => Streaming;
  readonly refused: (identity: Identity, request: ApiRequest, status: number) => void;
}

export interface Network {
  transport(identity: Identity): Transport;
  /** Breaks every open stream, or leaves it open and silent. */
  breakStreams(how: "cut" | "silent"): void;
}

const NOT_BEHIND: Behind = { versions: 0, always: false };
const broken = (message: string): Failure => new Failure("retry", "unanswered", message);
const unsent = (): Failure => new Failure("retry", "unsent", "the cluster refused the connection: nothing was sent");

export function createNetwork(parts: NetworkParts): Network {
  const { clock, agenda, faults, delays } = parts;
  const open = new Set<Lines>();
  let sent = 0;

  async function send(identity: Identity, request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    if (signal.aborted) throw unsent();
    const trouble = faults.strike(request);
    if (trouble?.kind === "unsent") throw unsent();
    const inMs = pick(delays.requestMs, clock) + (trouble?.kind === "delayed" ? trouble.byMs : 0);
    const outMs = pick(delays.answerMs, clock) + (trouble?.kind === "slow" ? trouble.byMs : 0);
    if (inMs === 0 && outMs === 0 && trouble === undefined) return await parts.answer(identity, request, NOT_BEHIND);
    return await travel(identity, request, signal, { inMs, outMs, trouble });
  }

  interface Trip {
    readonly inMs: number;
    readonly outMs: number;
    readonly trouble: Trouble | undefined;
  }

  function travel(
    identity: Identity,
    request: ApiRequest,
    signal: AbortSignal,
    { inMs, outMs, trouble }: Trip,
  ): Promise<ApiAnswer> {
    const key = `request:${sent++}`;
    const { promise, resolve, reject } = Promise.withResolvers<ApiAnswer>();
    const settle = (finish: () => void): void => {
      agenda.cancel(`${key}:timeout`);
      signal.removeEventListener("abort", abandon);
      finish();
    };
    const abandon = (): void => settle(() => reject(broken("given up while waiting for the cluster's answer")));
    signal.addEventListener("abort", abandon, { once: true });
    agenda.at(`${key}:timeout`, clock.now() + parts.clientTimeoutMs, () =>
      settle(() => reject(broken(`no answer from the cluster after ${parts.clientTimeoutMs} ms`))),
    );
    if (trouble?.kind === "lost before writing") return promise;
    agenda.at(`${key}:arrives`, clock.now() + inMs, () => {
      void arrive(identity, request, trouble).then((answered) => {
        if (trouble?.kind === "lost after writing") return;
        agenda.at(`${key}:returns`, clock.now() + outMs, () => settle(() => resolve(answered)));
      }, reject);
    });
    return promise;
  }

  async function arrive(identity: Identity, request: ApiRequest, trouble: Trouble | undefined): Promise<Answer> {
    if (trouble?.kind !== "status") {
      const behind = trouble?.kind === "stale" ? { versions: trouble.versions, always: trouble.always === true } : NOT_BEHIND;
      return await parts.answer(identity, request, behind);
    }
    parts.refused(identity, request, trouble.status);
    return troubleAnswer(trouble.status, trouble.retryAfterSeconds).answer;
  }

  async function openStream(identity: Identity, request: ApiRequest, signal: AbortSignal): Promise<ApiStream> {
    if (signal.aborted) throw unsent();
    const trouble = faults.strike(request);
    if (trouble?.kind === "unsent") throw unsent();
    const lateMs = pick(delays.requestMs, clock) + pick(delays.answerMs, clock);
    if (lateMs > 0) await clock.sleep(lateMs, signal);
    if (signal.aborted || trouble?.kind === "lost before writing" || trouble?.kind === "lost after writing") {
      await clock.sleep(parts.clientTimeoutMs, signal);
      throw broken("no answer from the cluster to a watch");
    }
    if (trouble?.kind === "expired" && trouble.as === "status") {
      const { status, body } = expired("The resourceVersion for the provided watch is too old.").answer;
      return { status, body, lines: nothing() };
    }
    if (trouble?.kind === "status") {
      parts.refused(identity, request, trouble.status);
      const { status, body } = troubleAnswer(trouble.status, trouble.retryAfterSeconds).answer;
      return { status, body, lines: nothing() };
    }
    const key = `stream:${sent++}`;
    const mine = new AbortController();
    const { status, body, lines } = parts.stream(identity, request, () => mine.abort());
    if (!mine.signal.aborted) {
      const abort = (): void => lines.fail(broken("given up by its reader"));
      open.add(lines);
      signal.addEventListener("abort", abort, { once: true });
      mine.signal.addEventListener("abort", () => {
        open.delete(lines);
        signal.removeEventListener("abort", abort);
        agenda.cancel(key);
      });
    }
    if (trouble !== undefined) disturb(key, lines, trouble);
    return { status, body, lines };
  }

  function disturb(key: string, lines: Lines, trouble: Trouble): void {
    const later = (afterMs: number, work: () => void): void => agenda.at(key, clock.now() + afterMs, work);
    if (trouble.kind === "cut") later(trouble.afterMs, () => lines.fail(broken("the connection of a watch was reset")));
    if (trouble.kind === "silent") later(trouble.afterMs, () => lines.silence());
    if (trouble.kind === "garbage") later(trouble.afterMs, () => last('{"type":"MODIFIED","object":{"kind":"Jo'));
    if (trouble.kind === "expired") later(trouble.afterMs ?? 0, () => last(expiredLine(parts.version())));

    function last(line: string): void {
      lines.push(line);
      lines.end();
    }
  }

  return {
    transport: (identity) => ({
      send: (request, signal) => send(identity, copied(request), signal),
      open: (request, signal) => openStream(identity, request, signal),
      [Symbol.asyncDispose]: async () => undefined,
    }),
    breakStreams: (how) => {
      for (const lines of open) {
        if (how === "cut") lines.fail(broken("the connection of a watch was reset"));
        else lines.silence();
      }
    },
  };
}

/** Copies the body, so that the sender cannot change a request after sending it. */
function copied(request: ApiRequest): ApiRequest {
  return request.body === undefined ? request : { ...request, body: JSON.parse(JSON.stringify(request.body)) };
}

async function* nothing(): AsyncGenerator<string> {}
