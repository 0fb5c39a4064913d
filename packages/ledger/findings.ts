/**
 * What the ledger's counts mean for a person: for `longshore doctor` and for the console's page, in the same words.
 *
 * The failure this prevents: "all well" in one place, and a failure in the other.
 */
import type { Counts } from "./port.ts";

export interface Finding {
  readonly part: string;
  readonly state: "ok" | "WARN" | "FAIL";
  readonly says: string;
  /** The reader's next step. */
  readonly todo?: string;
}

export const some = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

export const unsent = ({ outbox }: Pick<Counts, "outbox">): string =>
  outbox === 0 ? "every event is published" : `${some(outbox, "event")} not published yet`;

/** An event that is unpublished for longer than this is late: the relay looks more often. */
const LATE_MS = 60_000;

export const isLate = ({ outboxOldestMs = 0 }: Pick<Counts, "outboxOldestMs">): boolean => outboxOldestMs > LATE_MS;

/** `span`: how the reader's place writes a duration. */
export function findingsOn(counts: Counts, span: (ms: number) => string): readonly Finding[] {
  const { active, cancelling } = counts.runs;
  const late: Finding = {
    part: "ledger",
    state: "FAIL",
    says: `the oldest unpublished event waits for ${span(counts.outboxOldestMs ?? 0)}`,
    todo: "is a launcher running, and does the broker take its events?",
  };
  const overdue: Finding = {
    part: "runs",
    state: "FAIL",
    says: `${some(counts.overdue, "attempt")} overdue: nobody acted on them in time`,
    todo: "is a launcher running, and does it reach its groups?",
  };
  const inTime: Finding = {
    part: "runs",
    state: "ok",
    says: `${active} active, ${cancelling} cancelling, 0 overdue; ${some(counts.ends, "end")} counted`,
  };
  return [...(isLate(counts) ? [late] : []), counts.overdue === 0 ? inTime : overdue];
}
