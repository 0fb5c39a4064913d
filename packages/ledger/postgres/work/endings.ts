/**
 * How each generation of a run ended, for counts and pages: one row for each terminal event, written by the statement that writes
 * the event.
 *
 * The failure this prevents: a page that reads a million stories to say how often a job fails. A restart begins another generation,
 * so an ending counts only while its generation and outcome are the run's.
 */
import { type EventData, isTerminal, type Outcome } from "@longshore/contract/messages/event.ts";
import type { DefinitionName, GroupName } from "@longshore/contract/ids.ts";
import type { Change } from "@longshore/domain/run/change.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import type { Ends } from "../../port.ts";

export interface Ending extends Omit<Ends, "group" | "n"> {
  readonly generation: number;
  readonly definition: DefinitionName | undefined;
  readonly group_name: GroupName | undefined;
  /** From the first start of a program to the last end of one, by the cluster's clock. Absent if nothing ran. */
  readonly seconds: number | undefined;
  readonly ended_at: number;
}

export const endingsOf = ({ told, after }: Change, nowMs: number): readonly Ending[] =>
  told.flatMap(({ told: it, generation }) => {
    const end = endIn(it);
    if (end === undefined) return [];
    return {
      ...end,
      generation,
      definition: after.run.plan.definition?.name,
      group_name: it.group,
      seconds: secondsOf(after.attempts.filter((of) => of.generation === generation)),
      ended_at: nowMs,
    };
  });

/** Returns how a terminal event says that its run ended; undefined for any other event. */
export function endIn({ type, data }: { readonly type: string; readonly data: object }): Omit<Ends, "group" | "n"> | undefined {
  if (!isTerminal(type)) return undefined;
  const { diagnosis } = data as Partial<EventData<"run.failed">>;
  return { outcome: type.replace(/^run\./, "") as Outcome, code: diagnosis?.code ?? "", blame: diagnosis?.blame ?? "" };
}

function secondsOf(attempts: readonly Attempt[]): number | undefined {
  const times = (which: "startedAt" | "finishedAt"): readonly number[] =>
    attempts.map(({ outcome }) => Date.parse(outcome?.evidence?.[which] ?? "")).filter((it) => !Number.isNaN(it));
  const [starts, ends] = [times("startedAt"), times("finishedAt")];
  if (starts.length === 0 || ends.length === 0) return undefined;
  return Math.max(0, (Math.max(...ends) - Math.min(...starts)) / 1000);
}
