/** The recorder's readiness and metrics, counted from the ledger at each scrape. */
import type { HealthOptions } from "@longshore/runtime/health.ts";
import { within } from "@longshore/runtime/loop.ts";
import type { Parts } from "./parts.ts";

/** Less than the ten seconds that a scraper waits by default. */
const ASKING_MS = 5_000;

const FROM_LEDGER = [
  "longshore_sink_behind_seconds",
  "longshore_sink_waiting",
  "longshore_sink_oldest_seconds",
  "longshore_sink_parked",
  "longshore_sink_stopped",
] as const;

export function recorderHealth({
  ledger,
  metrics,
  clock,
  sinks,
  log,
}: Parts): Required<Pick<HealthOptions, "parts" | "refresh">> {
  const asking = () => ({ clock, ms: ASKING_MS, signal: new AbortController().signal, what: "asking the ledger" });
  const names = new Set(sinks.map(({ name }) => name));
  const states = async () => (await within(asking(), () => ledger.states())).filter(({ name }) => names.has(name));

  async function refresh(): Promise<void> {
    for (const { name, breaker } of sinks) metrics.set("longshore_sink_breaker_open", { sink: name }, breaker.isOpen() ? 1 : 0);
    try {
      const found = await states();
      const tell = (gauge: (typeof FROM_LEDGER)[number], of: (it: (typeof found)[number]) => number) =>
        metrics.replace(gauge, found.map((it) => ({ labels: { sink: it.name }, value: of(it) }))); // biome-ignore format: one call
      tell("longshore_sink_behind_seconds", (it) => it.behindMs / 1000);
      tell("longshore_sink_waiting", (it) => it.waiting);
      tell("longshore_sink_oldest_seconds", (it) => it.oldestMs / 1000);
      tell("longshore_sink_parked", (it) => it.parkedLines + it.parkedRequests);
      tell("longshore_sink_stopped", (it) => (it.stopped === undefined ? 0 : 1));
    } catch (error) {
      metrics.forget(FROM_LEDGER);
      log.warn("the ledger could not be counted", { error });
    }
  }

  return {
    parts: {
      ledger: async () => ({ ready: true, says: `${(await states()).length} of ${names.size} sinks` }),
    },
    refresh,
  };
}
