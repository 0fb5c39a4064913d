/**
 * The console: a page for people who may run a prepared job but not touch a cluster, and for those behind them.
 *
 *   browser ─▶ console ─▶ ledger (reads)          and for deeds: console ─▶ broker ─▶ launcher
 *
 * It holds no credential of a cluster, and changes no run: a deed is a message, as any application would send it.
 */
import { brokerAt, openBroker } from "@longshore/broker/brokers.ts";
import { brokerOf } from "@longshore/broker/settings.ts";
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { openPages, SOURCE } from "@longshore/ledger/open-pages.ts";
import type { Pages } from "@longshore/ledger/pages.ts";
import { systemClock, untilAborted } from "@longshore/runtime/clock.ts";
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import { address, serveHealth } from "@longshore/runtime/health.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type ProgramEnd, together } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { runProgram } from "@longshore/runtime/program.ts";
import { openStarting } from "@longshore/runtime/starting.ts";
import { bundlePage } from "./bundle.ts";
import { ConsoleConfig } from "./config.ts";
import { openLive } from "./live.ts";
import { openLogReader } from "./live-logs.ts";
import { listenOnFree, openServer } from "./serve.ts";
import { openOidc } from "./sign-in/oidc.ts";
import { namedByProxy } from "./sign-in/who-asks.ts";

/** The first launcher makes the schema, so that a console that starts with it has to wait. */
const isOutage = (error: unknown): error is Failure =>
  isTransient(error) || (error instanceof Failure && ["LedgerNew", "LedgerBehind"].includes(error.code));

/** `onListening` is for whoever runs the console in its own process and has to print its address. */
export type OnListening = (at: {
  /** The address in people's browsers. */
  readonly url: string;
  readonly port: number;
  /** The address of health and metrics. */
  readonly health: string;
  readonly pages: Pages;
}) => Promise<void>;

export async function webConsole(
  config: ConsoleConfig,
  log: Log,
  signal: AbortSignal,
  onListening: OnListening = async () => undefined,
): Promise<ProgramEnd> {
  const clock = systemClock;
  const metrics = openMetrics("console", "0.1.0");
  const starting = openStarting(["broker", "ledger"], { clock, log, signal, isOutage });
  await using health = await serveHealth({ listen: config.http.health, metrics, clock, ...starting.health });
  const files = await bundlePage();
  const atBroker = brokerOf(config);
  await using pages = await starting.reach("ledger", () =>
    openPages({ url: secretOf(config.ledger, "url")?.reveal() ?? "", installation: config.installation, log }),
  );
  await using broker = await starting.reach("broker", () => openBroker({ ...atBroker, log, clock }));
  const live = openLive({ broker, clock, log });
  const key = config.logKeyFile?.reveal();
  const { installation } = config;
  const readLog = key === undefined ? undefined : openLogReader({ broker, clock, installation, key, source: SOURCE });
  const { publicUrl, proxies, requestsPerMinute, ports } = config.http;
  const { oidc, proxy, headers } = config.signIn;
  const { host, port } = address(config.http.listen);
  let chosen = port;
  const names = () => [
    ...["127.0.0.1", "localhost", "[::1]"].map((it) => `${it}:${chosen}`),
    ...(publicUrl === undefined ? [] : [new URL(publicUrl).host]),
  ];
  const origin = () => new URL(publicUrl ?? `http://${host.includes(":") ? `[${host}]` : host}:${chosen}`).origin;
  if (headers !== undefined)
    log.warn("headers name people: whatever else can send from these addresses can sign in as anybody", { peers: headers.peers });
  const server = await openServer({
    installation,
    access: config.access,
    quarantine: brokerAt(atBroker.url).quarantine(config.broker.names),
    readLog,
    hosts: (name) => names().includes(name),
    port: () => chosen,
    origin,
    isSecure: publicUrl?.startsWith("https:") === true,
    ways: {
      oidc: oidc && openOidc({ ...oidc, clientSecret: oidc.clientSecretFile?.reveal() }, log),
      named: namedByProxy(proxy, headers),
    },
    ...{ clock, log, pages, broker, files, live, signal, proxies, requestsPerMinute, metrics },
  });
  chosen = await listenOnFree(server, { host, port, ports });
  const url = origin();
  starting.started({
    parts: {
      broker: () => ({ ready: broker.status().kind === "connected", says: broker.status().kind }),
      ledger: async () => ({ ready: (await pages.now()) > 0, says: "answers" }),
    },
    refresh: async () => undefined,
  });
  log.info("the console is up", { url });
  await onListening({ url, port: chosen, health: health.url, pages });
  try {
    return await together(signal, { live: (signal) => live.follow(signal), server: untilAborted });
  } finally {
    server.server.closeAllConnections();
    await server.close();
  }
}

if (import.meta.main)
  await runProgram("console", ConsoleConfig, webConsole, { forPerson: (it) => (it instanceof Failure ? it : undefined) });
