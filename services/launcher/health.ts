/** What the launcher's probes and metrics say: each part's state, and gauges counted from the ledger when they are asked for. */
import type { HealthOptions, PartState } from "@longshore/runtime/health.ts";
import type { Parts } from "./parts.ts";

export function launcherHealth(listen: string, { ledger, broker, metrics, clock }: Parts): HealthOptions {
  return { listen, metrics, clock, parts: { broker: () => brokerState(), ledger: ledgerState }, refresh };

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
    const [counts, groups] = await Promise.all([ledger.counts(), ledger.groups()]);
    metrics.set("longshore_outbox_events", {}, counts.outbox);
    metrics.set("longshore_outbox_oldest_event_seconds", {}, (counts.outboxOldestMs ?? 0) / 1000);
    metrics.replace(
      "longshore_group_slots",
      groups.map(({ name, jobsMax }) => ({ labels: { group: name }, value: jobsMax })),
    );
    metrics.replace(
      "longshore_group_slots_used",
      groups.map(({ name, slotsUsed }) => ({ labels: { group: name }, value: slotsUsed })),
    );
  }
}
