/**
 * The watcher: sees what the Jobs of each group do, and says so to the launcher. It reads clusters and writes nothing there.
 *
 *   cluster A ──▶ watch-group ─┐
 *   cluster B ──▶ watch-group ─┴─▶ facts
 *
 * It needs no database. What it said is remembered only here, and said again after a restart: the launcher knows repeats.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { openBroker } from "@longshore/broker/open.ts";
import { readGroups } from "@longshore/kubernetes/groups.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { secretOf } from "@longshore/runtime/config-secrets.ts";
import { failpoints } from "@longshore/runtime/failpoint.ts";
import { serveHealth } from "@longshore/runtime/health.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, type Ending, together } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { runProgram } from "@longshore/runtime/program.ts";
import { WatcherConfig } from "./config.ts";
import { watcherLoops } from "./loops.ts";
import { FAILPOINTS, type Parts, TIMING } from "./parts.ts";

export async function watcher(config: WatcherConfig, log: Log, signal: AbortSignal): Promise<Ending> {
  const clock = systemClock;
  const { installation } = config;
  const owner = `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`;
  const metrics = openMetrics("watcher", "0.1.0");

  await using groups = await readGroups(config.groupsFile, {
    credential: "watch",
    clock,
    onRequest: (group, verb, code) => metrics.count("longshore_kubernetes_requests_total", { group, verb, code }),
  });
  await using broker = await openBroker({
    url: secretOf(config.broker, "url")?.reveal() ?? "",
    user: secretOf(config.broker, "user")?.reveal(),
    password: secretOf(config.broker, "password")?.reveal(),
    log,
    clock,
  });
  await using health = await serveHealth({
    listen: config.http.listen,
    metrics,
    parts: { broker: () => ({ ready: broker.status().kind !== "reconnecting", says: broker.status().kind }) },
  });

  const fail = failpoints(config.failpoint, FAILPOINTS);
  const parts: Parts = {
    installation,
    owner,
    clock,
    log,
    metrics,
    broker,
    clusters: groups.clusters,
    timing: TIMING,
    fail,
    pause: backOff(clock),
  };
  log.info("the watcher is up", { owner, health: health.url, groups: groups.clusters.map(({ name }) => name) });
  return await together(signal, watcherLoops(parts));
}

if (import.meta.main) await runProgram("watcher", WatcherConfig, watcher);
