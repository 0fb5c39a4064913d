/**
 * What a card tells those who operate: which definition it is, exactly, and why no group takes a run of it now.
 *
 * The failure this prevents: a job that everybody may run and that waits for ever, since its only group is paused or was never there.
 */
import { type At, NO_LAUNCHER, toldOf } from "@longshore/domain/group/told.ts";
import type { GroupState, StoredDefinition } from "@longshore/ledger/port.ts";
import type { CardForOperators } from "./card.ts";

const ORIGIN = { file: "a launcher's file" } as const;

export function cardForOperators(
  { origin = "file", digest, sinceMs, body }: StoredDefinition,
  groups: readonly GroupState[],
  at: At,
): CardForOperators {
  const why = whyNot("groups" in body ? body.groups : undefined, groups, at);
  return { origin: ORIGIN[origin], digest, sinceMs, ...(why !== undefined && { whyNot: why }) };
}

/** Room comes back by itself: a full group is no reason to look at. */
function whyNot(named: readonly string[] | undefined, groups: readonly GroupState[], at: At): string | undefined {
  const meant = named ?? groups.map(({ name }) => name);
  if (!at.hasLauncher) return NO_LAUNCHER;
  if (meant.length === 0) return "There is no group yet.";
  const whys = meant.map((name) => {
    const group = groups.find((it) => it.name === name);
    if (group === undefined) return `${name}: no group has this name`;
    const stops = toldOf(group, at).remarks.filter(({ stops, about }) => stops && about !== "full");
    return stops.length === 0 ? undefined : `${name}: ${stops.map(({ says }) => says).join("; ")}`;
  });
  return whys.every((it) => it !== undefined) ? whys.join(". ") : undefined;
}
