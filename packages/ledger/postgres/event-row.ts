/** A row of an event with its run's marks, as the relay and the recorder read it. */
import type { RunEventType } from "@longshore/contract/event.ts";
import type { GroupName, RunId, TenantName } from "@longshore/contract/ids.ts";
import type { OutboxEvent } from "../port.ts";

export interface EventColumns {
  readonly key: string;
  readonly run: RunId;
  readonly tenant: TenantName;
  readonly sequence: number;
  readonly generation: number;
  readonly epoch: number;
  readonly group_name: GroupName | null;
  readonly type: RunEventType;
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
