/**
 * The log tails of ended Jobs. Each is read when its pod ends: a second or more before the Job says so.
 *
 * The failures this prevents: an end that waits for its log, and an end that is published without a log because its pod was
 * removed first.
 */
import type { LogTail } from "@longshore/contract/fact.ts";
import type { Uid } from "@longshore/contract/ids.ts";
import type { LogWanted } from "@longshore/domain/watch/facts.ts";
import { logOf } from "./read-evidence.ts";
import type { Watched } from "./parts.ts";

/**
 * Logs that are kept for Jobs whose end is not known yet, 1 MB in all. If a Job controller is further behind, the log is read
 * when it is wanted.
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
