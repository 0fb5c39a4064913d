/**
 * Judges each placing by the ledger's tables, at the moment when it was done: no run got a slot that a more urgent run had
 * waited for.
 *
 * The bug this prevents: priority that counts only among the runs that are due in the same turn. Later nobody could tell: every
 * run was launched at some time.
 */
import { pinnedTo } from "@longshore/domain/anchor/of-run.ts";
import { attemptsOf, type Located, type Tables } from "@longshore/ledger/testing/model-tables.ts";
import { at } from "../../judge/view.ts";

/**
 * `claimed`: the names of the attempts that one statement placed and claimed. `pollMs`: a run that waits for less than this may
 * be passed over.
 */
export function passedOver(
  tables: Tables,
  claimed: ReadonlySet<string>,
  { nowMs, pollMs }: { readonly nowMs: number; readonly pollMs: number },
): readonly string[] {
  const all = attemptsOf(tables);
  const waiting = all.filter(
    ({ attempt: { state, notes } }) =>
      state === "waiting" && notes.waiting === "GroupsFull" && notes.waitsSinceMs < nowMs - pollMs,
  );
  const placed = all.filter(({ attempt: { state, dueMs, name } }) => (state === "ready" && dueMs === nowMs) || claimed.has(name));
  return placed.flatMap((it) => {
    const before = waiting.find((other) => comesBefore(other, it) && wants(other, it.attempt.group));
    if (before === undefined) return [];
    const { name, group, priority } = it.attempt;
    const past = `${before.attempt.name} (${before.attempt.priority}), which waits since ${at(before.attempt.notes.waitsSinceMs)}`;
    return [`at ${at(nowMs)} ${name} (${priority}) got a slot of ${group}, past ${past}`];
  });
}

const comesBefore = (a: Located, b: Located): boolean =>
  a.attempt.priority > b.attempt.priority || (a.attempt.priority === b.attempt.priority && a.run.key < b.run.key);

/** A run with volumes stays where they are, however many slots are free elsewhere. */
function wants({ run: { record } }: Located, group: Located["attempt"]["group"]): boolean {
  if (group === undefined) return false;
  const pinned = pinnedTo(record);
  return pinned === undefined ? (record.run.plan.groups?.includes(group) ?? true) : pinned.group === group;
}
