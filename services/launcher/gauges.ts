/** The launcher's readiness and metrics: each part's state, and gauges that are counted from the ledger at each scrape. */
import type { GroupName } from "@longshore/contract/ids.ts";
import { isFenced } from "@longshore/domain/run/record.ts";
import type { Standing } from "@longshore/ledger/port.ts";
import type { HealthOptions, PartState } from "@longshore/runtime/health.ts";
import { within } from "@longshore/runtime/loop.ts";
import type { Parts } from "./parts.ts";
import { unwatchedForMs } from "@longshore/domain/group/unwatched.ts";

/** Less than the ten seconds that a scraper waits by default. */
const ASKING_MS = 5_000;

/** Gauges that are counted anew at each scrape. While the ledger is away they are absent, and `longshore_part_up` says why. */
const FROM_LEDGER = [
  "longshore_outbox_events",
  "longshore_outbox_oldest_event_seconds",
  "longshore_group_slots",
  "longshore_group_slots_used",
  "longshore_group_paused",
  "longshore_group_unwatched_seconds",
  "longshore_holds",
  "longshore_oldest_finished_hold_seconds",
] as const;
type FromLedger = (typeof FROM_LEDGER)[number];

interface Standings {
  readonly group: GroupName;
  readonly standing: readonly Counted[];
}

/** The fields of a standing attempt that the gauges count. */
interface Counted {
  readonly launchedAtMs: number | undefined;
  readonly hold: "running" | "finished" | undefined;
  /** Absent if a create may still land on the attempt's name: then its hold stays on purpose. */
  readonly endedAtMs: number | undefined;
}

type Health = Required<Pick<HealthOptions, "parts" | "refresh">>;

export function launcherHealth({ ledger, broker, metrics, clock, clusters, log }: Parts): Health {
  return { parts: { broker: () => brokerState(), ledger: ledgerState }, refresh };

  function brokerState(): PartState {
    const status = broker.status();
    switch (status.kind) {
      case "connected":
        return { ready: true, says: "connected" };
      case "blocked":
        return { ready: true, says: `takes no messages at present: ${status.reason}` };
      case "reconnecting":
        return { ready: false, says: `reconnecting since ${new Date(status.sinceMs).toISOString()}: ${status.lastError}` };
    }
  }

  async function ledgerState(): Promise<PartState> {
    const { product, schema } = await ledger.describe();
    return { ready: true, says: `${product}, schema ${schema}` };
  }

  async function refresh(): Promise<void> {
    await Promise.all([fromLedger(), quarantine()]);
  }

  async function fromLedger(): Promise<void> {
    try {
      await within(asking("the ledger"), count);
    } catch (error) {
      metrics.forget(FROM_LEDGER);
      log.warn("the ledger could not be counted", { error });
    }
  }

  /** The type makes sure that every gauge set here is also forgotten while the ledger is away. */
  function tell<N extends FromLedger>(name: N, rows: Parameters<typeof metrics.replace<N>>[1]): void {
    metrics.replace(name, rows);
  }

  async function count(): Promise<void> {
    const [counts, groups, rows, nowMs] = await Promise.all([ledger.counts(), ledger.groups(), standing(), ledger.now()]);
    holds(rows);
    tell("longshore_outbox_events", [{ labels: {}, value: counts.outbox }]);
    tell("longshore_outbox_oldest_event_seconds", [{ labels: {}, value: (counts.outboxOldestMs ?? 0) / 1000 }]);
    tell(
      "longshore_group_slots",
      groups.map(({ name, settings }) => ({ labels: { group: name }, value: settings.limits.jobs })),
    );
    tell(
      "longshore_group_slots_used",
      groups.map(({ name, slotsUsed }) => ({ labels: { group: name }, value: slotsUsed })),
    );
    tell(
      "longshore_group_paused",
      groups.map(({ name, paused }) => ({ labels: { group: name }, value: paused ? 1 : 0 })),
    );
    tell(
      "longshore_group_unwatched_seconds",
      rows.flatMap(({ group, standing }) => {
        const found = groups.find(({ name }) => name === group);
        const launched = standing.flatMap(({ launchedAtMs }) => launchedAtMs ?? []);
        const forMs = found && unwatchedForMs(found, launched, nowMs);
        return forMs === undefined ? [] : [{ labels: { group }, value: forMs / 1000 }];
      }),
    );
  }

  /** Counts our own groups only: a group that left every groups file is rightly watched by nobody. */
  async function standing(): Promise<readonly Standings[]> {
    const nowMs = clock.now();
    const of = async (group: GroupName) => ({ group, standing: await ledger.standing(group, (it) => countedOf(it, nowMs)) });
    return await Promise.all([...clusters.keys()].map(of));
  }

  /** Counts holds by the ledger, not by the clusters: each attempt that has a Job and is not done has a hold. */
  function holds(rows: readonly Standings[]): void {
    const nowMs = clock.now();
    const of = rows.flatMap(({ group, standing }) => {
      const finished = standing.filter(({ hold }) => hold === "finished");
      const running = standing.filter(({ hold }) => hold === "running").length;
      const oldestMs = finished.reduce((most, { endedAtMs = nowMs }) => Math.max(most, nowMs - endedAtMs), 0);
      return [{ group, running, finished: finished.length, oldestMs }];
    });
    tell(
      "longshore_holds",
      of.flatMap(({ group, running, finished }) => [
        { labels: { group, job_state: "running" }, value: running },
        { labels: { group, job_state: "finished" }, value: finished },
      ]),
    );
    tell(
      "longshore_oldest_finished_hold_seconds",
      of.map(({ group, oldestMs }) => ({ labels: { group }, value: oldestMs / 1000 })),
    );
  }

  /** Unlike the others this gauge keeps its last value: no message leaves the quarantine while the broker is away. */
  async function quarantine(): Promise<void> {
    try {
      const { waiting } = await within(asking("the broker"), (signal) => broker.inspect(signal));
      metrics.set("longshore_quarantine_messages", {}, waiting.quarantine);
    } catch (error) {
      log.debug("the quarantine could not be counted", { error });
    }
  }

  function asking(whom: string) {
    return { clock, ms: ASKING_MS, signal: new AbortController().signal, what: `asking ${whom}` };
  }
}

function countedOf({ attempt }: Standing, nowMs: number): Counted {
  const { state, uid, outcome, notes } = attempt;
  return {
    launchedAtMs: notes.launchedAtMs,
    hold: uid === undefined ? undefined : state === "ended" ? "finished" : "running",
    endedAtMs: isFenced(attempt, nowMs) ? undefined : outcome?.endedAtMs,
  };
}
