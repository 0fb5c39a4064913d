/**
 * The model's network: carries requests to the server, and carries answers back, late, or not at all.
 *
 * The bug this prevents: believing that a request which was given up did not happen. A request that was sent arrives at its
 * time. If the sender gives up, only the answer is lost.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { ApiAnswer, ApiRequest, ApiStream, User, Transport } from "../api.ts";
import { pick } from "../controllers/delays.ts";
import type { Lines } from "../server/lines.ts";
import { splitPath } from "../server/query.ts";
import { answer, type ServerParts, stream } from "../server/serve.ts";
import { expired, refusal, statusBody, unauthorized } from "../server/status.ts";
import type { Store } from "../server/store.ts";
import type { ModelDelays } from "./delays.ts";
import { type Faults, type Trouble, verbOf } from "./faults.ts";

export interface NetworkParts {
  readonly cluster: ServerParts;
  readonly delays: ModelDelays;
  readonly faults: Faults;
  /** Hears of each request that reached the cluster. */
  readonly note: (identity: User, request: ApiRequest, status: number) => void;
}

export interface Network {
  transport(identity: User): Transport;
  /** Breaks every open stream, or leaves it open and silent. */
  breakStreams(how: "cut" | "silent"): void;
}

/** How long a client waits for a lost answer. */
const CLIENT_TIMEOUT_MS = 60_000;
const broken = (message: string): Failure => new Failure("retry", "unanswered", message);
const unsent = (): Failure => new Failure("retry", "unsent", "the cluster refused the connection: nothing was sent");

export function createNetwork({ cluster, delays, faults, note }: NetworkParts): Network {
  const { store, clock, agenda } = cluster;
  const open = new Set<Lines>();
  let sent = 0;

  async function send(identity: User, request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    if (signal.aborted) throw unsent();
    const trouble = faults.strike(request);
    if (trouble?.kind === "unsent") throw unsent();
    const inMs = pick(delays.requestMs, clock) + (trouble?.kind === "delayed" ? trouble.byMs : 0);
    const outMs = pick(delays.answerMs, clock) + (trouble?.kind === "slow" ? trouble.byMs : 0);
    if (inMs === 0 && outMs === 0 && trouble === undefined) return await arrive(identity, request, undefined);
    return await travel(identity, request, signal, { inMs, outMs, trouble });
  }

  interface Trip {
    readonly inMs: number;
    readonly outMs: number;
    readonly trouble: Trouble | undefined;
  }

  function travel(identity: User, request: ApiRequest, signal: AbortSignal, { inMs, outMs, trouble }: Trip): Promise<ApiAnswer> {
    const key = `request:${sent++}`;
    const { promise, resolve, reject } = Promise.withResolvers<ApiAnswer>();
    const settle = (finish: () => void): void => {
      agenda.cancel(`${key}:timeout`);
      signal.removeEventListener("abort", abandon);
      finish();
    };
    const abandon = (): void => settle(() => reject(broken("given up while waiting for the cluster's answer")));
    signal.addEventListener("abort", abandon, { once: true });
    agenda.at(`${key}:timeout`, clock.now() + CLIENT_TIMEOUT_MS, () =>
      settle(() => reject(broken(`no answer from the cluster after ${CLIENT_TIMEOUT_MS} ms`))),
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

  async function arrive(identity: User, request: ApiRequest, trouble: Trouble | undefined): Promise<ApiAnswer> {
    const answered = trouble?.kind === "status" ? statusAnswer(trouble) : await answer(seen(request, trouble), identity, request);
    note(identity, request, answered.status);
    return answered;
  }

  /** The server as this request sees it: a list may be answered from an old cache. */
  function seen(request: ApiRequest, trouble: Trouble | undefined): ServerParts {
    if (trouble?.kind !== "stale" || verbOf(request) !== "list") return cluster;
    const { query } = splitPath(request);
    const cached = query.get("resourceVersion") === "0" || trouble.always === true;
    return cached && (query.get("continue") ?? "") === "" ? { ...cluster, store: behind(store, trouble.versions) } : cluster;
  }

  async function openStream(identity: User, request: ApiRequest, signal: AbortSignal): Promise<ApiStream> {
    if (signal.aborted) throw unsent();
    const trouble = faults.strike(request);
    if (trouble?.kind === "unsent") throw unsent();
    const lateMs = pick(delays.requestMs, clock) + pick(delays.answerMs, clock);
    if (lateMs > 0) await clock.sleep(lateMs, signal);
    if (signal.aborted || trouble?.kind === "lost before writing" || trouble?.kind === "lost after writing") {
      await clock.sleep(CLIENT_TIMEOUT_MS, signal);
      throw broken("no answer from the cluster to a watch");
    }
    if (trouble?.kind === "expired" && trouble.as === "status") {
      const { status, body } = expired("The resourceVersion for the provided watch is too old.").answer;
      return { status, body, lines: nothing() };
    }
    if (trouble?.kind === "status") {
      const { status, body } = statusAnswer(trouble);
      note(identity, request, status);
      return { status, body, lines: nothing() };
    }
    const key = `stream:${sent++}`;
    const mine = new AbortController();
    const { status, body, lines } = stream(cluster, identity, request, () => mine.abort());
    note(identity, request, status);
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
    if (trouble.kind === "silent") later(trouble.afterMs, () => silence(lines));
    if (trouble.kind === "garbage") later(trouble.afterMs, () => last('{"type":"MODIFIED","object":{"kind":"Jo'));
    if (trouble.kind === "expired") later(trouble.afterMs ?? 0, () => last(expiredLine(store.version())));

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
        else silence(lines);
      }
    },
  };
}

/** Copies the body, so that the sender cannot change a request after sending it. */
function copied(request: ApiRequest): ApiRequest {
  return request.body === undefined ? request : { ...request, body: JSON.parse(JSON.stringify(request.body)) };
}

async function* nothing(): AsyncGenerator<string> {}

/** The store with its lists as they were some versions ago. */
function behind(store: Store, versions: number): Store {
  const version = Math.max(store.oldest(), store.version() - versions);
  return {
    ...store,
    version: () => version,
    list: (resource, namespace) => store.listAt(version, resource, namespace) ?? [],
  };
}

/** Lets nothing more through, not even the end, as a connection that died unnoticed. */
function silence(lines: Lines): void {
  Object.assign(lines, { push: () => undefined, end: () => undefined });
}

const expiredLine = (version: number): string =>
  `{"type":"ERROR","object":${JSON.stringify(statusBody(410, "Expired", `too old resource version: 1 (${version})`))}}`;

/** The answer that a fault gives instead of the cluster. */
function statusAnswer({ status, retryAfterSeconds = 1 }: Extract<Trouble, { readonly kind: "status" }>): ApiAnswer {
  switch (status) {
    case 401:
      return unauthorized().answer;
    case 403:
      return refusal(403, "Forbidden", "forbidden: the role was revoked", {}).answer;
    case 429: {
      const headers = { "retry-after": String(retryAfterSeconds) };
      return refusal(429, "TooManyRequests", "Too many requests, please try again later.", { retryAfterSeconds }, headers).answer;
    }
    case 500:
      return refusal(500, "InternalError", "Internal error occurred: etcdserver: request timed out").answer;
    case 503:
      return refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request").answer;
  }
}
