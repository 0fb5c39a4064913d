/** An HTTP server on loopback that a test scripts, and a transport to it. Both end with the test that asked for them. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Server as TcpServer, Socket } from "node:net";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Test } from "tap";
import type { Connection, Trust } from "../access/connection.ts";
import { type ExchangeOptions, openTransport } from "../request/exchange.ts";
import type { ApiRequest, Transport } from "../transport.ts";

export type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;
export const never = new AbortController().signal;
export const json = { "content-type": "application/json" };
export const jobs: ApiRequest = {
  method: "POST",
  path: "/apis/batch/v1/namespaces/batch/jobs?timeout=10s",
  body: { kind: "Job" },
};
export const list: ApiRequest = { method: "GET", path: "/apis/batch/v1/namespaces/batch/jobs" };

export async function listening(t: Test, server: Server | TcpServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

export function answering(answer: Answer) {
  return (request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => answer(request, response, body));
  };
}

interface Identity {
  readonly trust?: Partial<Trust>;
  readonly tokens?: readonly string[];
}

export function connectionTo(server: string, { trust = {}, tokens = [] }: Identity = {}): Connection & { rejections: number } {
  const whole: Trust = { ca: undefined, cert: undefined, key: undefined, serverName: undefined, verify: true, ...trust };
  const connection = {
    server,
    rejections: 0,
    trust: async () => whole,
    authorization: async () => {
      const token = tokens[Math.min(connection.rejections, tokens.length - 1)];
      return token === undefined ? undefined : `Bearer ${token}`;
    },
    rejected: () => void connection.rejections++,
    tokenTimes: () => undefined,
  };
  return connection;
}

export async function open(
  t: Test,
  answer: Answer,
  options: ExchangeOptions & Identity & { readonly path?: string } = {},
): Promise<Transport> {
  const port = await listening(t, createServer(answering(answer)));
  const transport = openTransport(connectionTo(`http://127.0.0.1:${port}${options.path ?? ""}`, options), options);
  t.teardown(() => transport[Symbol.asyncDispose]());
  return transport;
}

export async function failure(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("It should have failed.");
}
