/**
 * The event by which a list tells how a run is, and its particulars. The Postgres ledger picks the same in SQL, so that no log is
 * read for it.
 *
 * The failure this prevents: a pipeline that looks well because one step goes on, while another waits for a person.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { RunEventType } from "@longshore/contract/messages/event.ts";
import type { Run } from "@longshore/domain/run/record.ts";
import type { NewestEvent } from "./port.ts";

export function newestOf({ type, data }: { readonly type: RunEventType; readonly data: unknown }): NewestEvent {
  const { reason, diagnosis, exitCode } = data as {
    readonly reason?: string;
    readonly diagnosis?: Diagnosis;
    readonly exitCode?: number;
  };
  return {
    type,
    ...(reason !== undefined && { reason }),
    ...(diagnosis && { code: diagnosis.code }),
    ...(exitCode !== undefined && { exitCode }),
  };
}

interface Told {
  readonly type: string;
  readonly data: unknown;
}

/** Returns the newest event. In an active pipeline, a step's stall or wait that still lasts goes before other steps' news. */
export function newestOfStory<E extends Told>({ state, plan }: Pick<Run, "state" | "plan">, story: readonly E[]): E | undefined {
  const newest = story.at(-1);
  if (state !== "active" || plan.simple) return newest;
  const isLast = (event: E): boolean => story.findLast((it) => stepOf(it) === stepOf(event)) === event;
  const lasting = (type: RunEventType): E | undefined => story.findLast((it) => it.type === type && isLast(it));
  return lasting("run.stalled") ?? lasting("run.waiting") ?? newest;
}

const stepOf = ({ data }: Told): unknown => (data as { readonly step?: string }).step;
