/**
 * `/healthz`, `/readyz` and `/metrics`, on a port of their own.
 *
 * The bugs this prevents: a launcher that Kubernetes restarts because the broker is down (health asks only whether this process
 * runs; readiness says which part is not ready), a probe that hangs because a part hangs, and metrics that stop together with
 * the part whose failure they should show.
 */
import type { Server, ServerResponse } from "node:http";
import { type Clock, systemClock } from "./clock.ts";
import { ConfigProblems } from "./config/config.ts";
import { within } from "./loop.ts";
import type { Metrics } from "./metrics.ts";
import { createServer } from "./node-http.ts";

export interface PartState {
  readonly ready: boolean;
  /** A few words: "connected", "reconnecting since 09:12: ECONNREFUSED". */
  readonly says: string;
}

type Ask = () => PartState | Promise<PartState>;

export interface HealthOptions {
  /** "0.0.0.0:9090"; port 0 takes a free one. */
  readonly listen: string;
  /** Asked at each probe. A part that throws or takes longer than two seconds is not ready. */
  readonly parts: Readonly<Record<string, Ask>>;
  readonly metrics: Metrics;
  /** Called before `/metrics` answers, to set gauges that are cheap to read. */
  readonly refresh?: () => Promise<void>;
  readonly clock?: Clock;
}

export interface Health extends AsyncDisposable {
  readonly url: string;
}

const PROBE_MS = 2_000;
const REQUEST_MS = 10_000;

export async function serveHealth(options: HealthOptions): Promise<Health> {
  const { host, port } = address(options.listen);
  // By default Node looks for requests that take too long only every 30 seconds.
  const server = createServer({ requestTimeout: REQUEST_MS, connectionsCheckingInterval: 1_000 }, (request, response) => {
    answer(options, request.url ?? "/", response).catch((error: unknown) => {
      reply(response, 500, String(error));
    });
  });
  server.maxConnections = 64;
  await listening(server, host, port);
  const bound = server.address();
  const actual = typeof bound === "object" && bound !== null ? bound.port : port;
  const reachable = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${reachable}:${actual}`,
    [Symbol.asyncDispose]: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** Throws `ConfigProblems` if the text is no address. */
export function address(listen: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(listen) ?? [];
  if (port === undefined || Number(port) > 65_535)
    throw new ConfigProblems([`http.listen: "${listen}" is no address to listen on; write "0.0.0.0:9090".`]);
  return { host: bracketed ?? (plain === "" || plain === undefined ? "0.0.0.0" : plain), port: Number(port) };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((done, failed) => {
    server.once("error", (error) => failed(notListening(error, `${host.includes(":") ? `[${host}]` : host}:${port}`)));
    server.listen(port, host, done);
  });
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there already (another Longshore?). Stop it, or set another port",
  EACCES: "this user may not listen there. Set a port above 1023",
  EADDRNOTAVAIL: "this machine does not have that address. Set one that it has, or 0.0.0.0",
  ENOTFOUND: "this machine does not know that name. Set an address",
};

/** Reported as a problem of the settings, since the reader can correct those: it is no bug, and needs no stack trace. */
const notListening = (error: NodeJS.ErrnoException, where: string): ConfigProblems =>
  new ConfigProblems([`http.listen: cannot listen on ${where} for health: ${WHY[error.code ?? ""] ?? error.message}.`]);

async function answer(options: HealthOptions, url: string, response: ServerResponse): Promise<void> {
  const path = url.replace(/\?.*/, "");
  switch (path) {
    case "/healthz":
      return reply(response, 200, "ok");
    case "/readyz": {
      const found = await states(options);
      const lines = found.map((it) => `${it.ready ? "ready    " : "not ready"}  ${it.name}  ${it.says}`);
      return reply(response, found.every((it) => it.ready) ? 200 : 503, lines.join("\n"));
    }
    case "/metrics": {
      const { metrics, refresh } = options;
      const [found] = await Promise.all([states(options), refresh?.()]);
      const rows = found.map(({ name, ready }) => ({ labels: { part: name }, value: ready ? 1 : 0 }));
      metrics.replace("longshore_part_up", rows);
      return reply(response, 200, await metrics.text(), "text/plain; version=0.0.4; charset=utf-8");
    }
    default:
      return reply(response, 404, "here are /healthz, /readyz and /metrics");
  }
}

type NamedState = PartState & { readonly name: string };

const states = ({ parts, clock = systemClock }: HealthOptions): Promise<readonly NamedState[]> =>
  Promise.all(Object.entries(parts).map(([name, ask]) => state(name, ask, clock)));

async function state(name: string, ask: Ask, clock: Clock): Promise<NamedState> {
  const unasked = new AbortController();
  try {
    const found = await within({ clock, ms: PROBE_MS, signal: unasked.signal, what: "asking it" }, async () => await ask());
    return { name, ...found };
  } catch (error) {
    return { name, ready: false, says: error instanceof Error ? error.message : String(error) };
  }
}

function reply(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  if (response.headersSent) return;
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(`${body.trimEnd()}\n`);
}
