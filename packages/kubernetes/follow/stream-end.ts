/**
 * Decides for each end of a watch how to go on: from the last version, or by a new listing. Every answer that cannot be
 * understood leads to a listing: if it were skipped, events could be lost; if it stopped us, nothing would be watched any more.
 */
import type { Failure } from "@longshore/contract/problems/problem.ts";
import type { Change } from "./follow.ts";
import { asObject, asStatus, member, retryAfterMs, text, wordsOf } from "../objects.ts";
import { AnswerFailure, refused } from "../request/read.ts";
import type { ApiStream } from "../transport.ts";

const LIST_REASONS = ["start", "expired", "pageExpired", "garbage", "silent", "ahead", "poll", "serverError"] as const;
export type ListReason = (typeof LIST_REASONS)[number];
export type BreakReason = ListReason | "ended" | "cut" | "unreachable" | "rejected" | "forbidden" | "throttled";

/** The end of a watch. If `from` is undefined, only a listing can say where to go on. */
export interface StreamEnd {
  readonly reason: BreakReason;
  readonly message: string;
  readonly from: string | undefined;
  /** True if the watch brought at least one event. */
  readonly progress: boolean;
  readonly livedMs: number;
  readonly waitMs?: number | undefined;
}

/** The end of a watch, without the fields that say how the watch went before its end. */
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

/** Judges an error event of a watch: the version is compacted away, or the server failed. A listing mends both. */
function inStream(object: unknown): Verdict {
  const status = asStatus(object);
  const expired = status?.code === 410 || status?.reason === "Expired" || status?.reason === "Gone";
  return {
    reason: expired ? "expired" : "serverError",
    message: wordsOf({ status: status?.code ?? 0, body: object }),
    from: undefined,
  };
}

/** The pause between listings while watching is refused. */
const POLL_MS = 10_000;

export function refusedWatch(stream: ApiStream, what: string, since: string): Verdict {
  const { status, body, headers = {} } = stream;
  const message = refused({ status, body }, `watch ${what}`).message;
  if (status === 410) return { reason: "expired", message, from: undefined };
  // If the role allows list but not watch, we list every `POLL_MS`, and try the watch again after each listing.
  if (status === 403 || status === 405) return { reason: "poll", message, from: undefined, waitMs: POLL_MS };
  if (asStatus(body)?.causes.includes("ResourceVersionTooLarge")) return { reason: "ahead", message, from: undefined };
  // If the request itself is refused (400: a version that this server cannot read), a listing mends it.
  if (status === 400 || status === 422) return { reason: "serverError", message, from: undefined };
  return { reason: REASONS[status] ?? "unreachable", message, from: since, waitMs: retryAfterMs({ status, body, headers }) };
}

const REASONS: Readonly<Record<number, BreakReason>> = { 401: "rejected", 403: "forbidden", 410: "expired", 429: "throttled" };

/** Judges a listing that failed, or a watch that could not be opened. After either, `from` is as good as before. */
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

/** Returns the reason for the next listing: the break that made it necessary, not a later one that only delays it. */
export const listReason = (broken: BreakReason, before: ListReason): ListReason =>
  LIST_REASONS.find((it) => it === broken) ?? before;
