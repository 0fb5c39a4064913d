/**
 * The recorder: tells the story of each run to upstream's HTTP APIs, in order, signed.
 *
 *   ledger ─▶ feed ─▶ lines (one of each run) ─▶ rules ─▶ requests ─▶ sink
 *
 * It is a program of its own, so that what calls foreign addresses holds no credential of a cluster or a broker. No run's outcome
 * depends on it. What each sink was told is written down behind each answer, so it may die at any line: then a request is sent
 * again, with the same webhook-id.
 */
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { openDeliveries } from "@longshore/ledger/open-deliveries.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import { failpoints } from "@longshore/runtime/failpoint.ts";
import { serveHealth } from "@longshore/runtime/health.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, type ProgramEnd, together, wakeUp } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { ownerName, runProgram } from "@longshore/runtime/program.ts";
import { openStarting } from "@longshore/runtime/starting.ts";
import { openJudge } from "./addresses.ts";
import { openBreaker } from "./breaker.ts";
import { RecorderConfig } from "./config.ts";
import { recorderHealth } from "./gauges.ts";
import { FAILPOINTS, type Parts, type Sink } from "./parts.ts";
import type { Rule } from "./rules.ts";
import { openSender } from "./send.ts";
import { listen, serveSink } from "./serve-sink.ts";

/** The first launcher makes the schema, so that a recorder that starts with it has to wait. */
const isOutage = (error: unknown): error is Failure =>
  isTransient(error) || (error instanceof Failure && ["LedgerNew", "LedgerBehind"].includes(error.code));

export async function recorder(config: RecorderConfig, log: Log, signal: AbortSignal): Promise<ProgramEnd> {
  const clock = systemClock;
  const { installation, pace } = config;
  const owner = ownerName();
  const metrics = openMetrics("recorder", "0.1.0");
  const starting = openStarting(["ledger"], { clock, log, signal, isOutage });
  await using health = await serveHealth({ listen: config.http.listen, metrics, clock, ...starting.health });
  await using ledger = await starting.reach("ledger", async () => {
    const opened = await openDeliveries({ url: secretOf(config.ledger, "url")?.reveal() ?? "", installation, log });
    await opened.putSinks(Object.keys(config.sinks));
    return opened;
  });
  using senders = new DisposableStack();
  const judge = openJudge(config.addresses.allow);
  const sinks = Object.entries(config.sinks).map(([name, it]): Sink => {
    const { send } = senders.use(openSender(it, judge));
    const breaker = openBreaker(clock, it.inFlight);
    const signingKeys = it.signingKeysFile?.reveal();
    return {
      name,
      rules: it.rules as readonly Rule[],
      signingKeys,
      timeoutMs: it.timeout,
      inFlightMax: it.inFlight,
      send,
      breaker,
      wakeUp: wakeUp(clock),
    };
  });
  const parts: Parts = {
    installation,
    owner,
    clock,
    log,
    metrics,
    ledger,
    sinks,
    timing: { pollMs: pace.poll, leaseMs: pace.lease, giveUpMs: pace.giveUpAfter },
    fail: failpoints(config.failpoint, FAILPOINTS),
    pause: backOff(clock),
  };
  starting.started(recorderHealth(parts));
  log.info("the recorder is up", { owner, health: health.url, sinks: Object.keys(config.sinks) });
  if (sinks.length === 0) log.warn("no sink is configured: nothing is told to anybody");
  const loops = Object.fromEntries(sinks.map((it) => [`sink ${it.name}`, serveSink(parts, it)]));
  return await together(signal, { ...loops, listen: listen(parts) });
}

if (import.meta.main)
  await runProgram("recorder", RecorderConfig, recorder, { forPerson: (it) => (it instanceof Failure ? it : undefined) });
