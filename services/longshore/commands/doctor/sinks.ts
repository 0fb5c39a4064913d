/**
 * What recorders do not tell, and why.
 *
 * The failure this prevents: "all well" while an application waits for an event that stays in the ledger.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { SinkState } from "@longshore/ledger/deliveries.ts";
import { openDeliveries } from "@longshore/ledger/open-deliveries.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { configWords } from "../../command.ts";
import { span } from "../../screen/times.ts";
import type { Longshore } from "../../which-longshore.ts";
import type { Finding } from "./doctor.ts";

/** A feed that is further behind is held back by something that lasts. */
const BEHIND_MS = 60_000;
/** The recorder's own transactions, and a launcher's, take milliseconds. */
const WHO =
  "select pid, datname, usename, xact_start, query from pg_stat_activity where backend_xid is not null order by xact_start limit 3";

export async function sinks(
  { ledgerUrl: url, installation }: Longshore,
  _: AbortSignal,
  config?: string,
): Promise<readonly Finding[]> {
  try {
    await using deliveries = await openDeliveries({ url, installation, log: silentLog });
    return (await deliveries.states()).map((it) => findingOf(it, configWords(config)));
  } catch (error) {
    if (error instanceof Failure) return []; // the ledger's own line says it
    throw error;
  }
}

export function findingOf(
  { name, owner, stopped, waiting, oldestMs, behindMs, parkedLines, parkedRequests, failure }: SinkState,
  where: string,
): Finding {
  const part = `sink ${name}`;
  const parked = parkedLines + parkedRequests;
  const retry = `longshore sinks retry${where} ${name}`;
  const late = behindMs > BEHIND_MS;
  if (stopped !== undefined)
    return { part, state: "FAIL", says: `stopped. ${stopped.sentence}`, todo: `if its address is right, go on: ${retry}` };
  if (owner === undefined) {
    const todo = `start one: npm run recorder -- --config FILE; if its settings have the sink no more: longshore sinks forget${where} ${name}`;
    return waiting > 0 || late
      ? { part, state: "FAIL", says: "no recorder serves it, and events wait", todo }
      : { part, state: "WARN", says: "no recorder serves it", todo };
  }
  if (late) {
    const says = `events are read ${span(behindMs)} late: a transaction that is open somewhere on the ledger's server holds them back`;
    return { part, state: "WARN", says, todo: `find it in psql: ${WHO}` };
  }
  if (failure !== undefined)
    return {
      part,
      state: "WARN",
      says: `${waiting} runs wait, for ${span(oldestMs)}. ${failure.sentence}`,
      todo: `it is tried again; more: longshore sinks list${where}`,
    };
  if (parked > 0)
    return {
      part,
      state: "WARN",
      says: `${parked} refused or given up`,
      todo: `see longshore sinks list${where}; then ${retry}, or drop`,
    };
  return { part, state: "ok", says: waiting === 0 ? "all is told" : `${waiting} runs are being told` };
}
