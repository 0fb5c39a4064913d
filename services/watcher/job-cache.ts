/**
 * What a watcher knows of the Jobs of one group: what it last said of each, and what it saw last while that may still matter.
 *
 * The bug this prevents: memory that grows with every Job that ever ran, and with every field that a Job has. What was seen is
 * dropped once the end was told, all of it once the Job is gone, and what is not being worked on is packed: below 1 kB a Job.
 */
import type { Uid } from "@longshore/contract/ids.ts";
import type { Said } from "@longshore/domain/watch/facts.ts";
import type { JobSeen, PodSeen } from "@longshore/domain/watch/seen.ts";
import { openPacking } from "./packed-values.ts";

export interface CachedJob {
  job: JobSeen | undefined;
  readonly pods: Map<Uid, PodSeen>;
  said: Said | undefined;
  /** It left the watch or a listing: only an authoritative look may say what that means. */
  vanished: boolean;
}

/** Nothing was seen or said of the Job itself, and nothing is left of its pods. */
const isEmpty = ({ job, said, pods }: CachedJob): boolean => job === undefined && said === undefined && pods.size === 0;

interface Packed extends Omit<CachedJob, "pods"> {
  /** First, so that it can be seen from outside. */
  readonly version: string;
  readonly pods: readonly PodSeen[];
}

/** Of a Job that is there; those of etcd are digits. */
const versionOf = ({ job, vanished }: CachedJob): string => (vanished ? "" : (job?.resourceVersion ?? ""));

export interface JobCache {
  has(uid: Uid): boolean;
  /** Changes what is known, from nothing where nothing is; what is empty afterwards is forgotten. */
  change(uid: Uid, change: (known: CachedJob) => void): void;
  /** Whether the Job was seen in just this version, and has not vanished since: cheap, for listings in which little is new. */
  isAt(uid: Uid, resourceVersion: string): boolean;
  /** To look at only: a change of this is lost. */
  peek(uid: Uid): Readonly<CachedJob> | undefined;
  /** The same value for everyone, for work that takes its time, until `close`. */
  open(uid: Uid): CachedJob | undefined;
  close(uid: Uid): void;
  forget(uid: Uid): void;
  /** When to consider it again though nothing changes; `undefined`: not by itself. */
  due(uid: Uid, atMs: number | undefined): void;
  dueUntil(nowMs: number): readonly Uid[];
  uids(): readonly Uid[];
  readonly size: number;
}

/** The words of a cluster, as opposed to those of a Job. */
const RECURRING = new Set(
  ["namespace", "installation", "group", "step", "image", "imageId", "node", "memoryLimit"].concat([
    "phase",
    "role",
    "reason",
    "type",
    "what",
    "key",
  ]),
);

/** What changed last changes again soon: so many stay unpacked. */
const RECENT_MOST = 128;

export function openJobCache(): JobCache {
  const packed = new Map<Uid, string>();
  const recent = new Map<Uid, CachedJob>(); // the oldest first
  const opened = new Set<Uid>(); // of those
  const dueAt = new Map<Uid, number>();
  const packing = openPacking({ recurring: RECURRING });

  function unpacked(uid: Uid): CachedJob | undefined {
    const text = packed.get(uid);
    if (text === undefined) return undefined;
    // It was packed below, from what its type says.
    const { job, pods, said, vanished } = packing.unpack(text) as Packed;
    return { job, said, vanished, pods: new Map(pods.map((it) => [it.uid, it])) };
  }

  function take(uid: Uid): CachedJob | undefined {
    const known = recent.get(uid) ?? unpacked(uid);
    if (known !== undefined) keep(uid, known);
    return known;
  }

  function keep(uid: Uid, known: CachedJob): void {
    packed.delete(uid);
    recent.delete(uid);
    recent.set(uid, known);
    for (const [uid, known] of recent) {
      if (recent.size <= RECENT_MOST) break;
      if (opened.has(uid)) continue;
      recent.delete(uid);
      const { job, said, vanished, pods } = known;
      const now: Packed = { version: versionOf(known), job, said, vanished, pods: [...pods.values()] };
      packed.set(uid, packing.pack(now));
    }
  }

  function forget(uid: Uid): void {
    packed.delete(uid);
    recent.delete(uid);
    dueAt.delete(uid);
  }

  return {
    has: (uid) => packed.has(uid) || recent.has(uid),
    change(uid, change) {
      const known = take(uid) ?? { job: undefined, pods: new Map(), said: undefined, vanished: false };
      change(known);
      if (isEmpty(known)) forget(uid);
      else if (!recent.has(uid)) keep(uid, known);
    },
    isAt(uid, resourceVersion) {
      const known = recent.get(uid);
      return known ? versionOf(known) === resourceVersion : packing.begins(packed.get(uid) ?? "", resourceVersion);
    },
    peek: (uid) => recent.get(uid) ?? unpacked(uid),
    open(uid) {
      opened.add(uid);
      return take(uid);
    },
    close: (uid) => void opened.delete(uid),
    forget,
    due: (uid, atMs) => void (atMs === undefined ? dueAt.delete(uid) : dueAt.set(uid, atMs)),
    dueUntil: (nowMs) => [...dueAt].filter(([, atMs]) => atMs <= nowMs).map(([uid]) => uid),
    uids: () => [...recent.keys(), ...packed.keys()],
    get size() {
      return recent.size + packed.size;
    },
  };
}
