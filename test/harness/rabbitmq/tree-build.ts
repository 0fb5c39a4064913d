/**
 * A RabbitMQ of a known version in a small Debian tree of its own in the cache, which mmdebstrap makes once.
 *
 * The failures this prevents: a package installed on the developer's machine whose service then listens on the default port,
 * tests that name 3.10 and run against the installed version, and a half-made tree after a build was killed.
 */
import * as fs from "node:fs/promises";
import path from "node:path";
import { cached, cacheFolder, exists, run, type Say } from "../builds/cached.ts";
import type { Version } from "./where.ts";

/** The Debian release that has each version. */
const SUITES: Record<Version, string> = { "3.10": "bookworm", "4.0": "trixie" };
const BUILD_MINUTES_MAX = 10;

/** Returns the tree's folder. If several processes ask at once, one builds and the others wait for it. */
export async function rabbitmqRoot(version: Version, say: Say): Promise<string> {
  return await cached(`rabbitmq-${version}-${SUITES[version]}`, (making) => build(version, making, say), say);
}

async function build(version: Version, making: string, say: Say): Promise<void> {
  if (process.getuid?.() !== 0 || !(await exists("/usr/bin/apt-get"))) {
    throw new Error(
      `RabbitMQ ${version} for the tests is not in ${cacheFolder()}, and only root on Debian can make it: run the tests there once, or where a Docker engine answers.`,
    );
  }
  say(`RabbitMQ ${version}: making a Debian ${SUITES[version]} tree (about half a minute, 250 MB, once)`);
  const tree = { say, minutesMost: BUILD_MINUTES_MAX, what: `RabbitMQ ${version}` };
  if (!(await exists("/usr/bin/mmdebstrap"))) {
    say("installing mmdebstrap");
    const install = ["install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "mmdebstrap"];
    await run("apt-get", install, tree).catch(async () => {
      await run("apt-get", ["update", "-q"], tree);
      await run("apt-get", install, tree);
    });
  }
  await run("mmdebstrap", ["--quiet", "--variant=minbase", "--include=rabbitmq-server", SUITES[version], making], tree);
  for (const unread of ["var/cache/apt", "usr/share/doc", "usr/share/man"])
    await fs.rm(path.join(making, unread), { recursive: true, force: true });
  await fs.writeFile(path.join(making, "etc/hosts"), "127.0.0.1 localhost\n"); // else Erlang finds no host "localhost"
  say(`RabbitMQ ${version} is ready`);
}
