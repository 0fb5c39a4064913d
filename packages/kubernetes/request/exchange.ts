/**
 * `Transport` over HTTP/1.1 with kept connections: one request → one answer, or a Failure that says whether the request can
 * have arrived.
 *
 * The bugs this prevents: a TLS handshake per request, a redirect followed with our token, an answer or a line without bound, half
 * a line taken for an event, a watch cut by a timeout that was meant for requests, a rotated token or CA that is never read, and a wrong CA that nobody
 * notices until the connections that it would refuse have ended.
 */
import type { LookupFunction } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { getCACertificates, createSecureContext, type SecureContext } from "node:tls";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { buildConnector as undici, Dispatcher } from "undici";
import type { Connection, Trust } from "../access/connection.ts";
import type { ApiAnswer, ApiRequest, ApiStream, Transport } from "../transport.ts";
import { CLAIM_BUDGET } from "./claim-budget.ts";
import { type NamesOptions, rememberedNames } from "./cluster-addresses.ts";
import { isUntrusted, networkCode, neverConnected, silence, TOO_LONG } from "./silence.ts";
import { buildConnector, Pool, request as begin } from "./undici-parts.ts";

export interface ExchangeOptions {
  /** The most connections for requests; streams have their own. */
  readonly connections?: number;
  readonly connectTimeoutMs?: number;
  /** The longest silence before the answer's head, and between two parts of the answer. A create's head may take `serverMs`. */
  readonly silenceMs?: number;
  readonly answerMaxBytes?: number;
  readonly lineMaxChars?: number;
  readonly names?: NamesOptions;
}

const STREAMS_MAX = 16;
const REFUSAL_MAX_BYTES = 1024 * 1024;
/** Parsing 16 MB stops everything else for a tenth of a second; if a page is longer, listings ask for shorter pages. */
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;

export function openTransport(connection: Connection, options: ExchangeOptions = {}): Transport {
  const { connections = 12, connectTimeoutMs = 10_000, silenceMs = CLAIM_BUDGET.postMs } = options;
  const { answerMaxBytes = ANSWER_MAX_BYTES, lineMaxChars = ANSWER_MAX_BYTES } = options;
  const { origin, pathname } = new URL(connection.server);
  const prefix = pathname === "/" ? "" : pathname;
  const shared = {
    connect: connector(connection, connectTimeoutMs, rememberedNames(options.names)),
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: 30_000,
  };
  const makePools = (content: string | undefined) => ({
    content,
    pool: new Pool(origin, { ...shared, connections, headersTimeout: silenceMs, bodyTimeout: silenceMs }),
    streams: new Pool(origin, { ...shared, connections: STREAMS_MAX, headersTimeout: 3 * silenceMs, bodyTimeout: 0 }),
  });
  let pools = makePools(undefined);
  const leaving = new Set<Promise<unknown>>();
  const closed = new AbortController();

  /** Returns connections that were made with what the files contain now. Others carry their last requests to the end, and close. */
  async function trusted(): Promise<typeof pools> {
    const content = await contentOf(connection);
    if (pools.content === undefined) pools.content = content;
    if (content === undefined || content === pools.content) return pools;
    const { pool, streams } = pools;
    pools = makePools(content);
    for (const old of [pool, streams]) retire(old);
    return pools;
  }

  function retire(old: Pool): void {
    const destroy = () => void old.destroy();
    closed.signal.addEventListener("abort", destroy, { once: true });
    const left = old.close().finally(() => {
      closed.signal.removeEventListener("abort", destroy);
      leaving.delete(left);
    });
    leaving.add(left);
  }

  async function prepare(request: ApiRequest): Promise<Prepared> {
    const authorization = await connection.authorization();
    const headers: Record<string, string> = { accept: request.accept ?? "application/json", "user-agent": "longshore" };
    if (authorization !== undefined) headers["authorization"] = authorization;
    if (request.body !== undefined) headers["content-type"] = request.contentType ?? "application/json";
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    return { method: request.method, path: prefix + request.path, headers, body };
  }

  /** A request that got a 401 had no effect. So if the token on disk has changed since, the same request may be sent again. */
  async function renewed({ headers }: Prepared): Promise<boolean> {
    connection.rejected();
    const now = await connection.authorization();
    return now !== undefined && headers["authorization"] !== undefined && headers["authorization"] !== now;
  }

  async function send(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    for (let renewals = 0; ; renewals++) {
      const prepared = await prepare(request);
      const { pool } = await trusted();
      const answer = await exchange(pool, connection.server, prepared, answerMaxBytes, signal);
      if (answer.status !== 401 || renewals > 0 || !(await renewed(prepared))) return answer;
    }
  }

  async function open(request: ApiRequest, signal: AbortSignal): Promise<ApiStream> {
    let begun: Dispatcher.ResponseData;
    const prepared = await prepare(request);
    const { streams, content } = await trusted();
    try {
      begun = await begin(streams, { ...prepared, signal });
    } catch (error) {
      throw silence(connection.server, !neverConnected(networkCode(error)), error);
    }
    const { statusCode: status, body: bytes } = begun;
    const headers = flat(begun.headers);
    // An aborted body emits an error. Without a listener the error would end the process; a reader still gets it thrown.
    bytes.on("error", () => undefined);
    if (status === 200) return { status, headers, body: undefined, lines: lines(bytes, content) };
    if (status === 401) connection.rejected();
    return { status, headers, body: await rest(bytes, headers), lines: none() };
  }

  /** Ends after a line if a CA or certificate has changed since: a watch goes on from there, on a new connection. */
  async function* lines(
    bytes: Dispatcher.ResponseData["body"],
    content: string | undefined,
  ): AsyncGenerator<string, void, undefined> {
    try {
      for await (const line of linesOf(bytes, lineMaxChars)) {
        yield line;
        if ((await trusted()).content !== content) return;
      }
    } catch (error) {
      throw silence(connection.server, true, error);
    } finally {
      bytes.destroy();
    }
  }

  async function rest(bytes: Dispatcher.ResponseData["body"], headers: Readonly<Record<string, string>>): Promise<unknown> {
    const chunks: Uint8Array[] = [];
    let held = 0;
    try {
      for await (const chunk of bytes) {
        chunks.push(chunk);
        held += chunk.length;
        if (held > REFUSAL_MAX_BYTES) break;
      }
    } catch (error) {
      throw silence(connection.server, true, error);
    }
    return parse(chunks, headers);
  }

  return {
    send,
    open,
    async [Symbol.asyncDispose]() {
      closed.abort();
      await Promise.all([pools.pool.destroy(), pools.streams.destroy(), ...leaving]);
    },
  };
}

