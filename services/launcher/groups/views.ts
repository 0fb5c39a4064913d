/**
 * This launcher's views of its groups. Each loop reports its news, and the domain's table decides the new view.
 *
 * The bug this prevents: two loops write one view, and each overwrites the other's news.
 */
import type { GroupName } from "@longshore/contract/ids.ts";
import { hear } from "@longshore/domain/group/health.ts";
import { type GroupInput, type GroupView, UNREACHED, unverified } from "@longshore/domain/group/view.ts";
import type { GroupState } from "@longshore/ledger/port.ts";
import type { Cluster, Parts } from "../parts.ts";

type Viewing = Pick<Parts, "views" | "clock">;
type Named = Pick<Cluster, "name" | "namespace">;

/**
 * The views of a launcher that has just started, made from the ledger, which has the namespaces' UIDs: without these no fact
 * could be believed yet.
 */
export const viewsOf = (groups: readonly GroupState[]): Map<GroupName, GroupView> =>
  new Map(groups.map((it) => [it.name, unverified(it)]));

export const viewOf = ({ views }: Pick<Parts, "views">, group: GroupName): GroupView => views.get(group) ?? unverified(UNREACHED);

/** Returns the view that these inputs would give, and changes nothing. */
export const foreseen = (parts: Viewing, { name: group, namespace }: Named, inputs: readonly GroupInput[]): GroupView =>
  hear(viewOf(parts, group), inputs, { nowMs: parts.clock.now(), group, namespace });

export function heard(parts: Viewing, group: Named, ...inputs: readonly GroupInput[]): GroupView {
  const view = foreseen(parts, group, inputs);
  parts.views.set(group.name, view);
  return view;
}
