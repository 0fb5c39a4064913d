/**
 * The launcher: takes commands, creates Jobs, tells the story of each run.
 *
 *   commands ─▶ admit ───┐                      ┌─▶ relay ────▶ events
 *   facts ────▶ observe ─┴─▶ ledger (the truth) ┘
 *                              ▲  │
 *                              │  ▼
 *              place · launch · close · expire · release · sweep · tally · probe ─▶ clusters
 *   definitions' files ─▶ ledger ─▶ admit
 *   groups file ─▶ announce ─▶ watchers without a groups file
 *
 * Two loops record messages. Every other loop asks the ledger one question, acts, and records the answer. Work is remembered
 * nowhere else, so a launcher may die at any line.
 */
import { openBroker } from "@longshore/broker/brokers.ts";
import { brokerOf } from "@longshore/broker/settings.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { sayUnverified } from "@longshore/kubernetes/access/connection.ts";
import { tellTokens } from "@longshore/kubernetes/access/token-gauge.ts";
import { readGroups, tokensOf } from "@longshore/kubernetes/groups.ts";
import { openWrites } from "@longshore/kubernetes/request/write.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import { failpoints } from "@longshore/runtime/failpoint.ts";
import { serveHealth } from "@longshore/runtime/health.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, batch, type ProgramEnd, together } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { ownerName, runProgram } from "@longshore/runtime/program.ts";
import { openStarting } from "@longshore/runtime/starting.ts";
import { definitionsAtStart, knownDefinitions, watchDefinitions } from "./definitions/known.ts";
import { announce, openAnnouncing } from "./groups/announce.ts";
import { viewsOf } from "./groups/views.ts";
import { LauncherConfig, limitsIn, timingIn } from "./config.ts";
import { openKeys } from "./keys.ts";
import { launcherLoops } from "./loops.ts";
import { wakeUpsBy, type Cluster, FAILPOINTS, type Parts } from "./parts.ts";
import { launcherHealth } from "./gauges.ts";

const APPLIED_MOST = 256;
/**
 * How many entries of each group may wait for the ledger: answers of creates (jobs/in-flight-creates.ts), and the other loops'
 * entries.
 */
const RECORDING_MOST = 2_000;

export async function launcher(config: LauncherConfig, log: Log, signal: AbortSignal): Promise<ProgramEnd> {
  const clock = systemClock;
  const { installation, inFlight } = config;
  const owner = ownerName();
  const metrics = openMetrics("launcher", "0.1.0");
  const keys = openKeys(Buffer.from(config.ledger.keyFile.reveal()), installation);
  const starting = openStarting(["broker", "ledger"], { clock, log, signal, isOutage: isTransient });
  await using health = await serveHealth({ listen: config.http.listen, metrics, clock, ...starting.health });

  await using groups = await readGroups(config.groupsFile, {
    credential: "launch",
    clock,
    log,
    onRequest: (group, purpose, code) => metrics.count("longshore_kubernetes_requests_total", { group, purpose, code }),
  });
  await sayUnverified(groups.clusters, log);
  const announcing = await openAnnouncing(config, { clock, log });
  const dir = config.definitionsDir;
  const folder = dir === undefined ? undefined : { dir, first: await definitionsAtStart(dir) };
  const needsUsers = config.operators !== "everyone" && config.operators.length > 0;
  await using reached = await starting.reachAll({
    ledger: () =>
      openLedger({
        url: secretOf(config.ledger, "url")?.reveal() ?? "",
        installation,
        keyMark: keys.mark,
        jobName: keys.jobName,
        migrate: config.ledger.migrate,
        log,
      }),
    broker: () => openBroker({ ...brokerOf(config), log, clock, needsUsers }),
  });
  const { ledger, broker } = reached;
  const known = await starting.reach("ledger", async () => {
    await ledger.putGroups(groups.clusters);
    if (folder !== undefined) await ledger.putDefinitions(folder.first.definitions);
    return await ledger.groups();
  });
  const clusters = new Map<GroupName, Cluster>(
    groups.clusters.map((it) => [
      it.name,
      {
        name: it.name,
        namespace: it.namespace,
        settings: it.settings,
        reads: it.read,
        writes: openWrites(it),
        pace: it.transport.pace,
      },
    ]),
  );
  const parts: Parts = {
    installation, owner, clock, log, metrics, ledger, broker, clusters, keys,
    definitions: knownDefinitions(ledger),
    views: viewsOf(known),
    defaults: limitsIn(config.defaults),
    timing: timingIn(config.pace),
    operators: config.operators,
    lanes: inFlight,
    fail: failpoints(config.failpoint, FAILPOINTS),
    pause: backOff(clock),
    wakeUps: wakeUpsBy(clock),
    admitting: batch({ most: inFlight }, (intakes) => ledger.admit(intakes)),
    recording: batch({ most: APPLIED_MOST, waitingMost: RECORDING_MOST * (10 + groups.clusters.length) }, (entries) => ledger.record(entries)),
  }; // biome-ignore format: a parts list

  const { parts: states, refresh } = launcherHealth(parts);
  const told = async (): Promise<void> => {
    tellTokens(tokensOf(groups.clusters), parts);
    await refresh();
  };
  starting.started({ parts: states, refresh: told });
  log.info("the launcher is up", { owner, health: health.url, groups: [...clusters.keys()] });
  // "return await": without the await, everything above closes while the loops still run.
  return await together(signal, {
    ...launcherLoops(parts),
    definitions: watchDefinitions(parts, folder), // take changed files, and what other launchers' files changed
    ...(announcing && { announce: announce(parts, announcing) }), // tells watchers without a groups file which groups there are
  });
}

if (import.meta.main)
  await runProgram("launcher", LauncherConfig, launcher, { forPerson: (it) => (it instanceof Failure ? it : undefined) });
