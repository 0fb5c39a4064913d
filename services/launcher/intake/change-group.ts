/**
 * Commands about a group: it is paused or resumed in the ledger, where every launcher reads it.
 *
 * The bug this prevents: a pause that the broker delivers once more, after somebody has resumed the group.
 */
import { ONLY_TENANT as TENANT } from "@longshore/contract/ids.ts";
import type { Command, GroupCommandType } from "@longshore/contract/messages/command.ts";
import type { Refused } from "@longshore/contract/messages/envelope.ts";
import type { Parts } from "../parts.ts";

type GroupCommand = Extract<Command, { readonly type: GroupCommandType }>;
export type RunCommand = Exclude<Command, GroupCommand>;

export const isAboutGroup = (asked: Command | Refused): asked is GroupCommand => !("problems" in asked) && "group" in asked.data;

/** Returns the refusal if no group has this name. */
export async function changeGroup(
  { ledger, metrics, log }: Pick<Parts, "ledger" | "metrics" | "log">,
  { type, id, source, data }: GroupCommand,
): Promise<"done" | Refused> {
  const { group, ...pause } = data;
  const known = (await ledger.groups()).map(({ name }) => name);
  if (!known.includes(group)) {
    const message = `No group is named "${group}"; ${known.length === 0 ? "there is none yet" : `there is ${known.join(", ")}`}.`;
    return {
      kind: "refused",
      id,
      source,
      type,
      run: undefined,
      problems: [{ path: "/data/group", code: "GroupUnknown", message }],
    };
  }
  const isFirst = await ledger.commandGroup(
    group,
    { paused: type === "group.pause", pause },
    { tenant: TENANT, source, command: id },
  );
  if (isFirst) log.info("command.taken", { type, group, source, command: id });
  metrics.count("longshore_commands_total", { type, outcome: isFirst ? "recorded" : "duplicate" });
  return "done";
}
