/** A `Transport` that plays a test's script: one answer or stream for each request, in order, and then silence. */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { ApiAnswer, ApiRequest, Transport } from "../transport.ts";

/** How a stream goes on after its lines: the server ends it, the connection breaks, or nothing comes any more. */
export type Play =
  | { readonly answer: number; readonly body?: unknown; readonly headers?: Record<string, string> }
  | { readonly fails: "unsent" | "unanswered" }
  | { readonly hangs: true }
  | { readonly lines: readonly unknown[]; readonly then: "ends" | "breaks" | "silent" }
  | { readonly refuses: number; readonly body?: unknown; readonly headers?: Record<string, string> };

export interface Scripted extends Transport {
  readonly requests: readonly ApiRequest[];
}

export function scripted(plays: readonly Play[]): Scripted {
  const requests: ApiRequest[] = [];
  const rest = [...plays];

  const next = (request: ApiRequest): Play => {
    requests.push(request);
    return rest.shift() ?? { hangs: true };
  };

  async function* lines(play: Extract<Play, { lines: unknown }>, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    for (const line of play.lines) yield typeof line === "string" ? line : JSON.stringify(line);
    if (play.then === "breaks") throw new Failure("retry", "unanswered", "The connection was cut.");
    if (play.then === "silent") await hang(signal);
  }

  return {
    requests,
    async send(request, signal): Promise<ApiAnswer> {
      const play = next(request);
      if ("answer" in play) return { status: play.answer, headers: play.headers ?? {}, body: play.body };
      if ("fails" in play) throw new Failure("retry", play.fails, `It was ${play.fails}.`);
      return await hang(signal);
    },
    async open(request, signal) {
      const play = next(request);
      if ("lines" in play) return { status: 200, body: undefined, lines: lines(play, signal) };
      if ("refuses" in play) return { status: play.refuses, headers: play.headers ?? {}, body: play.body, lines: nothing() };
      if ("fails" in play) throw new Failure("retry", play.fails, `It was ${play.fails}.`);
      return await hang(signal);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const give = () => reject(new Failure("retry", "unanswered", "It was given up."));
    if (signal.aborted) give();
    else signal.addEventListener("abort", give, { once: true });
  });
}

async function* nothing(): AsyncGenerator<string, void, undefined> {}

export function status(code: number, reason: string, more: object = {}): object {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message: `${reason}.`, ...more };
}

export function object(name: string, resourceVersion: string): object {
  return { metadata: { name, uid: `uid-${name}`, resourceVersion } };
}

export function page(names: readonly string[], resourceVersion: string, next?: string): object {
  const metadata = { resourceVersion, ...(next === undefined ? {} : { continue: next }) };
  return { kind: "JobList", apiVersion: "batch/v1", metadata, items: names.map((name) => object(name, resourceVersion)) };
}
