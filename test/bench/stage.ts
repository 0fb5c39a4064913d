/**
 * The parts that the spine is made of, each in a process of its own with the settings that people would run it with: a broker,
 * a Postgres that waits for its disk, the pocket with instant pods, one launcher, one watcher.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { startChild } from "@longshore/cli/child.ts";
import { NAMESPACE, writeConfig } from "@longshore/cli/home.ts";
import { startPostgres } from "@longshore/ledger/embedded.ts";
import pg from "pg";
import { rabbitmq } from "../harness/rabbitmq.ts";
import { startPocketProcess } from "../harness/pocket.ts";
import { openRequestLog, type RequestLog } from "./requests.ts";

export type BrokerKind = "rabbitmq" | "postgres";

export interface StageOptions {
  readonly broker: BrokerKind;
  /** Jobs that the group may have at a time. */
  readonly jobs: number;
  /** A folder for CPU profiles of launcher and watcher. */
  readonly profile: string | undefined;
}

export interface Stage extends AsyncDisposable {
  readonly brokerUrl: string;
  readonly product: string;
  readonly pids: Readonly<Record<string, number>>;
  readonly requests: RequestLog;
  /** Of the ledger's database since it was made. */
  databaseWork(): Promise<DatabaseWork>;
}

export interface DatabaseWork {
  readonly transactions: number;
  readonly walBytes: number;
}

export async function openStage({ broker, jobs, profile }: StageOptions): Promise<Stage> {
  await using parts = new AsyncDisposableStack();
  const home = await temporary(parts, "longshore-bench-");
  // Not inside our own folder, which the user that Postgres runs as may not enter.
  const postgres = await startPostgres({ dataDir: await temporary(parts, "longshore-bench-postgres-") });
  parts.defer(postgres.stop);
  const rabbit = broker === "rabbitmq" ? parts.use(await rabbitmq({ version: "4.0" })) : undefined;
  const requestLog = path.join(home, "requests.jsonl");
  const pocket = parts.use(await startPocketProcess(home, requestLog, true));

  const tokenFile = path.join(home, "token");
  await writeFile(tokenFile, pocket.token, { mode: 0o600 });
  const brokerUrl = rabbit?.url ?? postgres.url;
  const credential = { tokenFile };
  const cluster = {
    name: "pocket",
    namespace: NAMESPACE,
    cluster: { server: pocket.url },
    launch: credential,
    watch: credential,
  };
  const files = await writeConfig({ home, brokerUrl, ledgerUrl: postgres.url, cluster, jobs });
  const env = profile === undefined ? process.env : { ...process.env, NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` };
  const launcher = parts.use(await startChild("launcher", { config: files.launcher, env }));
  const watcher = parts.use(await startChild("watcher", { config: files.watcher, env }));
  const database = new pg.Client(postgres.url);
  await database.connect();
  parts.defer(() => database.end());

  const pids = { launcher: launcher.pid, watcher: watcher.pid, pocket: pocket.pid, postgres: postgres.pid };
  const kept = parts.move();
  return {
    brokerUrl,
    product: rabbit === undefined ? "the ledger's Postgres" : `RabbitMQ ${rabbit.version}`,
    pids: rabbit?.pid === undefined ? pids : { ...pids, rabbitmq: rabbit.pid },
    requests: openRequestLog(requestLog),
    databaseWork: () => workOf(database),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function temporary(parts: AsyncDisposableStack, name: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), name));
  parts.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Backends report what they did a little later than they do it, so this may lag by a second. */
async function workOf(database: pg.Client): Promise<DatabaseWork> {
  const { rows } = await database.query<{ transactions: string; wal: string }>(
    "select xact_commit + xact_rollback as transactions, pg_current_wal_lsn() - '0/0' as wal from pg_stat_database where datname = current_database()",
  );
  return { transactions: Number(rows[0]?.transactions ?? 0), walBytes: Number(rows[0]?.wal ?? 0) };
}
