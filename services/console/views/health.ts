/**
 * How the whole is, row by row: well, to be looked at, or broken, and what to do.
 *
 * The failure this prevents: a page that is green because the part that would report a trouble is the one that is away.
 */
import type { BrokerReport, BrokerStatus } from "@longshore/broker/port.ts";
import { endOfWait, WAITING } from "@longshore/contract/messages/waiting.ts";
import { isUnserved } from "@longshore/domain/group/group.ts";
import { NO_LAUNCHER, toldOf } from "@longshore/domain/group/told.ts";
import { type Finding, findingsOn, isLate, some, unsent } from "@longshore/ledger/findings.ts";
import type { LedgerHealth, Waiting } from "@longshore/ledger/pages.ts";
import type { GroupState } from "@longshore/ledger/port.ts";
import type { HealthRow } from "../answers-for-operators.ts";
import { span } from "../page/words.ts";

export interface Asked {
  readonly groups: readonly GroupState[];
  readonly health: LedgerHealth;
  readonly broker: {
    readonly status: BrokerStatus;
    /** An error: the broker did not say, or may not tell our user. */
    readonly report: BrokerReport | Error;
    /** How a person finds the messages that nobody could read. */
    readonly quarantine: string;
  };
}

export function healthView({ groups, health, broker }: Asked, nowMs: number): readonly HealthRow[] {
  const { counts } = health;
  const served = counts.hasLauncher ? groups.filter((it) => !isUnserved(it, nowMs)) : [];
  return [
    launchers(health),
    watchers(served, nowMs),
    ...ofBroker(broker),
    { part: "events", state: isLate(counts) ? "look" : "ok", says: unsent(counts) },
    ...findingsOn(counts, span).map(rowOf),
    ...health.waiting.flatMap((it) => waits(it, nowMs)),
    strays(counts.strays),
    accounting(served, health, nowMs),
    names(health, broker.report),
  ];
}

const STATES = { ok: "ok", WARN: "look", FAIL: "broken" } as const;
const rowOf = ({ state, ...finding }: Finding): HealthRow => ({ ...finding, state: STATES[state] });

function launchers({ launchers: owners, counts }: LedgerHealth): HealthRow {
  const part = "launchers";
  if (counts.hasLauncher) return { part, state: "ok", says: `${some(owners.length, "launcher")}: ${owners.join(", ")}` };
  return {
    part,
    state: "broken",
    says: `${NO_LAUNCHER}: nobody takes commands and facts, or publishes events`,
    todo: "start one; if one was started, its log says why it stopped",
  };
}

function watchers(served: readonly GroupState[], nowMs: number): HealthRow {
  const part = "watchers";
  const troubles = served.flatMap((it) => toldOf(it, { nowMs, hasLauncher: true }).trouble ?? []);
  const [first] = troubles;
  if (first !== undefined)
    return { part, state: "look", says: troubles.map(({ sentence }) => sentence).join(" "), todo: first.hint };
  if (served.length === 0) return { part, state: "ok", says: "no launcher serves a group, so there is nothing to watch" };
  const oldestMs = Math.max(...served.map(({ watchedAtMs = nowMs }) => nowMs - watchedAtMs));
  return { part, state: "ok", says: `each served group was seen in the last ${span(Math.max(1_000, oldestMs))}` };
}

function ofBroker({ status, report, quarantine }: Asked["broker"]): readonly HealthRow[] {
  const part = "broker";
  if (status.kind === "reconnecting")
    return [{ part, state: "broken", says: `it is away: ${status.lastError}`, todo: "start it, or see whether it is reached; deeds wait until then" }]; // biome-ignore format: one row
  if (status.kind === "blocked")
    return [{ part, state: "broken", says: `it takes no messages at present: ${status.reason}`, todo: "give it room" }];
  if (report instanceof Error)
    return [{ part, state: "look", says: `it did not say how much waits there: ${report.message}`, todo: "ask `longshore doctor`, which may have another user" }]; // biome-ignore format: one row
  const { product, user, waiting } = report;
  return [
    { part, state: "ok", says: `${product}, user ${user}; waiting: ${some(waiting.commands, "command")}, ${some(waiting.facts, "fact")}` },
    waiting.quarantine === 0
      ? { part: "quarantine", state: "ok", says: "every message could be read" }
      : { part: "quarantine", state: "look", says: `${some(waiting.quarantine, "message")} in quarantine: nobody could read them`, todo: `look at them in the broker: ${quarantine}` },
  ]; // biome-ignore format: two rows
}

