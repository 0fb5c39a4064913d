/**
 * A private RabbitMQ for one test file, of a version it names, which can be killed, frozen, filled and started again.
 *
 * The failures this prevents: tests against the ambient server on the default port, and Erlang processes that stay
 * behind: server and port mapper are one process group, which ends with the process that asked for it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, leash } from "@longshore/ledger/embedded.ts";
import { processesOfGroup, untilStopped } from "./processes.ts";
import { type Say, toStderr } from "./cached.ts";
import { rabbitmqRoot, type Version } from "./rabbitmq-root.ts";

export interface TestRabbitmq extends AsyncDisposable {
  readonly version: Version;
  /** Of the server, while it runs. */
  readonly pid: number | undefined;
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** `rabbitmqctl` with these arguments; resolves to what it printed. */
  ctl(...args: string[]): Promise<string>;
  /** kill -9 of the whole server. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port; resolves when it accepts connections. */
  start(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Raises the memory alarm: the server stops reading from who publishes. */
  block(): Promise<void>;
  unblock(): Promise<void>;
}

const START_WITHIN_MS = 90_000;
const USER = "longshore";
const HOME = "/var/lib/rabbitmq"; // the scripts insist on it

interface Place {
  readonly root: string;
  readonly data: string; // outside; seen as HOME inside
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly env: Readonly<Record<string, string>>;
  readonly epmdPort: number;
}

export async function rabbitmq({
  version,
  say = toStderr,
}: {
  readonly version: Version;
  readonly say?: Say;
}): Promise<TestRabbitmq> {
  const port = await freePort();
  const password = randomBytes(12).toString("hex");
  const place = await prepared(await rabbitmqRoot(version, say), port, password);
  let server: Running | undefined = await started(place, port);

  const signal = (name: NodeJS.Signals): Promise<void> => {
    if (server === undefined) return Promise.reject(new Error("this RabbitMQ is not running"));
    signalGroup(server.pid, name);
    return Promise.resolve();
  };
  const kill = async (): Promise<void> => {
    if (server === undefined) return;
    const gone = server.gone;
    await signal("SIGKILL");
    await gone;
    server = undefined;
  };

  return {
    version,
    get pid() {
      return server?.pid;
    },
    url: `amqp://${USER}:${password}@127.0.0.1:${port}/`,
    host: "127.0.0.1",
    port,
    user: USER,
    password,
    ctl: (...args) => ctl(place, args),
    kill,
    start: async () => {
      server = await started(place, port);
    },
    freeze: async () => {
      await signal("SIGSTOP");
      if (server !== undefined) await untilStopped(await processesOfGroup(server.pid));
    },
    thaw: () => signal("SIGCONT"),
    block: async () => void (await ctl(place, ["set_vm_memory_high_watermark", "absolute", "1"])),
    unblock: async () => void (await ctl(place, ["set_vm_memory_high_watermark", "0.6"])),
    [Symbol.asyncDispose]: async () => {
      await kill();
      await fs.rm(place.data, { recursive: true, force: true });
    },
  };
}

async function prepared(root: string, port: number, password: string): Promise<Place> {
  const data = await fs.mkdtemp(path.join(tmpdir(), "longshore-rabbitmq-"));
  const owner = await ownerIn(root);
  const epmdPort = await freePort();
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    `default_user = ${USER}`,
    `default_pass = ${password}`,
    "log.console = true",
    "log.console.level = warning",
    "log.file = false",
    "disk_free_limit.absolute = 10MB",
    "vm_memory_high_watermark.relative = 0.6",
  ];
  await fs.writeFile(path.join(data, "rabbitmq.conf"), `${config.join("\n")}\n`);
  await fs.writeFile(path.join(data, "plugins"), "[].\n");
  await fs.writeFile(path.join(data, ".erlang.cookie"), randomBytes(16).toString("hex"), { mode: 0o400 });
  for (const name of ["mnesia", "log"]) await fs.mkdir(path.join(data, name));
  for (const name of ["", ".erlang.cookie", "mnesia", "log", "plugins", "rabbitmq.conf"]) {
    await fs.chown(path.join(data, name), owner.uid, owner.gid);
  }
  return { root, data, owner, epmdPort, env: environment(port, await freePort(), epmdPort) };
}

