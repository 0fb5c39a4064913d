/**
 * A group as its row shows it: how it is, what is in it, and each reason why it takes nothing.
 *
 * The failure this prevents: an operator who empties a group and cannot see whether it is empty.
 */
import { type At, type GroupWord, leftWords, type Remark, toldOf, UNHELD } from "@longshore/domain/group/told.ts";
import type { AtWork } from "@longshore/ledger/pages.ts";
import type { GroupState, Pause } from "@longshore/ledger/port.ts";

export interface GroupView {
  readonly name: string;
  readonly namespace: string;
  readonly word: GroupWord;
  readonly paused?: Pause;
  readonly remarks: readonly Remark[];
  readonly slots: { readonly used: number; readonly inLine: number; readonly of: number };
  /** Runs that wait and were passed over by this group; `sinceMs`: since when the first of them waits. */
  readonly waiting: { readonly count: number; readonly sinceMs?: number };
  /** What of ours is left there, in words: "2 running, 1 to be released". Empty: nothing. */
  readonly left: string;
  readonly watchedAtMs?: number;
  readonly tally?: { readonly atMs: number; readonly unknown: number };
  readonly finishedHolds: { readonly count: number; readonly oldestMs?: number };
}

const NOTHING: AtWork = {
  left: { ready: 0, claimed: 0, live: 0, closing: 0, ended: 0 },
  finishedHolds: { count: 0, oldestMs: undefined },
  waiting: { count: 0, sinceMs: undefined },
};

export function groupView(group: GroupState, { left, finishedHolds, waiting }: AtWork = NOTHING, at: At): GroupView {
  const { name, namespace, paused, pause, slotsUsed, inLine, settings, watchedAtMs, tally } = group;
  const { word, remarks } = toldOf(group, at);
  return {
    ...{ name, namespace, word },
    ...(paused && pause && { paused: pause }),
    remarks: settings.hold ? remarks : [...remarks, { about: "unheld", says: UNHELD, stops: false }],
    slots: { used: slotsUsed, inLine, of: settings.limits.jobs },
    waiting: { count: waiting.count, ...(waiting.sinceMs !== undefined && { sinceMs: waiting.sinceMs }) },
    left: leftWords(left),
    ...(watchedAtMs !== undefined && { watchedAtMs }),
    ...(tally && { tally }),
    finishedHolds: {
      count: finishedHolds.count,
      ...(finishedHolds.oldestMs !== undefined && { oldestMs: finishedHolds.oldestMs }),
    },
  };
}
