/**
 * The faults of the fault proxy as values: the requests that each is for, and the trouble that it makes.
 *
 * The failure this prevents: a test that passes because its fault hit another request than the test meant, or none. The test
 * that plants a fault is told which request the fault hit.
 */
import type { IncomingMessage } from "node:http";

export interface Asked {
  readonly method: string;
  /** The path, without its query. */
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
  /** The server gets the request this much later. */
  | { readonly kind: "late"; readonly byMs: number }
  /** The server gets the request when `until` settles, even if the client has given it up by then. */
  | { readonly kind: "held"; readonly until: Promise<unknown> }
  /** The connection is reset before the server hears of the request. */
  | { readonly kind: "reset" }
  /** The proxy takes the request and never answers; the connection stays open. */
  | { readonly kind: "unanswered" }
  /** The server carries the request out, and its answer is lost with the connection. */
  | { readonly kind: "reply lost" }
  /** The connection is reset after so many bytes of the answer's body. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Nothing more comes after so many bytes of the body; the connection stays open. */
  | { readonly kind: "silent"; readonly afterBytes: number }
  /** Half of the next line comes, and then a proper end. */
  | { readonly kind: "half a line" }
  /** A line that no server sent comes before the server's own. */
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

/** The faults that are planted, oldest first. One request meets at most one of them. */
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
    /** Tells the test that planted the fault which request it hit. */
    struck(entry: E): void {
      next?.tell(entry);
      next = undefined;
    },
    clear: () => void (planted = []),
  };
}
