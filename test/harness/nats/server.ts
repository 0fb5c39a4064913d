/**
 * A private NATS server with JetStream for one test file. It can be killed, frozen and started again on the same data.
 *
 * The failure this prevents: tests against somebody else's server, or against a JetStream that is too old. Debian's 2.9
 * silently ignores settings that it does not know, so this server is built.
 */
import { randomBytes } from "node:crypto";
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
  /** Returns the URL of another user: launcher, watcher, upstream. */
  as(user: string): string;
}

const MODULE = {
  name: "nats",
  folder: import.meta.dirname,
  module: "github.com/nats-io/nats-server/v2",
  packages: { "nats-server": "github.com/nats-io/nats-server/v2" },
};

export const natsServer = async (): Promise<string> => path.join(await built(MODULE, toStderr), "nats-server");

/** The users of a deployment, each with rights to the subjects that it needs. */
const USERS = path.join(import.meta.dirname, "../../../deploy/nats/users.conf");
const OPERATOR = "operator";
const NAMED = [OPERATOR, "launcher", "watcher", "console", "upstream"];

/** The URL of the returned server is the operator's, who may do everything. */
export async function nats({ jetstream = true }: { readonly jetstream?: boolean } = {}): Promise<TestNats> {
  const program = await natsServer();
  const folder = await fs.mkdtemp(path.join(tmpdir(), "longshore-nats-"));
  const port = await freePort();
  const password = `p${randomBytes(12).toString("hex")}`; // the server may read a value that begins with a digit as a number
  const configuration = path.join(folder, "nats.conf");
  // By default a server confirms at once, and writes to the disk every two minutes.
  const store = { store_dir: path.join(folder, "store"), sync_interval: "always" };
  const lines = [`host: "127.0.0.1"`, `port: ${port}`, `include "${path.relative(folder, USERS)}"`];
  if (jetstream) lines.push(`jetstream: ${JSON.stringify(store)}`);
  await fs.writeFile(configuration, lines.join("\n"));
  const server = part({
    name: "nats-server",
    program,
    args: ["--config", configuration],
    env: Object.fromEntries(NAMED.map((it) => [`NATS_${it.toUpperCase()}_PASSWORD`, password])),
    logFile: path.join(folder, "nats.log"),
    ready: async () => (await greeting(port)).jetstream === (jetstream ? true : undefined),
  });
  await server.start();
  const as = (user: string): string => `nats://${user}:${password}@127.0.0.1:${port}`;
  return Object.assign(server, {
    url: as(OPERATOR),
    port,
    as,
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
