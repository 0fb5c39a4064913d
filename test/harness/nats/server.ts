/**
 * A private NATS server with JetStream for one test file. It can be killed, frozen and started again on the same data.
 *
 * The failure this prevents: tests against somebody else's server, or against a JetStream that is too old. Debian's 2.9 ignores
 * settings that it does not know without a word, so this server is built.
 */
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import { built } from "../builds/go.ts";
import { type Part, part } from "../kubernetes/part.ts";
import { toStderr } from "../builds/cached.ts";

export interface TestNats extends Part, AsyncDisposable {
  readonly url: string;
  readonly port: number;
}

const MODULE = {
  folder: import.meta.dirname,
  module: "github.com/nats-io/nats-server/v2",
  packages: { "nats-server": "github.com/nats-io/nats-server/v2" },
};

export const natsServer = async (): Promise<string> => path.join(await built(MODULE, toStderr), "nats-server");

export async function nats(): Promise<TestNats> {
  const program = await natsServer();
  const folder = await fs.mkdtemp(path.join(tmpdir(), "longshore-nats-"));
  const port = await freePort();
  const server = part({
    name: "nats-server",
    program,
    args: ["--addr", "127.0.0.1", "--port", String(port), "--jetstream", "--store_dir", path.join(folder, "store")],
    logFile: path.join(folder, "nats.log"),
    ready: async () => (await greeting(port)).jetstream === true,
  });
  await server.start();
  return Object.assign(server, {
    url: `nats://127.0.0.1:${port}`,
    port,
    [Symbol.asyncDispose]: async () => {
      await server.kill();
      await fs.rm(folder, { recursive: true, force: true });
    },
  });
}

export interface Greeting {
  readonly version: string;
  readonly jetstream?: boolean;
}

/** Returns the server's description of itself, which it sends to every client that connects. */
export async function greeting(port: number): Promise<Greeting> {
  const socket = connect(port, "127.0.0.1");
  try {
    const [line] = (await once(createInterface({ input: socket }), "line", { signal: AbortSignal.timeout(2_000) })) as [string];
    return JSON.parse(line.replace(/^INFO /, "")) as Greeting;
  } finally {
    socket.destroy();
  }
}
