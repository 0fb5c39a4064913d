/**
 * A RabbitMQ in a Debian tree of our own, which root enters by chroot: for machines without a Docker engine.
 *
 * The failure this prevents: Erlang processes that stay behind. The server and its port mapper are one process group, which
 * ends with the process that asked for the server.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort, leash } from "@longshore/ledger/embedded-postgres.ts";
import { toStderr } from "../builds/cached.ts";
import { type Inside, inside, lastWords, signalGroup } from "../debian/tree.ts";
import { processesOfGroup, untilStopped } from "../servers/processes.ts";
import type { Account, Place, Running, Source } from "./where.ts";
import { rabbitmqRoot } from "./tree-build.ts";

export const trees: Source = {
  bring: async (version, say) => void (await rabbitmqRoot(version, say)),
  place: async (version, account) => {
    const port = await freePort();
    const tree = await prepared(await rabbitmqRoot(version, toStderr), port, account);
    return placeIn(tree, port);
  },
};

const HOME = "/var/lib/rabbitmq"; // RabbitMQ's scripts accept no other folder

interface Tree extends Inside {
  readonly epmdPort: number;
}

function placeIn(tree: Tree, port: number): Place {
  return {
    host: "127.0.0.1",
    port,
    start: () => started(tree),
    ctl: (args) => ctl(tree, args),
    [Symbol.asyncDispose]: () => fs.rm(tree.data, { recursive: true, force: true }),
  };
}

async function prepared(root: string, port: number, { user, password }: Account): Promise<Tree> {
  const data = await fs.mkdtemp(path.join(tmpdir(), "longshore-rabbitmq-"));
  const owner = await ownerIn(root);
  const epmdPort = await freePort();
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    `default_user = ${user}`,
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
  return { root, data, at: HOME, owner, epmdPort, env: environment(port, await freePort(), epmdPort) };
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
    RABBITMQ_CTL_ERL_ARGS: "-start_epmd false", // otherwise rabbitmqctl leaves a port mapper behind if the server is down
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

async function started(tree: Tree): Promise<Running> {
  const epmd = `epmd -port ${tree.epmdPort}`;
  // Starts the server only when our port mapper runs: a server that finds no port mapper starts its own, which outlives it. On
  // a busy machine a server that starts at the same time may look for the port mapper too early.
  const script = `${epmd} -address 127.0.0.1 & until ${epmd} -names > /dev/null 2>&1; do sleep 0.1; done; exec /usr/lib/rabbitmq/bin/rabbitmq-server`;
  const child = inside(tree, script);
  const said = lastWords(child);
  const gone = once(child, "exit");
  const { pid } = child;
  if (pid === undefined) throw new Error("unshare did not start: is util-linux installed, and is this root?");
  const leashed = leash(-pid, "KILL");
  child.once("exit", () => {
    signalGroup(pid, "SIGKILL"); // the port mapper outlives a server that fails to boot
    leashed.release();
  });
  return {
    pid,
    ended: () => Promise.resolve(child.exitCode !== null || child.signalCode !== null),
    lastWords: () => Promise.resolve(said()),
    kill: async () => {
      signalGroup(pid, "SIGKILL");
      await gone;
    },
    freeze: async () => {
      signalGroup(pid, "SIGSTOP");
      await untilStopped(await processesOfGroup(pid));
    },
    thaw: () => Promise.resolve(signalGroup(pid, "SIGCONT")),
  };
}

async function ctl(tree: Tree, args: readonly string[]): Promise<string> {
  const child = inside(tree, `exec rabbitmqctl --quiet -n "$RABBITMQ_NODENAME" "$@"`, args);
  let out = "";
  let err = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`rabbitmqctl ${args.join(" ")} ended with ${String(code)}: ${err || out}`);
  return out;
}
