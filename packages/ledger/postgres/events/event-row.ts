/** A row of an event with its run's marks, as the relay and the recorder read it. */
import type { GroupName } from "@longshore/contract/ids.ts";
import type { OutboxEvent } from "../../port.ts";

export interface EventColumns extends Omit<OutboxEvent, "group" | "traceparent" | "data" | "atMs"> {
  readonly group_name: GroupName | null;
  readonly traceparent: string | null;
  readonly body: object;
  readonly at: number;
}

export const eventOf = ({ group_name, traceparent, body, at, ...row }: EventColumns): OutboxEvent => ({
  ...row,
  group: group_name ?? undefined,
  traceparent: traceparent ?? undefined,
  data: body,
  atMs: at,
});
