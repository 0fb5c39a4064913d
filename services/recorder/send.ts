/**
 * One request to a sink, and its answer. Kept connections, one time limit for the whole, no redirects.
 *
 * The bugs this prevents: a redirect that takes the request with its headers to another host; a sink that answers a byte a
 * minute and keeps a place for ever; and an answer without an end.
 */
import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { isIP } from "node:net";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { reason } from "@longshore/runtime/config/config.ts";
import { Agent as PlainAgent, request as plainRequest } from "@longshore/runtime/node-http.ts";
import { judgedNames, type Judge, refusalOf } from "./addresses.ts";
import type { SinkConfig } from "./config.ts";
import type { Outgoing } from "./rules.ts";

export interface Answer {
  readonly status: number;
  /** How long the sink asks to be left alone. */
  readonly retryAfterMs: number | undefined;
  /** The beginning of what it said, for people. */
  readonly says: string;
}

/** Throws `Failure` "retry" if no whole answer came; its code says why: "ECONNREFUSED", "TimedOut", "AddressRefused". */
export type Send = (request: Outgoing, signal: AbortSignal) => Promise<Answer>;

export interface Sender extends Disposable {
  readonly send: Send;
}

type Sending = Pick<SinkConfig, "headers" | "timeout" | "inFlight" | "caFile">;

const READ_MOST = 2_048;
const SAYS_MOST = 200;

export function openSender({ headers: own, timeout, inFlight, caFile }: Sending, judge: Judge): Sender {
  const shared = { keepAlive: true, maxSockets: inFlight, maxFreeSockets: inFlight, lookup: judgedNames(judge) };
  const plain = new PlainAgent(shared);
  const tls = new TlsAgent({ ...shared, ...(caFile && { ca: caFile.reveal() }) });

  async function headersOf({ headers, body }: Outgoing): Promise<Record<string, string>> {
    const all: Record<string, string> = {};
    for (const [name, it] of Object.entries(own))
      all[name] = typeof it === "string" ? it : it.before + (await valueIn(it.valueFile, name));
    return { "user-agent": "longshore", ...all, ...headers, "content-length": String(Buffer.byteLength(body)) };
  }

  async function send(outgoing: Outgoing, signal: AbortSignal): Promise<Answer> {
    const url = new URL(outgoing.url);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    try {
      // Node asks no lookup about an address that is written as such.
      const verdict = isIP(host) === 0 ? "allowed" : judge(host);
      if (verdict !== "allowed") throw refusalOf(host, host, verdict);
      const isTls = url.protocol === "https:";
      const options = { method: outgoing.method, headers: await headersOf(outgoing), agent: isTls ? tls : plain };
      return await exchange((isTls ? tlsRequest : plainRequest)(url, options), outgoing.body, timeout, signal);
    } catch (error) {
      throw failureOf(error, url.host);
    }
  }

  return {
    send,
    [Symbol.dispose]: () => {
      plain.destroy();
      tls.destroy();
    },
  };
}

async function valueIn(file: string, header: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new Failure("retry", "HeaderFile", `the value of the header ${header} cannot be read: ${reason(error)}`, error);
  }
}

function exchange(
  request: ReturnType<typeof plainRequest>,
  body: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => request.destroy(new Failure("retry", "TimedOut", `no answer came within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const stopped = () => request.destroy(new Failure("retry", "Stopped", "the recorder stops"));
    const end = () => {
      clearTimeout(late);
      signal.removeEventListener("abort", stopped);
    };
    const fail = (error: unknown) => {
      end();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    if (signal.aborted) stopped();
    signal.addEventListener("abort", stopped, { once: true });
    let isAnswered = false;
    request.on("error", (error) => {
      if (!isAnswered) fail(error);
    });
    request.on("response", (response) => {
      isAnswered = true; // its head says all that matters, even if the rest is cut off
      let text = "";
      response.setEncoding("utf8");
      response.on("error", () => undefined); // "close" follows
      response.on("data", (chunk: string) => {
        if (text.length < READ_MOST) text += chunk;
        else request.destroy();
      });
      response.on("close", () => {
        end();
        resolve({ status: response.statusCode ?? 0, retryAfterMs: retryAfterMs(response), says: saidIn(text) });
      });
    });
    request.end(body);
  });
}

const saidIn = (text: string): string =>
  text.replaceAll(/[\p{C}\s]+/gu, " ").trim().slice(0, SAYS_MOST); // biome-ignore format: one step

/** Seconds, or a date, which counts from the date that the sink gives in the same answer. */
function retryAfterMs({ headers }: Pick<IncomingMessage, "headers">): number | undefined {
  const text = headers["retry-after"];
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const ms = Date.parse(text) - Date.parse(headers.date ?? "");
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function failureOf(error: unknown, host: string): Failure {
  if (error instanceof Failure) return error;
  const { code = "Broken" } = error as { readonly code?: string };
  return new Failure("retry", code, `${host} gave no answer: ${reason(error)}`, error);
}
