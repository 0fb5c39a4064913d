/**
 * Lends servers to the test files of a run, so that files which need no server of their own share one.
 *
 * The failures this prevents: a server for each file, of which some cost as much as the test; and a server that outlives its
 * last borrower or the run. A server starts when the first file asks for it, and ends when no file that is left names it.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Answer } from "../harness/lending/borrow.ts";
import type { LentServer } from "../harness/lending/servers.ts";

export interface Lender extends AsyncDisposable {
  /** "port token": where files ask, and the word that only they know. */
  readonly address: string;
  /** Notes that a file which borrows these servers is over. */
  over(borrows: readonly string[]): Promise<void>;
}

/** Helpers of the harness that borrow for the file that calls them. */
const BORROWING: readonly (readonly [RegExp, string])[] = [[/\blentPlane\(/, "kubernetes none"]];

/** Returns the beginnings of the names of servers that a test file borrows: "kubernetes simulated", "rabbitmq 4.0". */
export function borrowsOf(text: string): string[] {
  const byHelpers = BORROWING.flatMap(([call, what]) => (call.test(text) ? [what] : []));
  const named = [...text.matchAll(/\b(kubernetes|rabbitmq)\(\{([^{}]*\bshared: true\b[^{}]*)\}/g)].flatMap(
    ([, kind, options = ""]) => {
      const [, flavour] = /\b(?:nodes|version): "([\w.]+)"/.exec(options) ?? [];
      return flavour === undefined ? [] : [`${kind} ${flavour}`];
    },
  );
  return [...named, ...byHelpers];
}

export async function openLender(
  files: readonly { readonly borrows: readonly string[] }[],
  start: (what: string) => Promise<LentServer>,
): Promise<Lender> {
  const token = randomUUID();
  const left = files.flatMap(({ borrows }) => borrows);
  const servers = new Map<string, Promise<LentServer>>();

  function serverOf(what: string): Promise<LentServer> {
    const there = servers.get(what);
    if (there !== undefined) return there;
    const starting = start(what);
    starting.catch(() => servers.delete(what)); // the next file tries again
    servers.set(what, starting);
    return starting;
  }

  async function end(what: string): Promise<void> {
    const server = servers.get(what);
    servers.delete(what);
    await (await server?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  async function serve(socket: Socket): Promise<void> {
    const gone = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => undefined); // `gone` follows
    const [line] = (await Promise.race([once(createInterface({ input: socket }), "line"), gone.then(() => [])])) as [string?];
    if (line?.startsWith(`${token} `) !== true) return void socket.destroy();
    const what = line.slice(token.length + 1);
    const borrower = randomUUID();
    const say = (answer: Answer): void => void (socket.writable && socket.write(`${JSON.stringify(answer)}\n`));
    try {
      const server = await serverOf(what);
      say({ given: await server.lend(borrower), borrower });
      await gone;
      if (servers.has(what)) await server.takeBack(borrower);
    } catch (error) {
      say({ refused: error instanceof Error ? error.message : String(error) });
      socket.end();
    }
  }

  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.once("close", () => sockets.delete(socket)));
    void serve(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `${(server.address() as AddressInfo).port} ${token}`,
    async over(borrows) {
      for (const it of borrows) left.splice(left.indexOf(it), 1);
      const unneeded = [...servers.keys()].filter((what) => !left.some((it) => what.startsWith(`${it} `) || what === it));
      await Promise.all(unneeded.map(end));
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy(); // else a loan that a file never ended would keep the run from ending
      await Promise.all([...servers.keys()].map(end));
    },
  };
}
