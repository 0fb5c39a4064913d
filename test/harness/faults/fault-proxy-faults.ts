/**
 * What the fault proxy can do to a request, and to which one: choices and troubles as values.
 *
 * The failure this prevents: a fault that struck something else than the test meant, or nothing at all, and a test that
 * passed for it. Who plants a fault is told which request it struck.
 */
import type { IncomingMessage } from "node:http";

export interface Asked {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  readonly query: URLSearchParams;
}

export type Chosen = (asked: Asked) => boolean;

export type Trouble =
  /** The proxy answers in the server's place: 410, 429, 503, a captive portal, an old answer. */
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: string | object;
    }
  /** The request is held so long before the server gets it, or until something else has happened. */
  | { readonly kind: "late"; readonly byMs: number }
  | { readonly kind: "held"; readonly until: Promise<unknown> }
  /** The request is held until the test lets go of it, also when its client has given it up. */
  | { readonly kind: "held"; readonly until: Promise<unknown> }
  /** The connection is reset before the server hears of the request. */
  | { readonly kind: "reset" }
  /** It is taken, and nothing follows; the connection stays open. */
  | { readonly kind: "unanswered" }
  /** The server carries it out, and its answer is lost with the connection. */
  | { readonly kind: "reply lost" }
  /** The answer is reset after so many bytes of its body. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** After so many bytes nothing comes any more; the connection stays open. */
  | { readonly kind: "silent"; readonly afterBytes: number }
  /** Of the first line that comes only one half, and then a proper end. */
  | { readonly kind: "half a line" }
  /** A line that no server sent, before what it sends. */
  | { readonly kind: "line"; readonly text: string };

export const listing =
  (kind: string): Chosen =>
  ({ method, path, query }) =>
    method === "GET" && path.endsWith(`/${kind}`) && query.get("watch") !== "true";

export const nextPage =
  (kind: string): Chosen =>
  (asked) =>
    listing(kind)(asked) && asked.query.has("continue");

export const watching =
  (kind: string): Chosen =>
  ({ method, path, query }) =>
    method === "GET" && path.endsWith(`/${kind}`) && query.get("watch") === "true";

export const anything: Chosen = () => true;

/** A `Status` as API servers send it. */
export function statusOf(code: number, reason: string, message = `${reason}.`, details?: object): object {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    code,
    ...(details && { details }),
  };
}

export function askedOf({ method = "GET", url = "/" }: IncomingMessage): Asked {
  const { pathname, searchParams } = new URL(url, "https://any");
  return { method, path: pathname, query: searchParams };
}

interface Planned<E> {
  readonly on: Chosen;
  readonly trouble: Trouble;
  left: number;
  readonly tell: (entry: E) => void;
}

/** The faults that are planted, oldest first. A request meets one of them at most. */
export function plan<E extends Asked>() {
  let planted: Planned<E>[] = [];
  let next: Planned<E> | undefined;
  return {
    add: (on: Chosen, trouble: Trouble, left: number): Promise<E> =>
      new Promise((tell) => void planted.push({ on, trouble, left, tell })),
    strike(asked: Asked): Trouble | undefined {
      next = planted.find((it) => it.left > 0 && it.on(asked));
      if (next) next.left--;
      return next?.trouble;
    },
    /** Who planted it is told with the entry that the request got. */
    struck(entry: E): void {
      next?.tell(entry);
      next = undefined;
    },
    clear: () => void (planted = []),
  };
}