interface Prepared extends Dispatcher.DispatchOptions {
  readonly headers: Readonly<Record<string, string>>;
}

/** Uses `dispatch`: its handler, unlike `request()`, tells whether the request was ever put on a connection. */
function exchange(
  pool: Pool,
  server: string,
  options: Dispatcher.DispatchOptions,
  mostBytes: number,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  return new Promise((resolve, reject) => {
    let control: Dispatcher.DispatchController | undefined;
    let over = false;
    let status = 0;
    let headers: Readonly<Record<string, string>> = {};
    const chunks: Uint8Array[] = [];
    let held = 0;

    const settle = (then: () => void) => {
      if (over) return;
      over = true;
      signal.removeEventListener("abort", giveUp);
      then();
    };
    const fail = (error: unknown) => settle(() => reject(silence(server, control !== undefined, error)));
    const giveUp = () => {
      const message = `${server} had not answered when the request was given up.`;
      const error = new Failure("retry", control ? "unanswered" : "unsent", message, signal.reason);
      fail(error);
      control?.abort(error);
    };
    if (signal.aborted) return giveUp();
    signal.addEventListener("abort", giveUp, { once: true });

    pool.dispatch(options, {
      onRequestStart(it) {
        // The request was given up while it waited for a connection: nothing of it has been written, and nothing will be.
        if (over) it.abort(new Error("given up before it was sent"));
        else control = it;
      },
      onResponseStart(_it, code, incoming) {
        if (code < 200) return;
        status = code;
        headers = flat(incoming);
      },
      onResponseData(it, chunk) {
        held += chunk.length;
        if (held <= mostBytes) chunks.push(chunk);
        else it.abort(Object.assign(new Error(`its answer was longer than ${mostBytes} bytes`), { code: TOO_LONG }));
      },
      onResponseEnd() {
        try {
          const body = parse(chunks, headers);
          settle(() => resolve({ status, headers, body, bytes: held }));
        } catch (error) {
          fail(error);
        }
      },
      onResponseError: (_it, error) => fail(error),
    });
  });
}

