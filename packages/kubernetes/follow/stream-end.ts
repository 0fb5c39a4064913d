/**
 * Decides for each end of a watch how to go on: from the last version, or by a new listing. Every answer that cannot be understood
 * leads to a listing: else it would end the watch for good, or be skipped together with the events that it stood for.
 */
import type { Failure } from "@longshore/contract/problem.ts";
import type { Change } from "./follow.ts";
import { asObject, asStatus, member, retryAfterMs, text, wordsOf } from "../objects.ts";
import { AnswerFailure, refused } from "../request/read.ts";
import type { ApiStream } from "../transport.ts";

const LIST_REASONS = ["start", "expired", "pageExpired", "garbage", "silent", "ahead", "poll", "serverError"] as const;
export type ListReason = (typeof LIST_REASONS)[number];
export type BreakReason = ListReason | "ended" | "cut" | "unreachable" | "rejected" | "forbidden" | "throttled";

/** The end of a watch. `from` undefined: only a listing can say where to go on. */
export interface StreamEnd {
  readonly reason: BreakReason;
  readonly message: string;
  readonly from: string | undefined;
  /** The watch brought something. */
  readonly progress: boolean;
  readonly livedMs: number;
  readonly waitMs?: number | undefined;
}

/** The cause of the end, apart from how the watch had gone until then. */
export type Verdict = Omit<StreamEnd, "progress" | "livedMs">;

export type Line =
  | { readonly kind: "change"; readonly version: string; readonly change: Change }
  | { readonly kind: "ending"; readonly ending: Verdict };

export function readLine(line: string): Line {
  const message = "The watch brought a line that is no event.";
  const garbage: Line = { kind: "ending", ending: { reason: "garbage", message, from: undefined } };
  const event = parsed(line);
  const type = text(member(event, "type"));
  const object = member(event, "object");
  if (type === "ERROR") return { kind: "ending", ending: inStream(object) };
  if (type === "BOOKMARK") {
    const version = text(member(member(object, "metadata"), "resourceVersion"));
    return version ? { kind: "change", version, change: { kind: "alive" } } : garbage;
  }
  const version = asObject(object)?.resourceVersion;
  if (version === undefined) return garbage;
  if (type === "DELETED") return { kind: "change", version, change: { kind: "gone", object } };
  const seen = type === "ADDED" || type === "MODIFIED";
  return seen ? { kind: "change", version, change: { kind: "seen", object, listed: false } } : garbage;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // no event: `readLine` calls it garbage
  }
}

/** An error within a watch: the version is compacted away, or the server lost its place. A listing mends both. */
function inStream(object: unknown): Verdict {
  const status = asStatus(object);
  const expired = status?.code === 410 || status?.reason === "Expired" || status?.reason === "Gone";
  return {
    reason: expired ? "expired" : "serverError",
    message: wordsOf({ status: status?.code ?? 0, body: object }),
    from: undefined,
  };
}

/** Between listings while watching is refused. */
const POLL_MS = 10_000;

export function refusedWatch(stream: ApiStream, what: string, since: string): Verdict {
  const { status, body, headers = {} } = stream;
  const message = refused({ status, body }, `watch ${what}`).message;
  if (status === 410) return { reason: "expired", message, from: undefined };
  // The role allows list and not watch. Then we list from time to time, and each time try whether watching is allowed by now.
  if (status === 403 || status === 405) return { reason: "poll", message, from: undefined, waitMs: POLL_MS };
  if (asStatus(body)?.causes.includes("ResourceVersionTooLarge")) return { reason: "ahead", message, from: undefined };
  // Any other refusal of the request as such (400: a version that this server cannot read) is mended by a listing.
  if (status === 400 || status === 422) return { reason: "serverError", message, from: undefined };
  return { reason: REASONS[status] ?? "unreachable", message, from: since, waitMs: retryAfterMs({ status, body, headers }) };
}

const REASONS: Readonly<Record<number, BreakReason>> = { 401: "rejected", 403: "forbidden", 410: "expired", 429: "throttled" };

/** The reason why a listing failed, or a watch could not be opened. Neither says that we lost our place. */
export function streamEndOf(failure: Failure, from: string | undefined): StreamEnd {
  const ending = { message: failure.message, from, progress: false, livedMs: 0 };
  if (!(failure instanceof AnswerFailure)) return { ...ending, reason: "unreachable" };
  const { status } = failure.answer;
  const reason = status === 200 ? "garbage" : (REASONS[status] ?? "unreachable");
  return { ...ending, reason, waitMs: retryAfterMs(failure.answer) };
}

/** Versions are etcd's count of its writes, without leading zeros: the shorter of two is the older. */
export const isOlder = (version: string, than: string): boolean =>
  version.length === than.length ? version < than : version.length < than.length;

/** The reason for the listing that follows: the event that made it necessary, not the one that delays it. */
export const listReason = (broken: BreakReason, before: ListReason): ListReason =>
  LIST_REASONS.find((it) => it === broken) ?? before;
