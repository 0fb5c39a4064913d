/**
 * A console under test, asked over HTTP as a browser or a program asks it. It connects to the ledger with its own role, so that a
 * right that it lacks fails the test.
 */
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { type OnListening, webConsole } from "@longshore/console/main.ts";
import { newLink } from "@longshore/console/sign-in/tokens.ts";
import { rolesSql } from "@longshore/ledger/postgres/schema/roles.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { sqlAt } from "./servers/sql.ts";

export interface Asking {
  readonly cookie?: string | undefined;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** One server-sent event. */
export interface SentEvent {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
}

export const jsonOf = <T>({ body }: Answer): T => JSON.parse(body) as T;
export const tokenOf = (link: string): string => new URL(link).hash.slice(1);

export async function openConsole({ ledger, broker, access }: { ledger: string; broker: string; access: readonly object[] }) {
  await sqlAt(ledger, rolesSql(["console"]));
  await sqlAt(ledger, "alter role longshore_console password 'only-here'");
  const ledgerUrl = Object.assign(new URL(ledger), { username: "longshore_console", password: "only-here" }).href;
  const config = ConsoleConfig.parse({
    ...{ installation: "local", broker: { url: broker }, ledger: { url: ledgerUrl }, access },
    http: { listen: "127.0.0.1:0", health: "127.0.0.1:0" },
  });
  const stop = new AbortController();
  const listening = Promise.withResolvers<Parameters<OnListening>[0]>();
  const ended = webConsole(config, silentLog, stop.signal, async (at) => listening.resolve(at));
  ended.catch((error: unknown) => listening.reject(error));
  const { url, pages } = await listening.promise;

  /** Not fetch: it writes the header `host` itself. */
  async function begin(target: string, { cookie, body, headers = {} }: Asking) {
    const asking = httpRequest(`${url}${target}`, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(cookie !== undefined && { cookie }),
        ...headers,
      },
    });
    asking.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    return { answer, close: () => void asking.destroy() };
  }

  async function ask(target: string, asking: Asking = {}): Promise<Answer> {
    const { answer } = await begin(target, asking);
    let text = "";
    for await (const piece of answer.setEncoding("utf8")) text += String(piece);
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: text };
  }

  /** A stream, from the answer's head on: each event as it comes. */
  async function streamed(target: string, asking: Asking = {}) {
    const { answer, close } = await begin(target, asking);
    return { status: answer.statusCode ?? 0, type: answer.headers["content-type"], close, events: eventsOf(answer) };
  }

  const signIn = async (name: string, ...teams: readonly string[]): Promise<string> => {
    const { headers } = await ask("/v1/enter", { body: { token: tokenOf(await newLink(pages.signIns, url, { name, teams })) } });
    return headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
  };
  return { config, ledgerUrl, url, pages, ask, streamed, signIn, stop, ended };
}

async function* eventsOf(answer: IncomingMessage): AsyncGenerator<SentEvent, undefined> {
  let text = "";
  for await (const piece of answer.setEncoding("utf8")) {
    text += String(piece);
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const found = lines.flatMap((line) => /^(id|event|data): (.*)$/.exec(line)?.slice(1, 3) ?? []);
      const event = Object.fromEntries(found.flatMap((name, at) => (at % 2 === 0 ? [[name, found[at + 1]]] : [])));
      if (Object.keys(event).length > 0) yield event;
    }
  }
  return undefined;
}
