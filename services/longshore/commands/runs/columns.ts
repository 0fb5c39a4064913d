/**
 * The columns of `runs list`.
 *
 * The failure this prevents: a run of which nothing ran looks like any other success.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { Ledger, RunRow } from "@longshore/ledger/port.ts";
import { isPocket } from "../../place.ts";
import type { Column } from "../../screen/rows.ts";
import type { Screen } from "../../screen/screen.ts";
import { shortened } from "../../screen/text.ts";
import { span, timeText } from "../../screen/times.ts";
import { endMs, statusOf, statusText, withoutProgram } from "../../status.ts";
import { isWithoutCommand } from "../../terminal.ts";
import type { Longshore } from "../../which-longshore.ts";

/** If there is no room for a whole time, a run's age still tells when it was. */
const NARROW_MOST = 79;

/** The runs that succeeded in the pocket without a program. */
export async function emptyAmong(
  rows: readonly RunRow[],
  ledger: Pick<Ledger, "find">,
  { installation }: Pick<Longshore, "installation">,
): Promise<ReadonlySet<RunId>> {
  const empty = new Set<RunId>();
  for (const { id, outcome, group } of rows) {
    if (outcome !== "succeeded" || !isPocket(installation, group)) continue;
    const request = (await ledger.find(id))?.request;
    if (request !== undefined && isWithoutCommand(request)) empty.add(id);
  }
  return empty;
}

export const columnsFor = (
  { columns = Number.POSITIVE_INFINITY }: Screen,
  nowMs: number,
  empty: ReadonlySet<RunId>,
): readonly Column<RunRow>[] => [
  { head: "STATE", cell: (it) => (empty.has(it.id) ? withoutProgram(statusOf(it)) : statusText(statusOf(it))) },
  { head: "RUN", yields: true, shorten: shortened, cell: ({ id }) => id },
  { head: "GROUP", goes: 1, cell: ({ group }) => group ?? "-" },
  columns <= NARROW_MOST
    ? { head: "AGE", goes: 2, cell: ({ acceptedAtMs }) => span(Math.max(0, nowMs - acceptedAtMs)) }
    : { head: "ACCEPTED", goes: 2, cell: ({ acceptedAtMs }) => timeText(acceptedAtMs) },
  { head: "TOOK", cell: (it) => tookText(it, nowMs) },
];

/** From the last restart, if there was one, to the run's own end, as in the run's story. */
function tookText({ begunAtMs, endedAtMs, finishedAtMs }: RunRow, nowMs: number): string {
  if (endedAtMs === undefined) return `${span(Math.max(0, nowMs - begunAtMs))} so far`;
  return span(Math.max(0, endMs(endedAtMs, finishedAtMs) - begunAtMs));
}
