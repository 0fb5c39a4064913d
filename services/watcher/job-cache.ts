/**
 * The Jobs of one group, as their watcher remembers them: the facts last published of each Job, and the Job as it was last seen
 * while that may still matter.
 *
 * The bug this prevents: memory that grows with every Job that ever ran, and with every field of a Job. The Job as it was last
 * seen is dropped once its end is published, and the whole entry once the Job is gone. Entries that nobody works on are packed,
 * to less than 1 kB a Job.
 */
import type { Uid } from "@longshore/contract/ids.ts";
import type { Said } from "@longshore/domain/watch/facts.ts";
import type { JobSeen, PodSeen } from "@longshore/domain/watch/seen.ts";
import { openPacking } from "./packed-values.ts";

export interface CachedJob {
  job: JobSeen | undefined;
  readonly pods: Map<Uid, PodSeen>;
  said: Said | undefined;
  /** Pods that ended without starting anything. One may go before the Job is considered again: a fact may be on its way meanwhile. */
  unstarted: readonly string[];
  /** The Job disappeared from the watch or a listing: only a look may say why. */
  vanished: boolean;
}

/** Nothing was seen or published of the Job itself, and no pod of it is left. */
const isEmpty = ({ job, said, pods }: CachedJob): boolean => job === undefined && said === undefined && pods.size === 0;

interface Packed extends Omit<CachedJob, "pods"> {
  /** The first field, so that `isAt` can read it without unpacking the rest. */
  readonly version: string;
  readonly pods: readonly PodSeen[];
}

/** The resource version of a Job that has not vanished, else "", which is no version: etcd's versions are digits. */
const versionOf = ({ job, vanished }: CachedJob): string => (vanished ? "" : (job?.resourceVersion ?? ""));

interface JobCache {
  has(uid: Uid): boolean;
  /** Changes an entry, or makes one. An entry that is empty afterwards is forgotten. */
  change(uid: Uid, change: (known: CachedJob) => void): void;
  /**
   * True if the Job was seen in this version and has not vanished since. Unpacks nothing, since most Jobs of a listing are
   * unchanged.
   */
  isAt(uid: Uid, resourceVersion: string): boolean;
  /** Returns a copy to read: changes to it are lost. */
  peek(uid: Uid): Readonly<CachedJob> | undefined;
  /** Returns the same entry to every caller until `close`, for work that takes its time. */
  open(uid: Uid): CachedJob | undefined;
  close(uid: Uid): void;
  forget(uid: Uid): void;
  /** Sets when to consider the Job again even if nothing changes. `undefined`: only after a change. */
  due(uid: Uid, atMs: number | undefined): void;
  dueUntil(nowMs: number): readonly Uid[];
  uids(): readonly Uid[];
  readonly size: number;
}

/** Fields whose values recur in a cluster, so that the packing keeps each value once. */
const RECURRING = new Set(
  "namespace installation group step image imageId node memoryLimit phase role reason type what key".split(" "),
);

/** This many entries stay unpacked: a Job that changed last changes again soon. */
const RECENT_MOST = 128;

export function openJobCache(): JobCache {
  const packed = new Map<Uid, string>();
  const recent = new Map<Uid, CachedJob>(); // the oldest first
  const opened = new Set<Uid>(); // entries that somebody works on
  const dueAt = new Map<Uid, number>();
  const packing = openPacking({ recurring: RECURRING });

  function unpacked(uid: Uid): CachedJob | undefined {
    const text = packed.get(uid);
    if (text === undefined) return undefined;
    // The entry was packed below from a value of this type.
    const { job, pods, said, unstarted, vanished } = packing.unpack(text) as Packed;
    return { job, said, unstarted, vanished, pods: new Map(pods.map((it) => [it.uid, it])) };
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
      const { job, said, unstarted, vanished, pods } = known;
      const now: Packed = { version: versionOf(known), job, said, unstarted, vanished, pods: [...pods.values()] };
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
      const known = take(uid) ?? { job: undefined, pods: new Map(), said: undefined, unstarted: [], vanished: false };
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
