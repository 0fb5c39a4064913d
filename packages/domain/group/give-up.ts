/**
 * The effect on one run if a person gives up every Job in a group: the group is another namespace or cluster now.
 *
 * The bug this prevents: attempts that wait for Jobs of the old namespace while the new one is trusted; their Jobs would all
 * seem to have vanished.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { pinnedTo } from "../anchor/of-run.ts";
import { advance, type Advancing } from "../run/advance.ts";
import { andThen, type Applied, applyInputs, type Change, type Entry } from "../run/change.ts";
import { isOpen, type RunRecord } from "../run/record.ts";
import { STANDING_STATES } from "./group.ts";

export function giveUp(record: RunRecord, group: GroupName, at: Advancing): Applied {
  const sentence = `An operator accepted that the group ${group} is another cluster or namespace now; what stood in the old one was given up.`;
  const diagnosis = diagnose("Abandoned", sentence);
  const standing = record.attempts.filter((it) => it.group === group && STANDING_STATES.includes(it.state));
  const entries = standing.flatMap((attempt): Entry[] => {
    const { step, n, uid, occupantUid, state } = attempt;
    const of = { run: record.run.id, step, n };
    return [
      ...(state === "ended" ? [] : [{ ...of, input: { kind: "abandon", diagnosis } as const }]),
      // The Job's name is free in the new namespace, and a create for it may still come: so the release loop must occupy the
      // name.
      ...(uid !== undefined && isOpen(attempt) ? [{ ...of, input: { kind: "gone", uid } as const }] : []),
      ...(occupantUid !== undefined ? [{ ...of, input: { kind: "inDoubt" } as const }] : []),
    ];
  });
  const applied = applyInputs(record, entries, at);
  return { ...applied, change: withoutVolumes(applied.change, group, sentence, at) };
}

/** Volumes of the old namespace are out of reach: a run that still needs them is over, and none waits for them any more. */
function withoutVolumes(change: Change, group: GroupName, reason: string, at: Advancing): Change {
  const isPinned = pinnedTo(change.after)?.group === group;
  const ended = isPinned ? andThen(change, advance(change.after, { kind: "abandon", reason }, at)) : change;
  const there = (ended.after.anchors ?? []).filter((it) => it.group === group);
  return there.reduce(
    (so, { number }) => andThen(so, advance(so.after, { kind: "anchor", number, input: { kind: "freed" } }, at)),
    ended,
  );
}

/** Returns the number of runs that were ended by giving up. */
export const lostIn = (applied: readonly Applied[]): number =>
  applied.filter(({ change: { before, after } }) => before?.run.state !== "ended" && after.run.state === "ended").length;