function environment(port: number, distPort: number, epmdPort: number): Record<string, string> {
  return {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME,
    LANG: "C.UTF-8",
    RABBITMQ_NODENAME: `longshore-${port}@localhost`,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: `${HOME}/mnesia`,
    RABBITMQ_LOG_BASE: `${HOME}/log`,
    RABBITMQ_CONFIG_FILE: `${HOME}/rabbitmq.conf`,
    RABBITMQ_CONF_ENV_FILE: "/dev/null",
    RABBITMQ_ENABLED_PLUGINS_FILE: `${HOME}/plugins`,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
    RABBITMQ_CTL_ERL_ARGS: "-start_epmd false", // else it leaves one behind when the server is down
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: String(epmdPort),
  };
}

async function ownerIn(root: string): Promise<{ uid: number; gid: number }> {
  const passwd = await fs.readFile(path.join(root, "etc/passwd"), "utf8");
  const [, , uid, gid] = (passwd.split("\n").find((line) => line.startsWith("rabbitmq:")) ?? "").split(":");
  if (uid === undefined || gid === undefined)
    throw new Error(`there is no user rabbitmq in ${root}: remove the folder, and it is made again`);
  return { uid: Number(uid), gid: Number(gid) };
}

/** In mounts of its own, which go with the process: nothing stays mounted in the cache. */
function inside({ root, data, owner, env }: Place, script: string, args: readonly string[] = []): ChildProcess {
  const enter = [
    `mount --rbind /dev "${root}/dev"`,
    `mount -t proc proc "${root}/proc"`,
    `mount --bind "${data}" "${root}${HOME}"`,
    `exec chroot --userspec=${owner.uid}:${owner.gid} --groups=${owner.gid} "${root}" /bin/sh -c "$0" sh "$@"`,
  ].join(" && ");
  return spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", enter, script, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env,
    detached: true,
  });
}

interface Running {
  readonly pid: number;
  readonly gone: Promise<unknown>;
}

async function started(place: Place, port: number): Promise<Running> {
  const script = `epmd -port ${place.epmdPort} -address 127.0.0.1 & exec /usr/lib/rabbitmq/bin/rabbitmq-server`;
  const child = inside(place, script);
  const said = lastWords(child);
  const gone = once(child, "exit");
  const { pid } = child;
  if (pid === undefined) throw new Error("unshare did not start: is util-linux installed, and is this root?");
  const leashed = leash(-pid, "KILL");
  child.once("exit", () => {
    signalGroup(pid, "SIGKILL"); // the port mapper outlives a server that fails to boot
    leashed.release();
  });
  for (const start = performance.now(); performance.now() - start < START_WITHIN_MS; await sleep(100)) {
    if (child.exitCode !== null) break;
    if (await accepts(port)) return { pid, gone };
  }
  throw new Error(`RabbitMQ did not start on port ${port}. Its last words:\n${said()}`);
}

function signalGroup(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch (error) {
    // All of it may have ended already.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function lastWords(child: ChildProcess): () => string {
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
  }
  return () => said;
}

/** An open port is not enough: it answers a protocol header only when it has booted. */
async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    socket.write("AMQP\0\0\x09\x01");
    await once(socket, "data", { signal: AbortSignal.timeout(2_000) });
    return true;
  } catch {
    return false; // not yet
  } finally {
    socket.destroy();
  }
}

async function ctl(place: Place, args: readonly string[]): Promise<string> {
  const child = inside(place, `exec rabbitmqctl --quiet -n "$RABBITMQ_NODENAME" "$@"`, args);
  let out = "";
  let err = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`rabbitmqctl ${args.join(" ")} ended with ${String(code)}: ${err || out}`);
  return out;
}
