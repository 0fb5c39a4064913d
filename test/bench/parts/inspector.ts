/**
 * A running Node program's inspector, which answers what the program itself has no words for: its coverage, its heap.
 *
 * The failure this prevents: code in the product that only a bench would use.
 */
import { inTime } from "@longshore/cli/embedded/child.ts";

export interface Inspector extends AsyncDisposable {
  ask(method: string, params?: object): Promise<unknown>;
}

const ANSWER_WITHIN_MS = 60_000;

/** `said`: what the program printed to stderr after it was started with `--inspect`. */
export function inspectorUrl(said: readonly string[]): string {
  const url = said.map((line) => /ws:\/\/\S+/.exec(line)?.[0]).find((it) => it !== undefined);
  if (url === undefined) throw new Error(`the program did not open its inspector; its last line is "${said.at(-1) ?? ""}"`);
  return url;
}

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export async function openInspector(url: string): Promise<Inspector> {
  const socket = new WebSocket(url);
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  const opened = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  let asked = 0;
  socket.addEventListener("open", () => opened.resolve());
  socket.addEventListener("close", () => {
    const error = new Error("the inspector closed the connection");
    for (const { reject } of [opened, ...waiting.values()]) reject(error);
    closed.resolve();
  });
  socket.addEventListener("message", ({ data }) => {
    const { id = 0, result, error } = JSON.parse(String(data)) as Answer;
    if (error === undefined) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(`the inspector refused: ${error.message}`));
    waiting.delete(id);
  });
  await inTime(opened.promise, ANSWER_WITHIN_MS, "the inspector's connection");
  return {
    ask: async (method, params = {}) => {
      const answer = Promise.withResolvers<unknown>();
      waiting.set(++asked, answer);
      socket.send(JSON.stringify({ id: asked, method, params }));
      return await inTime(answer.promise, ANSWER_WITHIN_MS, `the inspector's answer to ${method}`);
    },
    // A program with an open inspector session does not end.
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await closed.promise;
    },
  };
}