/** Returns JSON if the answer says that it is JSON, else its text. Throws for invalid JSON: the answer was cut or garbled. */
function parse(chunks: readonly Uint8Array[], headers: Readonly<Record<string, string>>): unknown {
  const text = Buffer.concat(chunks).toString("utf8");
  if (!/\bjson\b/i.test(headers["content-type"] ?? "") || text === "") return text;
  return JSON.parse(text);
}

function flat(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const one: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) one[name.toLowerCase()] = Array.isArray(value) ? value.join(", ") : value;
  return one;
}

async function* none(): AsyncGenerator<string, void, undefined> {}

/** Throws if the last line has no end: the reader would take that line for a whole one. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>, mostChars: number): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder("utf8");
  let parts: string[] = []; // chunks of the line that has not ended yet; joined once, however many there are
  let held = 0;
  for await (const chunk of chunks) {
    const text = decoder.write(chunk);
    let from = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", from)) {
      parts.push(text.slice(from, end));
      const line = parts.length === 1 ? (parts[0] ?? "") : parts.join("");
      parts = [];
      held = 0;
      from = end + 1;
      if (line.length > mostChars) throw tooLong(mostChars);
      yield line;
    }
    if (from < text.length) {
      parts.push(text.slice(from));
      held += text.length - from;
      if (held > mostChars) throw tooLong(mostChars);
    }
  }
  if (held > 0 || decoder.end() !== "") throw new Failure("retry", "unanswered", "The connection ended in the middle of a line.");
}

const tooLong = (most: number) =>
  new Failure("retry", "unanswered", `The API server sent a line of more than ${most} characters.`);

const contents = new WeakMap<Trust, string>();

/** Tells trusts apart by what is in them. Undefined if none can be told now: the next handshake tells why. */
async function contentOf({ trust }: Pick<Connection, "trust">): Promise<string | undefined> {
  const now = await trust().catch(() => undefined);
  if (now === undefined) return undefined;
  const content = contents.get(now) ?? JSON.stringify(now);
  contents.set(now, content);
  return content;
}

/**
 * Connects with what the files contain now. The TLS context is made again only if that changed, since it parses 140 root
 * certificates.
 */
function connector(connection: Connection, timeout: number, lookup: LookupFunction): undici.connector {
  const shared = { timeout, allowH2: false, lookup };
  const plain = buildConnector(shared);
  let made: { readonly content: string; readonly connect: undici.connector } | undefined;

  async function current(): Promise<undici.connector> {
    const trust = await connection.trust();
    const content = JSON.stringify(trust);
    if (made?.content === content) return made.connect;
    const { verify, serverName } = trust;
    const name = serverName === undefined ? {} : { servername: serverName };
    const connect = buildConnector({ ...shared, secureContext: contextOf(trust), rejectUnauthorized: verify, ...name });
    made = { content, connect };
    return connect;
  }

  return (options, callback) => {
    if (options.protocol === "http:") return plain(options, callback);
    void connectThrough(current, options, (...answer) => {
      // The server's authority may have been replaced, and the CA on disk with it: the next handshake reads the files again.
      if (isUntrusted(networkCode(answer[0]))) connection.rejected();
      callback(...answer);
    });
  };
}

/** undici's connectors use a callback; if a CA file cannot be read, the callback gets that error like a refused connection. */
async function connectThrough(
  current: () => Promise<undici.connector>,
  ...[options, callback]: Parameters<undici.connector>
): Promise<void> {
  let connect: undici.connector;
  try {
    connect = await current();
  } catch (error) {
    return callback(error instanceof Error ? error : new Error(String(error)), null);
  }
  connect(options, callback);
}

/** Returns the authorities for a cluster without a configured CA: the machine's trust store, or Node's if the machine has none. */
export function systemAuthorities(): string[] {
  const found = getCACertificates("system");
  return found.length > 0 ? found : getCACertificates("bundled");
}

function contextOf({ ca, cert, key }: Trust): SecureContext {
  return createSecureContext({
    ca: ca ?? systemAuthorities(),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
}
