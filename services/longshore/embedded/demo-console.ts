/** The demo's web console, and its own reader, which asks it as a browser would. */
import type { ConsoleConfig } from "@longshore/console/config.ts";
import { newLink } from "@longshore/console/sign-in/tokens.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { person } from "../commands/link.ts";

export interface DemoConsole extends AsyncDisposable {
  /** A link that signs in once. */
  link(): Promise<string>;
  /** Signs in by a link, and returns the states of the runs that the console shows. */
  states(): Promise<readonly string[]>;
}

export async function openConsole(config: ConsoleConfig): Promise<DemoConsole> {
  const { webConsole } = await import("@longshore/console/main.ts"); // its HTTP server is not for every command to load
  const stop = new AbortController();
  const listening = Promise.withResolvers<() => Promise<string>>();
  const ended = webConsole(config, silentLog, stop.signal, async ({ url, pages }) =>
    listening.resolve(() => newLink(pages.signIns, url, person())),
  );
  ended.catch((error: unknown) => listening.reject(error));
  const link = await listening.promise;
  return {
    link,
    states: async () => await statesAt(new URL(await link())),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

async function statesAt({ origin, hash }: URL): Promise<readonly string[]> {
  const entered = await fetch(`${origin}/v1/enter`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token: hash.slice(1) }),
  });
  const cookie = entered.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  const answer = await fetch(`${origin}/v1/runs`, { headers: { cookie } });
  if (!answer.ok) throw new Failure("halt", "Console", `the console answered ${answer.status}: ${await answer.text()}`);
  const { rows } = (await answer.json()) as { readonly rows: readonly { readonly state: string }[] };
  return rows.map(({ state }) => state);
}
