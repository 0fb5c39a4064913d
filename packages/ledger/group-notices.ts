/**
 * The notices that tell of a group's changes: of its health, and of a pause.
 *
 * The bugs this prevents: a group that upstream takes for healthy, since the launcher that found the problem died before it
 * published; and one change that five launchers report five times.
 */
import { diagnose, withoutBlanks } from "@longshore/contract/messages/diagnosis.ts";
import type { EventData } from "@longshore/contract/messages/event.ts";
import { type GroupName, type Installation, ONLY_TENANT } from "@longshore/contract/ids.ts";
import type { GroupChange, Notice } from "./port.ts";

type Told = Pick<Notice, "tenant" | "group" | "type" | "data">;

/**
 * Returns undefined if the change does not name the health, or only says that it is unknown. The ledger adds the time and the
 * id.
 */
export function healthNotice(group: GroupName, { health, diagnosis }: GroupChange): Told | undefined {
  if (health === undefined || health === "unknown") return undefined;
  const about = { tenant: ONLY_TENANT, group };
  if (health === "healthy") return { ...about, type: "group.healthy", data: { group } satisfies EventData<"group.healthy"> };
  const why = diagnosis ?? diagnose("Unknown", `The group "${group}" cannot be used, and no cause was given.`);
  const data = { group, diagnosis: withoutBlanks(why, { group }) } satisfies EventData<"group.unhealthy">;
  return { ...about, type: "group.unhealthy", data };
}

/** Returns undefined if the change says nothing of a pause. */
export function pauseNotice(group: GroupName, { paused, pause = {} }: GroupChange): Told | undefined {
  if (paused === undefined) return undefined;
  const about = { tenant: ONLY_TENANT, group };
  const { actor, reason, drain } = pause;
  const by = actor === undefined ? {} : { actor };
  if (!paused) return { ...about, type: "group.resumed", data: { group, ...by } satisfies EventData<"group.resumed"> };
  const data = { group, ...by, ...(reason !== undefined && { reason }), ...(drain === true && { drain }) };
  return { ...about, type: "group.paused", data: data satisfies EventData<"group.paused"> };
}

/** Returns the first part of the notice's id. The second part is the number of the change, so that one change has one id. */
export const groupNotices = (installation: Installation, group: GroupName): string => `${installation}/group/${group}/`;
