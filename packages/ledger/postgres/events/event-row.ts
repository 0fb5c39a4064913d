/** A row of an event with its run's marks, as the relay and the recorder read it. */
import type { GroupName } from "@longshore/contract/ids.ts";
import type { OutboxEvent } from "../../port.ts";

export interface EventColumns extends Omit<OutboxEvent, "group" | "traceparent" | "correlationId" | "data" | "atMs"> {
  readonly group_name: GroupName | null;
  readonly traceparent: string | null;
  readonly correlation_id: string | null;
  readonly body: object;
  readonly at: number;
}

export const eventOf = ({ group_name, traceparent, correlation_id, body, at, ...row }: EventColumns): OutboxEvent => ({
  ...row,
  group: group_name ?? undefined,
  traceparent: traceparent ?? undefined,
  correlationId: correlation_id ?? undefined,
  data: body,
  atMs: at,
});
