/**
 * The watcher: sees what the Jobs of each group do, and publishes it to the launcher. It reads clusters and writes nothing
 * there.
 *
 *   cluster A ──▶ watch-group ─┐
 *   cluster B ──▶ watch-group ─┴─▶ facts            and, for who asks: pods' logs ──▶ live-logs
 *
 * Its groups stand in a file, or launchers announce them (announced-groups.ts). It needs no database. It remembers only in
 * memory which facts it published, and publishes them again after a restart: the launcher recognises repeats.
 */
import { annotationOf } from "@longshore/contract/group-settings.ts";
import { openBroker } from "@longshore/broker/brokers.ts";
import { logMessages } from "@longshore/broker/log-messages.ts";
import { brokerOf } from "@longshore/broker/settings.ts";
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { sayUnverified } from "@longshore/kubernetes/access/connection.ts";
import { tellTokens } from "@longshore/kubernetes/access/token-gauge.ts";
import { type Groups, readGroups, tokensOf } from "@longshore/kubernetes/groups.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { failpoints } from "@longshore/runtime/failpoint.ts";
import { serveHealth } from "@longshore/runtime/health.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, type ProgramEnd, together } from "@longshore/runtime/loop.ts";
import { type Metrics, openMetrics } from "@longshore/runtime/metrics.ts";
import { ownerName, runProgram } from "@longshore/runtime/program.ts";
import { openStarting } from "@longshore/runtime/starting.ts";
import { openSeal } from "@longshore/runtime/seal.ts";
import { WatcherConfig } from "./config.ts";
import { learnGroups } from "./announced-groups.ts";
import { openLiveLogs } from "./live-logs.ts";
import { FAILPOINTS, type Parts, TIMING } from "./parts.ts";
import { watcherLoops } from "./watch-group.ts";

export async function watcher(config: WatcherConfig, log: Log, signal: AbortSignal): Promise<ProgramEnd> {
  const clock = systemClock;
  const { installation } = config;
  const owner = ownerName();
  const metrics = openMetrics("watcher", "0.1.0");

  const starting = openStarting(["broker", "groups"], { clock, log, signal, isOutage: isTransient });
  await using health = await serveHealth({ listen: config.http.listen, metrics, ...starting.health });
  await using groups = await groupsOf(config, metrics, log);
  await sayUnverified(groups?.clusters ?? [], log);
  await using broker = await starting.reach("broker", () =>
    openBroker({ ...brokerOf(config), log, clock, waitsForLauncher: true }),
  );
  const pause = backOff(clock);
  const key = config.logKeyFile?.reveal();
  const live =
    key === undefined
      ? undefined
      : openLiveLogs(
          { owner, clock, log, metrics, pause, broker },
          logMessages(key, installation, `/longshore/${installation}/watcher`),
        );
  const parts: Parts = {
    installation,
    owner,
    clock,
    log,
    metrics,
    broker,
    clusters: (groups?.clusters ?? []).map((it) => ({
      ...it,
      annotation: it.settings.discover && annotationOf(it.settings.discover),
    })),
    timing: TIMING,
    fail: failpoints(config.failpoint, FAILPOINTS),
    pause,
    ...(live && { liveLogs: live }),
  };
  const learned = config.sealKeyFile && learnGroups({ ...parts, broker }, openSeal(config.sealKeyFile.reveal(), installation));

  const names = parts.clusters.map(({ name }) => name);
  starting.started({
    parts: {
      broker: () => ({ ready: broker.status().kind !== "reconnecting", says: broker.status().kind }),
      groups: learned?.state ?? (() => ({ ready: true, says: names.join(", ") })),
    },
    refresh: async () => tellTokens(learned?.tokens() ?? tokensOf(groups?.clusters ?? []), parts),
  });
  log.info("the watcher is up", { owner, health: health.url, groups: learned ? "as launchers announce them" : names });
  return await together(signal, {
    ...(learned ? { groups: learned.loop } : watcherLoops(parts)),
    ...(live && { logs: live.loop }),
  });
}

async function groupsOf({ groupsFile }: WatcherConfig, metrics: Metrics, log: Log): Promise<Groups | undefined> {
  if (groupsFile === undefined) return undefined;
  return await readGroups(groupsFile, {
    credential: "watch",
    clock: systemClock,
    log,
    onRequest: (group, purpose, code) => metrics.count("longshore_kubernetes_requests_total", { group, purpose, code }),
  });
}

if (import.meta.main)
  await runProgram("watcher", WatcherConfig, watcher, { forPerson: (it) => (it instanceof Failure ? it : undefined) });
