/**
 * Serves a cluster over HTTP on loopback, so that real programs can use it as their cluster.
 *
 * The bug this prevents: an answered request that is missing from the request log. The log is written before the answer leaves,
 * so that a test can count requests even after a kill -9.
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer } from "@longshore/runtime/node-http.ts";
import type { ApiRequest, User, Transport } from "../api.ts";
import { isFields, textOf } from "../objects.ts";
import { isStream } from "./serve.ts";
import { badRequest, Refusal, refusal, unauthorized } from "./status.ts";

export interface HttpOptions {
  readonly cluster: { transport(identity: User): Transport };
  /** Bearer tokens, and the user of each. */
  readonly credentials: ReadonlyMap<string, User>;
  /** PEM; absent: plain HTTP is served. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

export interface HttpServer extends AsyncDisposable {
  readonly url: string;
}

const BODY_BYTES_MOST = 3_145_728;
const OPEN: ReadonlySet<string> = new Set(["/healthz", "/livez", "/readyz", "/version"]);

export async function serveHttp({ cluster, credentials, tls }: HttpOptions): Promise<HttpServer> {
  const transports = new Map<string, Transport>([...credentials].map(([token, it]) => [token, cluster.transport(it)]));
  const anonymous = cluster.transport({ user: "system:anonymous", namespaces: [] });
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const transport = transports.get(token) ?? (OPEN.has(request.url ?? "") ? anonymous : undefined);
    serve(transport, request, response).catch((error: unknown) => fail(response, error));
  };
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  server.keepAliveTimeout = 120_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(transport: Transport | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readBody(request);
  if (transport === undefined) throw unauthorized();
  const asked = apiRequest(request, body);
  if (isStream(asked)) return await serveStream(transport, asked, response);
  // A signal that no connection aborts: a received request is carried out, whether or not its sender still listens.
  const { status, headers, body: answered } = await transport.send(asked, new AbortController().signal);
  const text = typeof answered === "string" ? answered : jsonOf(answered);
  const type = typeof answered === "string" ? "text/plain; charset=utf-8" : "application/json";
  response.writeHead(status, { ...headers, "content-type": type, "content-length": Buffer.byteLength(text) });
  response.end(text);
}

/** Joins the JSON text of a list's objects, which an earlier watch or list may have made already. */
function jsonOf(answered: unknown): string {
  if (!isFields(answered)) return JSON.stringify(answered);
  const { items } = answered;
  if (!Array.isArray(items)) return textOf(answered);
  const { items: _, ...head } = answered;
  const texts = items.map((it: unknown) => (isFields(it) ? textOf(it) : JSON.stringify(it)));
  return `${JSON.stringify(head).slice(0, -1)},"items":[${texts.join(",")}]}`;
}

function apiRequest(request: IncomingMessage, text: string): ApiRequest {
  const { method = "GET", url: path = "/", headers } = request;
  if (method !== "GET" && method !== "POST" && method !== "PATCH" && method !== "DELETE") {
    throw badRequest(`the pocket knows GET, POST, PATCH and DELETE, not ${method}`);
  }
  return {
    method,
    path,
    ...(text === "" ? {} : { body: parse(text) }),
    ...(headers["content-type"] === undefined ? {} : { contentType: headers["content-type"] }),
    ...(headers.accept === undefined ? {} : { accept: headers.accept }),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    if (!Buffer.isBuffer(part)) continue;
    size += part.length;
    if (size > BODY_BYTES_MOST) {
      const headers = { connection: "close" };
      throw refusal(413, "RequestEntityTooLarge", `limit is ${BODY_BYTES_MOST}`, undefined, headers);
    }
    parts.push(part);
  }
  return parts.length === 1 ? (parts[0]?.toString() ?? "") : Buffer.concat(parts).toString();
}

async function serveStream(transport: Transport, asked: ApiRequest, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const { status, body, lines } = await transport.open(asked, gone.signal);
  if (status !== 200) throw new Refusal({ status, headers: {}, body });
  response.writeHead(200, { "content-type": asked.path.includes("/log") ? "text/plain; charset=utf-8" : "application/json" });
  response.flushHeaders();
  for await (const line of lines) {
    // If the reader goes away, this rejects, and then the lines end.
    if (!response.write(`${line}\n`)) await once(response, "drain", { signal: gone.signal }).catch(() => undefined);
  }
  response.end();
}

/** A refusal is answered; any other error (a client that left) ends the connection without a word. */
function fail(response: ServerResponse, error: unknown): void {
  if (!(error instanceof Refusal) || response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = error.answer;
  response.writeHead(status, { ...headers, "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
