/**
 * Places many waiting attempts at once, one after the other, each with the slots and the room that the earlier ones left.
 *
 * The bug this prevents: a thousand runs that all see the first group's last free slot. Both ledgers call this while no other
 * placer can count or take slots.
 */
import type { GroupName, RunId, StepName } from "@longshore/contract/ids.ts";
import type { InputOf } from "../attempt/input.ts";
import { advance, type Advancing } from "../run/advance.ts";
import { andThen, type Change, unchanged } from "../run/change.ts";
import { type Attempt, attemptIn, type RunRecord } from "../run/record.ts";
import { heldBackUntilMs } from "../run/steps.ts";
import { judgeAttempt, type Judgement } from "./choose-group.ts";
import { type Group, isUnserved, type Placer } from "./group.ts";

export interface Candidate {
  readonly run: RunId;
  readonly step: StepName;
  readonly n: number;
}

export interface Claiming {
  readonly by: string;
  readonly forMs: number;
  /** How many more attempts of each group the caller can claim. */
  readonly room: ReadonlyMap<GroupName, number>;
}

export interface PlacedAttempts {
  readonly changes: ReadonlyMap<RunId, Change>;
  readonly placed: number;
  /** The number of attempts that found no group, and have a new reason. */
  readonly told: number;
  readonly claimed: readonly Candidate[];
}

/** If a run is not in `records`, another transaction has its lock, and the run is left out. */
export function placeAttempts(
  candidates: readonly Candidate[],
  records: ReadonlyMap<RunId, RunRecord>,
  groups: readonly Group[],
  placer: Placer,
  at: Advancing,
  claiming: Claiming | undefined,
): PlacedAttempts {
  const changes = new Map<RunId, Change>();
  const claimed: Candidate[] = [];
  const room = new Map(claiming?.room);
  let free = groups;
  let placed = 0;
  let told = 0;
  for (const { run, step, n } of candidates) {
    const record = records.get(run);
    if (record === undefined) continue;
    const before = changes.get(run) ?? unchanged(record);
    const attempt = attemptIn(before.after, step, n);
    const input = attempt && inputFor(attempt, before.after, free, placer, at.nowMs);
    if (attempt === undefined || input === undefined) continue;
    if (input.kind === "heldBack") {
      changes.set(run, lookedAtAgain(before, attempt, input.untilMs));
      continue;
    }
    let change = andThen(before, advance(before.after, { kind: "attempt", step, n, input }, at));
    if (input.kind === "placed") {
      placed++;
      const left = room.get(input.group) ?? 0;
      const isClaimed = claiming !== undefined && left > 0;
      free = free.map((it) => (it.name === input.group ? withOneMore(it, isClaimed) : it));
      if (isClaimed) {
        const claim = { kind: "claimDue", by: claiming.by, untilMs: at.nowMs + claiming.forMs } as const;
        change = andThen(change, advance(change.after, { kind: "attempt", step, n, input: claim }, at));
        room.set(input.group, left - 1);
        claimed.push({ run, step, n });
      }
    } else if (change.told.length > before.told.length) told++;
    changes.set(run, change);
  }
  return { changes, placed, told, claimed };
}

/** `undefined`: nothing is decided about the attempt now; it was moved meanwhile, or its time has not come. */
function inputFor(
  attempt: Attempt,
  record: RunRecord,
  groups: readonly Group[],
  placer: Placer,
  nowMs: number,
): Judgement | { readonly kind: "heldBack"; readonly untilMs: number } | undefined {
  if (attempt.state === "ready") {
    const group = groups.find(({ name }) => name === attempt.group);
    return group && withdrawnFrom(group, nowMs);
  }
  if (attempt.state !== "waiting" || attempt.dueMs === undefined || attempt.dueMs > nowMs) return undefined;
  const untilMs = heldBackUntilMs(record, attempt, nowMs);
  return untilMs === undefined ? judgeAttempt(attempt, record.run.plan, groups, placer, nowMs) : { kind: "heldBack", untilMs };
}

const withOneMore = (group: Group, isClaimed: boolean): Group => ({
  ...group,
  slotsUsed: group.slotsUsed + 1,
  inLine: (group.inLine ?? 0) + (isClaimed ? 0 : 1),
});

/**
 * Returns why a group takes nothing any more, as an input for the attempts in its line. Their creates were never sent, so they
 * may go to another group.
 */
export function withdrawnFrom(group: Group, nowMs: number): InputOf<"noPlace"> | undefined {
  const { name, paused } = group;
  if (!paused && !isUnserved(group, nowMs)) return undefined;
  const [reason, why] = paused ? ["GroupsPaused", "It is paused."] : ["NoGroup", "No launcher serves it any more."];
  return { kind: "noPlace", reason, considered: [{ group: name, verdict: "skipped", why }], retryAtMs: nowMs };
}

function lookedAtAgain(change: Change, attempt: Attempt, dueMs: number): Change {
  const attempts = change.after.attempts.map((it) => (it === attempt ? { ...it, dueMs } : it));
  return { ...change, after: { ...change.after, attempts } };
}
