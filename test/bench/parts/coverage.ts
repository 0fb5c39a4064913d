/**
 * Finds the modules of a running Node program that execute between two moments, by V8's counts, which its inspector tells.
 *
 * The failure this prevents: a list of the modules that are loaded, which says nothing about the way of a message. A function
 * that waits and goes on counts as called again, so that a loop that never ends counts at each of its turns.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { inTime } from "@longshore/cli/embedded/child.ts";

export interface Coverage extends AsyncDisposable {
  /** Returns the files below the folder that executed since the last call, as paths relative to the folder. */
  taken(): Promise<ReadonlySet<string>>;
}

const ANSWER_WITHIN_MS = 60_000;

/** `said`: what the program printed to stderr after it was started with `--inspect`. */
export async function openCoverage(said: readonly string[], folder: string): Promise<Coverage> {
  const url = said.map((line) => /ws:\/\/\S+/.exec(line)?.[0]).find((it) => it !== undefined);
  if (url === undefined) throw new Error(`the program did not open its inspector; its last line is "${said.at(-1) ?? ""}"`);
  const inspector = await connect(url);
  await inspector.ask("Profiler.enable");
  await inspector.ask("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  return {
    taken: async () => executedIn(folder, (await inspector.ask("Profiler.takePreciseCoverage")) as Taken),
    [Symbol.asyncDispose]: () => inspector.close(),
  };
}

/** The part of the protocol's answer that is read here. V8 sets every count back to zero when it has answered. */
interface Taken {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly { readonly count: number }[] }[];
  }[];
}

function executedIn(folder: string, { result }: Taken): ReadonlySet<string> {
  const executed = result.filter(
    ({ url, functions }) => url.startsWith("file:") && functions.some(({ ranges }) => ranges.some(({ count }) => count > 0)),
  );
  const files = executed.map(({ url }) => path.relative(folder, fileURLToPath(url)));
  return new Set(files.filter((file) => !/^\.\.|(^|\/)node_modules\//.test(file)));
}

interface Inspector {
  ask(method: string, params?: object): Promise<unknown>;
  close(): Promise<void>;
}

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

async function connect(url: string): Promise<Inspector> {
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
    close: async () => {
      socket.close();
      await closed.promise;
    },
  };
}
