/**
 * Brings a RabbitMQ of a known version: a small Debian tree of its own in the cache, made once by mmdebstrap.
 *
 * The failures this prevents: a package installed on the developer's machine whose service then listens on the default
 * port, tests that mean 3.10 and run against whatever is installed, and a half-made tree after a build was killed.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";

export type Version = "3.10" | "4.0";

/** The Debian release that carries each version. */
const SUITES: Record<Version, string> = { "3.10": "bookworm", "4.0": "trixie" };
const BUILD_MINUTES_MAX = 10;

export type Say = (sentence: string) => void;

/** The folder of the tree. Several processes may ask at once: one builds, the others wait for it. */
export async function rabbitmqRoot(version: Version, say: Say): Promise<string> {
  const cache = path.join(process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"), "longshore");
  const root = path.join(cache, `rabbitmq-${version}-${SUITES[version]}`);
  if (await exists(root)) return root;
  if (process.getuid?.() !== 0 || !(await exists("/usr/bin/apt-get"))) {
    throw new Error(
      `RabbitMQ ${version} for the tests is not in ${root}, and only root on Debian can make it: run the tests there once.`,
    );
  }
  await fs.mkdir(cache, { recursive: true });
  say(`RabbitMQ ${version}: making a Debian ${SUITES[version]} tree in ${root} (about half a minute, 250 MB, once)`);
  // flock lets go when its holder is killed, unlike a lock file of ours.
  await run("flock", [path.join(cache, "rabbitmq.lock"), process.execPath, import.meta.filename, version, root], say);
  return root;
}

async function build(version: Version, root: string, say: Say): Promise<void> {
  if (await exists(root)) return;
  const folder = path.dirname(root);
  for (const name of await fs.readdir(folder)) {
    // What a killed build left. One file system only: it may still have /proc mounted in it.
    if (name.startsWith(`${path.basename(root)}.`)) await run("rm", ["-rf", "--one-file-system", path.join(folder, name)], say);
  }
  if (!(await exists("/usr/bin/mmdebstrap"))) {
    say("installing mmdebstrap");
    const install = ["install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "mmdebstrap"];
    await run("apt-get", install, say).catch(async () => {
      await run("apt-get", ["update", "-q"], say);
      await run("apt-get", install, say);
    });
  }
  const making = `${root}.${randomUUID()}.tmp`;
  await run("mmdebstrap", ["--quiet", "--variant=minbase", "--include=rabbitmq-server", SUITES[version], making], say);
  await run(
    "rm",
    ["-rf", path.join(making, "var/cache/apt"), path.join(making, "usr/share/doc"), path.join(making, "usr/share/man")],
    say,
  );
  await fs.writeFile(path.join(making, "etc/hosts"), "127.0.0.1 localhost\n"); // else Erlang finds no host "localhost"
  await fs.rename(making, root);
  say(`RabbitMQ ${version} is ready`);
}

async function run(program: string, args: readonly string[], say: Say): Promise<void> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    timeout: BUILD_MINUTES_MAX * 60_000,
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said.splice(0, said.length - 100);
      said.push(text);
      if (program === "flock") say(text.trim());
    });
  }
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${String(code)}:\n${said.join("").trim()}`);
}

export async function exists(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}

if (import.meta.main) {
  const [version, root] = process.argv.slice(2);
  if ((version !== "3.10" && version !== "4.0") || root === undefined)
    throw new Error("usage: rabbitmq-root.ts <3.10|4.0> <folder>");
  await build(version, root, (sentence) => process.stderr.write(`${sentence}\n`));
}
