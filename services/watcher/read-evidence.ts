/**
 * Reads what a fact needs besides the watch: log tails, Events, and an authoritative look. None of them may hold up an outcome.
 */
import type { LogTail } from "@longshore/contract/fact.ts";
import type { Want } from "@longshore/domain/watch/facts.ts";
import { type EventSeen, type JobSeen, type PodSeen, seeEvent, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import type { Watched } from "./parts.ts";

/** This much of the 64 KiB that are read goes into a message. */
const TAIL_IN_FACT = 16 * 1024;

export async function logOf(
  cluster: Watched,
  { pod, container }: Extract<Want, { kind: "logs" }>,
  signal: AbortSignal,
): Promise<LogTail> {
  const { state, lines, tail } = await cluster.tailLog({ pod, container }, signal);
  if (Buffer.byteLength(tail) <= TAIL_IN_FACT) return { state, lines, tail };
  const end = Buffer.from(tail)
    .subarray(-TAIL_IN_FACT)
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
