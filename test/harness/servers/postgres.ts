/**
 * A private Postgres for one test file. It can be killed, frozen and started again on the same port and data.
 *
 * The failures this prevents: a test that passes because some Postgres on the default port happened to suit it, and a server
 * that stays behind when an assertion throws. The server ends with the process that asked for it, even if that process is
 * killed.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { type EmbeddedPostgres, startPostgres } from "@longshore/ledger/embedded-postgres.ts";
import pg from "pg";
import { copyNewData } from "./postgres-data.ts";
import { untilStopped } from "./processes.ts";

export interface TestPostgres extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Makes an empty database in this server, for a test that must be alone; resolves to the database's URL. */
  database(): Promise<string>;
  /** Kills every process of the server with kill -9, as when the machine loses power. */
  kill(): Promise<void>;
  /** Starts the server again on the same data and port. */
  start(): Promise<void>;
  /** Sends SIGSTOP to every process of the server: connections stay open and nothing answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

const START_TRIES_MAX = 100;

export async function postgres({ unsafe = false }: { readonly unsafe?: boolean } = {}): Promise<TestPostgres> {
  const dataDir = await mkdtemp(path.join(tmpdir(), "longshore-postgres-"));
  await copyNewData(dataDir);
  let server: EmbeddedPostgres | undefined = await startPostgres({ dataDir, unsafe });
  const { url, port } = server;

  const signal = async (name: NodeJS.Signals): Promise<void> => {
    if (server === undefined) throw new Error("this Postgres is not running");
    for (const pid of [server.pid, ...(await children(server.pid))]) send(pid, name);
  };

  /** Stops the parent first: otherwise it could start a child after we listed its children, and that child would run on. */
  const freeze = async (): Promise<void> => {
    if (server === undefined) throw new Error("this Postgres is not running");
    send(server.pid, "SIGSTOP");
    await untilStopped([server.pid]);
    await signal("SIGSTOP");
    await untilStopped(await children(server.pid));
  };

  return {
    url,
    port,
    database: async () => {
      const name = `test_${randomUUID().replaceAll("-", "")}`;
      const client = new pg.Client(url);
      await client.connect();
      try {
        await client.query(`create database ${name}`);
      } finally {
        await client.end();
      }
      return Object.assign(new URL(url), { pathname: `/${name}` }).href;
    },
    kill: async () => {
      await freeze();
      await signal("SIGKILL");
      await server?.stop(); // resolves when the system has removed the process
      server = undefined;
    },
    start: async () => {
      server = await startAgain(dataDir, port, unsafe);
    },
    freeze,
    thaw: () => signal("SIGCONT"),
    [Symbol.asyncDispose]: async () => {
      if (server !== undefined) {
        await signal("SIGCONT");
        await signal("SIGQUIT"); // a quick end: the data is removed next, so it needs no checkpoint
        await server.stop();
      }
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Starts the server again. The killed server's children need a moment to notice; until then its shared memory is in use. */
async function startAgain(dataDir: string, port: number, unsafe: boolean): Promise<EmbeddedPostgres> {
  for (let tries = 1; ; tries++) {
    try {
      return await startPostgres({ dataDir, port, unsafe });
    } catch (error) {
      if (!(error instanceof Failure && error.code === "DataFolderInUse") || tries === START_TRIES_MAX) throw error;
      await sleep(50);
    }
  }
}

async function children(pid: number): Promise<readonly number[]> {
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return list.split(" ").filter(Boolean).map(Number);
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // A backend may end after it was listed and before our signal.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
