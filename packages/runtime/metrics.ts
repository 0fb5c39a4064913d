/**
 * Every metric of Longshore in one table, and the registry of one program.
 *
 * The bugs this prevents: two programs in one process (`longshore up`) that write into one global registry, a metric that code
 * and dashboard spell differently, and a gauge that reads 0 although nobody measured it: a metric is absent until it is first
 * set. No label holds a run's id: the number of series must not grow with the number of runs.
 */
import { createRequire } from "node:module";
import type prometheus from "prom-client";

/** prom-client's index also loads OpenTelemetry for metrics that we do not have: a tenth of a second of each program's start. */
const part = createRequire(import.meta.url);
const Registry = part("prom-client/lib/registry.js") as typeof prometheus.Registry;
const Counter = part("prom-client/lib/counter.js") as typeof prometheus.Counter;
const Gauge = part("prom-client/lib/gauge.js") as typeof prometheus.Gauge;
const Histogram = part("prom-client/lib/histogram.js") as typeof prometheus.Histogram;

type Kind = "counter" | "gauge" | "histogram";

interface Declared {
  readonly kind: Kind;
  readonly labels: readonly string[];
  readonly help: string;
}

// biome-ignore format: a table is read down its columns
export const METRICS = {
  longshore_commands_total:                       { kind: "counter",   labels: ["type", "outcome"],              help: "Commands settled, by what became of them" },
  longshore_runs_finished_total:                  { kind: "counter",   labels: ["group", "outcome", "code", "blame"], help: "Runs that ended, by how and by whose doing" },
  longshore_run_phase_duration_seconds:           { kind: "histogram", labels: ["group", "phase"],               help: "How long runs waited, were scheduled, pulled and ran" },
  longshore_group_up:                             { kind: "gauge",     labels: ["group"],                        help: "1 while the group's API server answers" },
  longshore_group_slots:                          { kind: "gauge",     labels: ["group"],                        help: "Jobs that the group's limits allow at once" },
  longshore_group_slots_used:                     { kind: "gauge",     labels: ["group"],                        help: "Jobs that hold a slot now" },
  longshore_group_paused:                         { kind: "gauge",     labels: ["group"],                        help: "1 while the group is paused by `longshore group pause` or `drain`" },
  longshore_group_unwatched_seconds:              { kind: "gauge",     labels: ["group"],                        help: "Seconds since a watcher's view of the group was last fresh, as launchers heard; since the group's first Job if it never was" },
  longshore_token_seconds_left:                   { kind: "gauge",     labels: ["group"],                        help: "Seconds until the group's token expires, as the token says; the kubelet's own are not told" },
  longshore_watch_staleness_seconds:              { kind: "gauge",     labels: ["group"],                        help: "Seconds since the watcher's watch last proved that it lives, or since it began" },
  longshore_watch_relists_total:                  { kind: "counter",   labels: ["group", "reason"],              help: "Times that a watch had to list anew" },
  longshore_outbox_events:                        { kind: "gauge",     labels: [],                               help: "Events recorded and not yet published" },
  longshore_outbox_oldest_event_seconds:          { kind: "gauge",     labels: [],                               help: "Age of the oldest event not yet published" },
  longshore_holds:                                { kind: "gauge",     labels: ["group", "job_state"],           help: "Jobs that carry our hold (finalizer)" },
  longshore_oldest_finished_hold_seconds:         { kind: "gauge",     labels: ["group"],                        help: "Seconds that the oldest finished Job has waited for its release" },
  longshore_unaccounted:                          { kind: "gauge",     labels: [],                               help: "Things on which ledger, Jobs and events do not agree; must be 0" },
  longshore_tally_last_success_timestamp_seconds: { kind: "gauge",     labels: ["group"],                        help: "When the group's last tally ended well" },
  longshore_quarantine_messages:                  { kind: "gauge",     labels: [],                               help: "Messages that nobody could read" },
  longshore_kubernetes_requests_total:            { kind: "counter",   labels: ["group", "purpose", "code"],     help: "Requests to API servers; code is the status, or the reason why no answer came" },
  longshore_announcements_total:                  { kind: "counter",   labels: ["outcome"],                      help: "Announcements of groups that a watcher heard, by what became of them" },
  longshore_logs_followed:                       { kind: "gauge",     labels: [],                               help: "Logs that the watcher sends to readers now, while their programs run" },
  longshore_definition_problems:                  { kind: "gauge",     labels: [],                               help: "Problems in the definitions' files, as last read; while there are any, the definitions stay as they were" },
  longshore_sink_requests_total:                  { kind: "counter",   labels: ["sink", "code"],                 help: "Requests to sinks; code is the status, or the reason why no answer came" },
  longshore_sink_behind_seconds:                  { kind: "gauge",     labels: ["sink"],                         help: "Age of the oldest event that the sink's feed has not read; an open transaction anywhere on the ledger's server holds it back" },
  longshore_sink_waiting:                         { kind: "gauge",     labels: ["sink"],                         help: "Runs with events that the sink is not told yet" },
  longshore_sink_oldest_seconds:                  { kind: "gauge",     labels: ["sink"],                         help: "Age of the oldest event that was read and not told" },
  longshore_sink_parked:                          { kind: "gauge",     labels: ["sink"],                         help: "Requests and runs of the sink that wait for a person" },
  longshore_sink_stopped:                         { kind: "gauge",     labels: ["sink"],                         help: "1 if the sink said that it is gone for good (410)" },
  longshore_sink_breaker_open:                    { kind: "gauge",     labels: ["sink"],                         help: "1 while the sink fails, and is asked once in a while only" },
  longshore_http_requests_total:                 { kind: "counter",   labels: ["route", "status"],              help: "Requests to the console, by route and status" },
  longshore_http_streams:                        { kind: "gauge",     labels: [],                               help: "Open pages that the console tells of changes" },
  longshore_http_refusals_total:                 { kind: "counter",   labels: ["reason"],                       help: "Requests that the console refused, by why" },
  longshore_part_up:                             { kind: "gauge",     labels: ["part"],                         help: "1 while the part is ready, as /readyz says it in words" },
  longshore_build_info:                           { kind: "gauge",     labels: ["service", "version", "node"],   help: "1; the labels name the program and its versions" },
} as const satisfies Readonly<Record<string, Declared>>;

