/**
 * What a card tells those who operate: which definition it is, exactly, and why no group takes a run of it now.
 *
 * The failure this prevents: a job that everybody may run and that waits for ever, since its only group is paused or was never there.
 */
import { type At, NO_LAUNCHER, toldOf } from "@longshore/domain/group/told.ts";
import type { GroupState, StoredDefinition } from "@longshore/ledger/port.ts";
import { whyUnusable } from "@longshore/domain/prepared/usable.ts";
import type { CardForOperators } from "../answers.ts";

export function cardForOperators(definition: StoredDefinition, groups: readonly GroupState[], at: At): CardForOperators {
  const { digest, sinceMs, body } = definition;
  const taken = whyNot("groups" in body ? body.groups : undefined, groups, at);
  const why = whyUnusable(definition) ?? (taken && `No group takes it now. ${taken}`);
  return { origin: originOf(definition), digest, sinceMs, ...(why !== undefined && { whyNot: why }) };
}

function originOf({ prepared }: StoredDefinition): string {
  if (prepared === undefined) return "a launcher's file";
  const { kind, name, group, schedule, active } = prepared;
  const itself = [schedule !== undefined && `runs by itself at ${schedule}`, active > 0 && `${active} running by itself`];
  return [`the ${kind} ${name} in ${group}`, ...itself].filter(Boolean).join(", ");
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
