/**
 * Reads the evidence that a fact needs besides the watch: log tails, Events, and a look. None of these reads may hold up an
 * outcome.
 *
 * The failures this prevents: an end that waits for its log, and an end that is published without a log because its pod was
 * removed first. So a log is read when its pod ends: a second or more before the Job says so.
 */
import { type LogTail, SLICE_TAIL_BYTES_MAX, TAIL_BYTES_MAX } from "@longshore/contract/messages/fact.ts";
import type { Uid } from "@longshore/contract/ids.ts";
import type { LogWanted, Want } from "@longshore/domain/watch/facts.ts";
import { type EventSeen, type JobSeen, type PodSeen, seeEvent, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import type { Watched } from "./parts.ts";

/**
 * At most this many logs of Jobs without a known end are kept, 1 MB in all. A log that was dropped is read again at its Job's
 * end.
 */
const KEPT_MOST = 64;

export interface Logs {
  /** Reads the log of this pod, unless that was tried before. */
  readEarly(uid: Uid, wanted: LogWanted, signal: AbortSignal): Promise<void>;
  /** Returns the log that was read early, else reads it now. Without `wanted`, no pod is left to read from. */
  ofEnd(uid: Uid, wanted: LogWanted | undefined, signal: AbortSignal): Promise<LogTail | undefined>;
}

export function openLogs(cluster: Watched): Logs {
  const early = new Map<Uid, { readonly of: LogWanted; readonly log: LogTail }>(); // the oldest first
  return {
    async readEarly(uid, wanted, signal) {
      if (isSame(early.get(uid)?.of, wanted)) return;
      early.set(uid, { of: wanted, log: await logOf(cluster, wanted, signal) });
      for (const oldest of early.keys()) {
        if (early.size <= KEPT_MOST) break;
        early.delete(oldest);
      }
    },
    async ofEnd(uid, wanted, signal) {
      const read = early.get(uid);
      early.delete(uid);
      if (read && read.log.state !== "unavailable" && (wanted === undefined || isSame(read.of, wanted))) return read.log;
      return wanted && (await logOf(cluster, wanted, signal));
    },
  };
}

const isSame = (one: LogWanted | undefined, other: LogWanted): boolean =>
  one !== undefined && one.pod === other.pod && one.container === other.container;

/** Reads what slices printed, one after the other: there are few, and their Job has ended. */
export async function sliceLogs(
  cluster: Watched,
  { slices = [] }: Pick<LogWanted, "slices">,
  signal: AbortSignal,
): Promise<ReadonlyMap<number, LogTail>> {
  const logs = new Map<number, LogTail>();
  for (const { index, pod, container } of slices)
    logs.set(index, await logOf(cluster, { pod, container }, signal, SLICE_TAIL_BYTES_MAX));
  return logs;
}

async function logOf(
  cluster: Watched,
  { pod, container }: Pick<LogWanted, "pod" | "container">,
  signal: AbortSignal,
  bytesMax = TAIL_BYTES_MAX,
): Promise<LogTail> {
  const { state, lines, tail } = await cluster.tailLog({ pod, container }, signal);
  if (Buffer.byteLength(tail) <= bytesMax) return { state, lines, tail };
  const end = Buffer.from(tail)
    .subarray(-bytesMax)
    .toString("utf8")
    .replace(/^\uFFFD+/, "");
  return { state: "truncated", lines, tail: end };
}

export async function eventsOf(
  cluster: Watched,
  { uid }: Extract<Want, { kind: "events" }>,
  signal: AbortSignal,
): Promise<readonly EventSeen[]> {
  const listed = await cluster.read.eventsOf(uid, signal);
  return listed.kind === "listed" ? listed.items.flatMap((it) => seeEvent(it) ?? []) : [];
}

/** The Job of that name and its pods, as the API server itself says. "unseen": the API server did not say. */
export async function lookAt(
  cluster: Watched,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly job: JobSeen; readonly pods: readonly PodSeen[] } | "missing" | "unseen"> {
  const got = await cluster.read.getJob(name, signal);
  if (got.kind === "missing") return "missing";
  const job = got.kind === "found" ? seeJob(got.object.raw) : undefined;
  if (job === undefined) return "unseen";
  const pods = await podsOf(cluster, job.uid, signal);
  return pods === undefined ? "unseen" : { job, pods };
}

export async function podsOf(cluster: Watched, jobUid: string, signal: AbortSignal): Promise<readonly PodSeen[] | undefined> {
  const listed = await cluster.read.podsOf(jobUid, signal);
  return listed.kind === "listed" ? listed.items.flatMap((it) => seePod(it) ?? []) : undefined;
}
