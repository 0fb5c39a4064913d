/**
 * The notice that tells of a change of a group's health.
 *
 * The bugs this prevents: a group that upstream takes for healthy, since the launcher that found the problem died before it
 * published; and one change that five launchers report five times.
 */
import { diagnose, withoutBlanks } from "@longshore/contract/messages/diagnosis.ts";
import type { EventData } from "@longshore/contract/messages/event.ts";
import { type GroupName, type Installation, ONLY_TENANT } from "@longshore/contract/ids.ts";
import type { GroupChange, Notice } from "./port.ts";

/**
 * Returns undefined if the change does not name the health, or only says that it is unknown. The ledger adds the time and the
 * id.
 */
export function healthNotice(
  group: GroupName,
  { health, diagnosis }: GroupChange,
): Pick<Notice, "tenant" | "group" | "type" | "data"> | undefined {
  if (health === undefined || health === "unknown") return undefined;
  const about = { tenant: ONLY_TENANT, group };
  if (health === "healthy") return { ...about, type: "group.healthy", data: { group } satisfies EventData<"group.healthy"> };
  const why = diagnosis ?? diagnose("Unknown", `The group "${group}" cannot be used, and no cause was given.`);
  const data = { group, diagnosis: withoutBlanks(why, { group }) } satisfies EventData<"group.unhealthy">;
  return { ...about, type: "group.unhealthy", data };
}

/** Returns the first part of the notice's id. The second part is the number of the change, so that one change has one id. */
export const healthNotices = (installation: Installation, group: GroupName): string => `${installation}/group/${group}/`;
