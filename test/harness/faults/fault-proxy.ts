/**
 * A proxy of ours before an API server, with TLS on both sides. It does what networks, gateways and overloaded servers do: to
 * the requests that the test chooses, as often as it chooses, and to watches that are already open.
 *
 * The failure this prevents: a follower that survives only the faults of a model that we wrote. Here the bytes are a real
 * server's, and the faults are those between any two machines.
 */
import { once } from "node:events";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { Agent, createServer, request as ask } from "node:https";
import type { Socket } from "node:net";
import { authority, serverCertificate, serverKey } from "@longshore/kubernetes/testing/certificates.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { type Asked, askedOf, type Chosen, plan, type Trouble } from "./fault-proxy-faults.ts";
import { flow, type Flow, type Weather } from "./fault-proxy-flow.ts";

/** A request, and its answer's status once there is one. */
export interface Entry extends Asked {
  readonly atMs: number;
  status: number | undefined;
  trouble: Trouble["kind"] | undefined;
}

export interface FaultProxy extends AsyncDisposable {
  readonly url: string;
  /** The authority that signed the proxy's certificate, which is for localhost and 127.0.0.1. */
  readonly ca: string;
  readonly port: number;
  /** Every request since the proxy began, in order. */
  readonly journal: readonly Entry[];
  /**
   * Makes the trouble for the next requests of this choice: for one, unless `times` says more. Resolves with the first of them.
   */
  cause(on: Chosen, trouble: Trouble, times?: number): Promise<Entry>;
  /** Ends the planted faults. Requests that a fault has hit stay as they are. */
  heal(): void;
  /** Resolves with the answer that is on its way now, such as an open watch. If there is none, with the next one. */
  flow(on: Chosen): Promise<Flow>;
  /** Resolves with the next such request when the head of its answer has been passed on. */
  answered(on: Chosen): Promise<Entry>;
  /**
   * Keeps a copy of the whole answer to the next such request, so that it can be sent again when it is stale. The answer is
   * passed on as well.
   */
  keep(on: Chosen): Promise<Kept>;
  /** Sets the weather from now on, for every piece of every answer. */
  weather(weather: Weather | undefined): void;
  /** All present connections stay open and carry nothing more, as if a gateway had forgotten them. New ones pass. */
  halfOpen(): void;
  /** Resets all present connections. */
  cut(): void;
  /** While on, new connections are reset at once. */
  refuse(on: boolean): void;
}

export interface Kept {
  readonly status: number;
  readonly body: string;
}

export interface FaultProxyOptions {
  /** The API server: its URL, and the authority that signed its certificate. */
  readonly url: string;
  readonly ca: string;
}

interface Waiting<T> {
  readonly on: Chosen;
  readonly resolve: (value: T) => void;
}

const REQUESTS_MOST = 50_000;