const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 4 * 3600];

type Named<K extends Kind> = {
  [N in keyof typeof METRICS]: (typeof METRICS)[N]["kind"] extends K ? N : never;
}[keyof typeof METRICS];
export type Labels<N extends keyof typeof METRICS> = Readonly<Record<(typeof METRICS)[N]["labels"][number], string>>;

export interface Metrics {
  count<N extends Named<"counter">>(name: N, labels: Labels<N>, by?: number): void;
  set<N extends Named<"gauge">>(name: N, labels: Labels<N>, value: number): void;
  /** Sets all series of the gauge at once: a series that is not given disappears, as its group or state did. */
  replace<N extends Named<"gauge">>(name: N, rows: readonly { readonly labels: Labels<N>; readonly value: number }[]): void;
  /** Removes gauges that could not be measured: their last number would look current. */
  forget(names: readonly Named<"gauge">[]): void;
  observe<N extends Named<"histogram">>(name: N, labels: Labels<N>, seconds: number): void;
  /** In Prometheus' text format. */
  text(): Promise<string>;
}

export function openMetrics(service: string, version: string): Metrics {
  const registry = new Registry();
  const counters = lazily((name, it) => new Counter({ name, help: it.help, labelNames: it.labels, registers: [registry] }));
  const gauges = lazily((name, it) => new Gauge({ name, help: it.help, labelNames: it.labels, registers: [registry] }));
  const histograms = lazily(
    (name, it) => new Histogram({ name, help: it.help, labelNames: it.labels, buckets: SECONDS, registers: [registry] }),
  );
  const metrics: Metrics = {
    count: (name, labels, by = 1) => counters(name).inc({ ...labels }, by),
    set: (name, labels, value) => gauges(name).set({ ...labels }, value),
    replace(name, rows) {
      gauges(name).reset();
      for (const { labels, value } of rows) gauges(name).set({ ...labels }, value);
    },
    forget(names) {
      for (const name of names) {
        gauges(name).reset();
        if (METRICS[name].labels.length === 0) gauges(name).remove(); // reset() sets a gauge without labels to 0
      }
    },
    observe: (name, labels, seconds) => histograms(name).observe({ ...labels }, seconds),
    text: () => registry.metrics(),
  };
  metrics.set("longshore_build_info", { service, version, node: process.versions.node }, 1);
  return metrics;
}

function lazily<M>(make: (name: string, declared: Declared) => M): (name: keyof typeof METRICS) => M {
  const made = new Map<string, M>();
  return (name) => {
    const existing = made.get(name);
    if (existing !== undefined) return existing;
    const metric = make(name, METRICS[name]);
    made.set(name, metric);
    return metric;
  };
}
