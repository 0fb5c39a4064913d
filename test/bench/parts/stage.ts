/**
 * The parts that a bench is made of, each in a process of its own with the settings that people would run it with: a broker, a
 * Postgres that waits for its disk, a cluster, one launcher, and one watcher if it is wanted.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Child, startChild } from "@longshore/cli/embedded/child.ts";
import { writeConfig } from "@longshore/cli/embedded/home.ts";
import { startPostgres } from "@longshore/ledger/embedded-postgres.ts";
import pg from "pg";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import type { BenchCluster } from "./bench-cluster.ts";
import { imageEnvironment } from "./image.ts";
import type { RequestLog } from "./requests.ts";

export type BrokerKind = "rabbitmq" | "postgres";

export interface StageOptions {
  readonly broker: BrokerKind;
  /** Opens the cluster; `home` is a folder for its files. */
  readonly cluster: (home: string) => Promise<BenchCluster>;
  readonly watcher: boolean;
  /** Jobs that the group may have at a time. */
  readonly jobs: number;
  /** A folder for CPU profiles of launcher and watcher. */
  readonly profile: string | undefined;
  /** Opens the inspectors of launcher and watcher, on free ports. */
  readonly inspect?: boolean;
  /** What the runs of the group may use. */
  readonly policy?: object;
  /** More of the launcher's settings. */
  readonly settings?: object;
}

export interface Stage extends AsyncDisposable {
  readonly brokerUrl: string;
  readonly product: string;
  readonly cluster: Pick<BenchCluster, "product" | "choice" | "pids">;
  /** The folder of the services' files. */
  readonly home: string;
  readonly launcher: Child;
  readonly watcher: Child | undefined;
  readonly database: pg.Client;
  readonly pids: Readonly<Record<string, number>>;
  readonly requests: RequestLog;
  /** Returns the work of the ledger's database since the database was made. */
  databaseWork(): Promise<DatabaseWork>;
}

export interface DatabaseWork {
  readonly transactions: number;
  readonly walBytes: number;
}

export async function openStage(options: StageOptions): Promise<Stage> {
  const { broker, cluster: openCluster, watcher, jobs, profile, inspect = false, policy, settings = {} } = options;
  await using parts = new AsyncDisposableStack();
  const home = await temporary(parts, "longshore-bench-");
  // Postgres gets a folder of its own, because the user that it runs as may not enter ours.
  const postgres = await startPostgres({ dataDir: await temporary(parts, "longshore-bench-postgres-") });
  parts.defer(postgres.stop);
  const rabbit = broker === "rabbitmq" ? parts.use(await rabbitmq({ version: "4.0" })) : undefined;
  const cluster = parts.use(await openCluster(home));
  const brokerUrl = rabbit?.url ?? postgres.url;
  const files = await writeConfig({
    home,
    brokerUrl,
    ledgerUrl: postgres.url,
    cluster: cluster.choice,
    jobs,
    ...(policy && { policy }),
    launcher: settings,
  });
  const flags = [
    ...(profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`]),
    ...(inspect ? ["--inspect=127.0.0.1:0"] : []),
  ];
  const start = async (program: "launcher" | "watcher"): Promise<Child> => {
    const image = await imageEnvironment(program, path.join(home, "compiled"));
    const options = [image["NODE_OPTIONS"] ?? "", ...flags].join(" ");
    const env = { ...process.env, ...image, NODE_OPTIONS: options };
    return parts.use(await startChild(program, { config: files[program], env }));
  };
  const launcher = await start("launcher");
  const watching = watcher ? await start("watcher") : undefined;
  const database = new pg.Client(postgres.url);
  await database.connect();
  parts.defer(() => database.end());

  const kept = parts.move();
  return {
    brokerUrl,
    product: rabbit === undefined ? "the ledger's Postgres" : `RabbitMQ ${rabbit.version}`,
    cluster,
    home,
    launcher,
    watcher: watching,
    database,
    pids: {
      launcher: launcher.pid,
      ...(watching && { watcher: watching.pid }),
      postgres: postgres.pid,
      ...(rabbit?.pid !== undefined && { rabbitmq: rabbit.pid }),
      ...cluster.pids,
    },
    requests: cluster.requests,
    databaseWork: () => workOf(database),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Makes a folder that is removed with the other parts. */
export async function temporary(parts: AsyncDisposableStack, name: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), name));
  parts.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Returns figures that may lag by a second, because backends report their work a little late. */
async function workOf(database: pg.Client): Promise<DatabaseWork> {
  const { rows } = await database.query<{ transactions: string; wal: string }>(
    "select xact_commit + xact_rollback as transactions, pg_current_wal_lsn() - '0/0' as wal from pg_stat_database where datname = current_database()",
  );
  return { transactions: Number(rows[0]?.transactions ?? 0), walBytes: Number(rows[0]?.wal ?? 0) };
}