/** A wait that passes by itself needs nobody. It is told all the same, since people ask why nothing starts. */
function waits({ reason, count, sinceMs, oldest }: Waiting, nowMs: number): readonly HealthRow[] {
  if (reason === undefined) return [];
  const row = WAITING[reason];
  const needsPerson = row.mend !== undefined || reason === "GroupsPaused";
  const says = `${some(count, "run")} ${count === 1 ? "waits" : "wait"} (${reason}), the oldest for ${span(nowMs - sinceMs)}: ${oldest}. ${row.meaning}`;
  return [{ part: "waiting", state: needsPerson ? "look" : "ok", says, todo: needsPerson ? (row.todo ?? endOfWait(row)) : `passes by itself: ${endOfWait(row)}` }]; // biome-ignore format: one row
}

const strays = (count: number): HealthRow => ({
  part: "strays",
  state: "ok",
  says: count === 0 ? "every Job belongs to an attempt" : `${some(count, "Job")} that ${count === 1 ? "belongs" : "belong"} to no attempt ${count === 1 ? "is" : "are"} being deleted`,
}); // biome-ignore format: one row

/** A tally that is older than this is late: launchers compare every group each minute. */
const TALLY_LATE_MS = 15 * 60_000;

function accounting(served: readonly GroupState[], { counts }: LedgerHealth, nowMs: number): HealthRow {
  const part = "accounting";
  const unknown = served.flatMap(({ name, tally }) =>
    tally !== undefined && tally.unknown > 0 ? [`${tally.unknown} in ${name}`] : [],
  );
  const sum =
    served.reduce((all, { tally }) => all + (tally?.unknown ?? 0), 0) + counts.overdue + (isLate(counts) ? counts.outbox : 0);
  if (sum > 0) {
    const says = `${sum} unaccounted${unknown.length === 0 ? "" : `; Jobs that the ledger does not know: ${unknown.join(", ")}`}`;
    return {
      part,
      state: "broken",
      says,
      todo: "the launcher's log names them at each tally; deploy/README.md says what each may be",
    };
  }
  const never = served.filter(({ tally }) => tally === undefined).map(({ name }) => name);
  const ages = served.flatMap(({ tally }) => (tally === undefined ? [] : [nowMs - tally.atMs]));
  const late = ages.some((it) => it > TALLY_LATE_MS);
  const age = ages.length === 0 ? "" : `, compared ${span(Math.max(...ages))} ago`;
  if (never.length > 0 || late)
    return { part, state: "look", says: `0 unaccounted${age}${never.length === 0 ? "" : `; never compared: ${never.join(", ")}`}`, todo: "does a launcher reach the group? Its first comparison comes within minutes" }; // biome-ignore format: one row
  return { part, state: "ok", says: `0 unaccounted${age}` };
}

/** A launcher leaves a person's name out if it comes from a broker user that is no operator, and takes no deed on a group from one. */
function names({ deeds }: LedgerHealth, report: BrokerReport | Error): HealthRow {
  const part = "names";
  const user = report instanceof Error ? "the console's broker user" : `the console's broker user \`${report.user}\``;
  const todo = `add ${user} to the launcher's setting \`operators\``;
  switch (deeds) {
    case undefined:
      return { part, state: "ok", says: "nobody has done anything here yet, so it is not known whether the launcher takes people's names from us" };
    case "named":
      return { part, state: "ok", says: "the launcher takes people's names from this console" };
    case "anonymous":
      return { part, state: "look", says: "the launcher leaves out who asked: runs tell no person, and nobody's own runs are found", todo };
    case "refused":
      return { part, state: "broken", says: "the launcher takes no deed on a group from this console", todo };
  } // biome-ignore format: one row each
}
