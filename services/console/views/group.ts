/**
 * A group as its row shows it: how it is, what is in it, and each reason why it takes nothing.
 *
 * The failure this prevents: an operator who empties a group and cannot see whether it is empty.
 */
import { type At, leftWords, toldOf, UNHELD } from "@longshore/domain/group/told.ts";
import type { AtWork } from "@longshore/ledger/pages.ts";
import type { GroupState } from "@longshore/ledger/port.ts";
import type { GroupView } from "../answers-for-operators.ts";

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