export async function faultProxy(target: FaultProxyOptions): Promise<FaultProxy> {
  const to = new URL(target.url);
  const agent = new Agent({ keepAlive: true, ca: target.ca, maxSockets: 64 });
  const sockets = new Set<Socket>();
  const dead = new WeakSet<Socket>();
  const open = new Set<Flow>();
  const journal: Entry[] = [];
  const planned = plan<Entry>();
  const heads: Waiting<Entry>[] = [];
  const keeping: Waiting<Kept>[] = [];
  const ended = new AbortController();
  let weather: Weather | undefined;
  let refusing = false;

  const server = createServer({ key: serverKey, cert: serverCertificate, keepAlive: true }, (request, response) => {
    serve(request, response).catch(() => response.destroy()); // the client left, or the API server is gone
  });
  server.keepAliveTimeout = 120_000;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => socket.destroy());
    if (refusing) socket.resetAndDestroy();
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await whole(request);
    const asked = askedOf(request);
    const trouble = planned.strike(asked);
    const entry: Entry = { ...asked, atMs: systemClock.now(), status: undefined, trouble: trouble?.kind };
    if (journal.push(entry) > REQUESTS_MOST) journal.shift();
    planned.struck(entry);
    if (dead.has(raw(request.socket)) || trouble?.kind === "unanswered") return;
    if (trouble?.kind === "reset") return void raw(request.socket).resetAndDestroy();
    if (trouble?.kind === "answer") return answer(response, entry, trouble);
    if (trouble?.kind === "late") await systemClock.sleep(trouble.byMs, ended.signal);
    if (trouble?.kind === "held") await trouble.until;
    await forward({ request, response, entry, body, trouble });
  }

  /** The proxy answers by itself: the API server never hears of the request. */
  function answer(response: ServerResponse, entry: Entry, { status, headers = {}, body }: Trouble & { kind: "answer" }): void {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    entry.status = status;
    response.writeHead(status, { "content-type": typeof body === "string" ? "text/plain" : "application/json", ...headers });
    response.end(text);
    take(heads, entry, entry);
  }

  async function forward(it: {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly entry: Entry;
    readonly body: Buffer;
    readonly trouble: Trouble | undefined;
  }): Promise<void> {
    const { request, response, entry, body, trouble } = it;
    const headers: OutgoingHttpHeaders = { ...request.headers, host: to.host };
    const upstream = ask({ host: to.hostname, port: to.port, method: entry.method, path: request.url, headers, agent });
    response.once("close", () => upstream.destroy());
    upstream.end(body);
    const [incoming] = (await once(upstream, "response")) as [IncomingMessage];
    entry.status = incoming.statusCode ?? 0;
    if (trouble?.kind === "reply lost") {
      incoming.resume();
      await once(incoming, "end");
      return void raw(request.socket).resetAndDestroy();
    }
    const its = flow({ asked: entry, response, socket: raw(request.socket), weather: () => weather, signal: ended.signal });
    open.add(its);
    response.once("close", () => open.delete(its));
    const { "content-length": _length, ...kept } = incoming.headers; // an answer that is cut or added to has another length
    response.writeHead(entry.status, kept);
    response.flushHeaders();
    if (trouble !== undefined) its.meet(trouble);
    take(heads, entry, entry);
    const keeper = remove(keeping, entry);
    const chunks: Buffer[] = [];
    incoming.on("error", () => its.reset());
    incoming.on("data", (chunk: Buffer) => {
      if (keeper) chunks.push(chunk);
      its.pass(chunk);
    });
    await once(incoming, "end");
    keeper?.resolve({ status: entry.status, body: Buffer.concat(chunks).toString() });
    await its.end();
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server without a port");

  const wait = <T>(list: Waiting<T>[], on: Chosen): Promise<T> => new Promise((resolve) => list.push({ on, resolve }));
  return {
    url: `https://127.0.0.1:${address.port}`,
    ca: authority,
    port: address.port,
    journal,
    cause: (on, trouble, times = 1) => planned.add(on, trouble, times),
    heal: () => planned.clear(),
    async flow(on) {
      for (;;) {
        const found = [...open].findLast((it) => on(it.asked));
        if (found) return found;
        await wait(heads, on);
      }
    },
    answered: (on) => wait(heads, on),
    keep: (on) => wait(keeping, on),
    weather: (it) => void (weather = it),
    halfOpen() {
      for (const it of open) it.silence();
      for (const socket of sockets) dead.add(socket);
    },
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    refuse: (on) => void (refusing = on),
    async [Symbol.asyncDispose]() {
      ended.abort();
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await closed;
    },
  };

  function take<T>(list: Waiting<T>[], asked: Asked, value: T): void {
    for (let found = remove(list, asked); found; found = remove(list, asked)) found.resolve(value);
  }

  function remove<T>(list: Waiting<T>[], asked: Asked): Waiting<T> | undefined {
    const at = list.findIndex((it) => it.on(asked));
    return at === -1 ? undefined : list.splice(at, 1)[0];
  }

  /** The TCP connection beneath TLS: only a TCP connection can be reset, and only those are counted. */
  function raw(socket: Socket): Socket {
    for (const it of sockets) if (it.remotePort === socket.remotePort) return it;
    return socket;
  }
}

async function whole(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
