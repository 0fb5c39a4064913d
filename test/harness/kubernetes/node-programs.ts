/**
 * The programs that a real node runs besides the kubelet, from Debian's packages: containerd, runc, two network plugins and a
 * busybox.
 *
 * The failure this prevents: a harness that changes the computer on which it tests. Nothing is installed: the packages are only
 * unpacked into the cache. If the computer has programs of the same names, they stay as they are, and are not used.
 *
 *   node test/harness/kubernetes/node-programs.ts      gets them now
 */
import * as fs from "node:fs/promises";
import path from "node:path";
import { cached, exists, run, type Say, toStderr } from "../builds/cached.ts";

const PACKAGES = ["containerd", "runc", "containernetworking-plugins", "busybox-static"] as const;
/** The programs above need these programs of the computer itself. A minimal Debian has all of them. */
const FROM_THE_MACHINE = ["unshare", "nsenter", "mount", "sleep", "env"] as const;

export interface NodePrograms {
  readonly containerd: string;
  readonly ctr: string;
  readonly runc: string;
  readonly busybox: string;
  /** A folder with the network plugins ptp, host-local and loopback. */
  readonly plugins: string;
}

export async function nodePrograms(say: Say = toStderr): Promise<NodePrograms> {
  await possible();
  const folder = await cached(`node-${await release()}`, (making) => unpack(making, say), say);
  return {
    containerd: path.join(folder, "usr/bin/containerd"),
    ctr: path.join(folder, "usr/bin/ctr"),
    runc: path.join(folder, "usr/sbin/runc"),
    busybox: path.join(folder, "bin/busybox"),
    plugins: path.join(folder, "usr/lib/cni"),
  };
}

async function possible(): Promise<void> {
  const why = (it: string): Error => new Error(`a real node needs ${it}: use nodes: "simulated", or run as root on Debian.`);
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    throw why("root on Linux (it makes cgroups, mounts and containers)");
  if (!(await exists("/usr/bin/apt-get"))) throw why("apt-get, to get containerd and runc from Debian");
  const searched = (process.env["PATH"] ?? "").split(":");
  for (const name of FROM_THE_MACHINE) {
    const found = await Promise.all(searched.map((folder) => exists(path.join(folder, name))));
    if (!found.includes(true))
      throw why(`the program ${name}, which is not on PATH (Debian: packages util-linux, mount, coreutils)`);
  }
}

/** Debian's release, "bookworm": a package of another release might need another libc. */
async function release(): Promise<string> {
  const text = await fs.readFile("/etc/os-release", "utf8");
  return /^VERSION_CODENAME="?(\w+)/m.exec(text)?.[1] ?? "debian";
}

async function unpack(making: string, say: Say): Promise<void> {
  say(`a real node: getting ${PACKAGES.join(", ")} (37 MB, once; they are unpacked into the cache, not installed)`);
  const download = (): Promise<string> =>
    run("apt-get", ["download", "-q", ...PACKAGES], { cwd: making, what: "downloading Debian packages", say });
  await download().catch(async () => {
    const update = ["-o", "DPkg::Lock::Timeout=120", "update", "-q"];
    await run("apt-get", update, { what: "learning which packages Debian has", say });
    await download();
  });
  for (const name of await fs.readdir(making)) {
    if (!name.endsWith(".deb")) continue;
    await run("dpkg", ["-x", path.join(making, name), making]);
    await fs.rm(path.join(making, name));
  }
  for (const unused of ["usr/share", "etc", "lib/systemd"])
    await fs.rm(path.join(making, unused), { recursive: true, force: true });
}

if (import.meta.main) for (const it of Object.values(await nodePrograms())) process.stdout.write(`${it}\n`);
