/**
 * The faults between a client and its cluster, as data. The simulation plants them, and `heal` removes all of them.
 *
 * The bug this prevents: a simulation whose network fails politely. Here a request may land long after its sender gave up, an
 * answer may be lost after the write, a list may be old, and a watch may die without a word.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ApiRequest } from "../api.ts";
import { splitPath } from "../server/query.ts";

export type Verb = "create" | "get" | "list" | "watch" | "patch" | "delete" | "log" | "other";

export type Trouble =
  /** Nothing can have arrived: a refused connection, no route. */
  | { readonly kind: "unsent" }
  /** The request is lost on its way in, and the client waits in vain. */
  | { readonly kind: "lost before writing" }
  /** The request is carried out, and its answer is lost. */
  | { readonly kind: "lost after writing" }
  /** The request is on the wire for this long. Its client may have given up by then, and it lands all the same. */
  | { readonly kind: "delayed"; readonly byMs: number }
  /** The request is carried out at once and answered this much later. */
  | { readonly kind: "slow"; readonly byMs: number }
  | { readonly kind: "status"; readonly status: 401 | 403 | 429 | 500 | 503; readonly retryAfterSeconds?: number }
  /** A list shows the state of this many versions ago: a list with "resourceVersion=0", or with `always` every list. */
  | { readonly kind: "stale"; readonly versions: number; readonly always?: boolean }
  /** The connection of a watch or of a followed log is reset. */
  | { readonly kind: "cut"; readonly afterMs: number }
  | { readonly kind: "silent"; readonly afterMs: number }
  | { readonly kind: "garbage"; readonly afterMs: number }
  | { readonly kind: "expired"; readonly as: "status" | "stream"; readonly afterMs?: number };

export interface Fault {
  readonly on: Verb | "any";
  /** Only requests about this resource: "jobs". */
  readonly resource?: string;
  /** Chance in [0, 1]; absent: always. */
  readonly chance?: number;
  readonly fromMs?: number;
  readonly untilMs?: number;
  /** How many requests it strikes; absent: no bound. */
  readonly times?: number;
  readonly trouble: Trouble;
}

export interface Faults {
  cause(fault: Fault): void;
  heal(): void;
  /** Returns the fault that strikes this request, if any. */
  strike(request: ApiRequest): Trouble | undefined;
}

export function createFaults(clock: Clock, first: readonly Fault[]): Faults {
  let planted = first.map((fault) => ({ fault, left: fault.times ?? Number.POSITIVE_INFINITY }));
  return {
    cause: (fault) => {
      planted.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY });
    },
    heal: () => {
      planted = [];
    },
    strike: (request) => {
      if (planted.length === 0) return undefined;
      const verb = verbOf(request);
      const now = clock.now();
      for (const it of planted) {
        if (it.left <= 0 || !concerns(it.fault, verb, request, now)) continue;
        if (it.fault.chance !== undefined && clock.random() >= it.fault.chance) continue;
        it.left--;
        return it.fault.trouble;
      }
      return undefined;
    },
  };
}

function concerns(fault: Fault, verb: Verb, request: ApiRequest, now: number): boolean {
  if (fault.on !== "any" && fault.on !== verb) return false;
  if (now < (fault.fromMs ?? 0) || now >= (fault.untilMs ?? Number.POSITIVE_INFINITY)) return false;
  return fault.resource === undefined || splitPath(request).path.split("/").includes(fault.resource);
}

export function verbOf(request: ApiRequest): Verb {
  const { path, query } = splitPath(request);
  switch (request.method) {
    case "POST":
      return "create";
    case "PATCH":
      return "patch";
    case "DELETE":
      return "delete";
    case "GET":
      if (path.endsWith("/log")) return "log";
      if (query.get("watch") === "true" || query.get("watch") === "1") return "watch";
      if (!/^\/api(s\/batch)?\/v1\/./.test(path)) return "other";
      return /\/(jobs|pods|events|namespaces|secrets|configmaps|persistentvolumeclaims|resourcequotas)$/.test(path)
        ? "list"
        : "get";
  }
}
