/** The particulars of an event that a list of runs shows. The Postgres ledger picks the same in SQL, so that no log is read for it. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { RunEventType } from "@longshore/contract/event.ts";
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
