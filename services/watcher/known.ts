/**
 * What a watcher knows of the Jobs of one group: what it last said of each, and what it saw last while that may still matter.
 *
 * The bug this prevents: memory that grows with every Job that ever ran. What was seen is dropped once the end was told, and
 * all of it once the Job is gone.
 */
import type { Uid } from "@longshore/contract/ids.ts";
import type { Said } from "@longshore/domain/watch/facts.ts";
import type { JobSeen, PodSeen } from "@longshore/domain/watch/seen.ts";

export interface Known {
  job: JobSeen | undefined;
  readonly pods: Map<Uid, PodSeen>;
  said: Said | undefined;
  dueMs: number | undefined;
  /** It left the watch or a listing: only an authoritative look may say what that means. */
  vanished: boolean;
  /** The listing in which it was last there. */
  listing: number;
}

/** Nothing was seen or said of the Job itself, and nothing is left of its pods. */
export const isEmpty = ({ job, said, pods }: Known): boolean => job === undefined && said === undefined && pods.size === 0;

export interface Book {
  get(uid: Uid): Known | undefined;
  of(uid: Uid): Known;
  forget(uid: Uid): void;
  entries(): IterableIterator<[Uid, Known]>;
  readonly size: number;
}

export function openBook(): Book {
  const all = new Map<Uid, Known>();
  return {
    get: (uid) => all.get(uid),
    of(uid) {
      const existing = all.get(uid);
      if (existing !== undefined) return existing;
      const known: Known = { job: undefined, pods: new Map(), said: undefined, dueMs: undefined, vanished: false, listing: 0 };
      all.set(uid, known);
      return known;
    },
    forget: (uid) => void all.delete(uid),
    entries: () => all.entries(),
    get size() {
      return all.size;
    },
  };
}
