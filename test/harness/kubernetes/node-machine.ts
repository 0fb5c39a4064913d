/**
 * A node's machine inside the computer: a process namespace and a mount namespace of our own, and one program, the holder, that
 * keeps both.
 *
 * The failure this prevents: processes, mounts and files that containers leave behind. Everything that a node starts
 * (containerd, its shims, the containers, the kubelet) lives in this machine. Everything that a node mounts or writes is on a
 * disk in memory that is mounted only in it. When the holder ends, even by a kill, the kernel ends all of this: no process,
 * mount, network interface or file is left to clean up. Only cgroups outlive the holder; node-cgroups.ts removes those.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { leash } from "@longshore/ledger/embedded-postgres.ts";
import { type Part, type PartOptions, part } from "./part.ts";

export interface Machine extends AsyncDisposable {
  /** The holder's process id outside of the machine. */
  readonly pid: number;
  /** The path of the disk in memory, as the machine's programs see it. */
  readonly disk: string;
  /** The path of the same file, as seen from outside. */
  seen(file: string): string;
  /** Runs a program in the machine to its end. */
  run(program: string, ...args: readonly string[]): Promise<string>;
  /** A server in the machine. */
  part(options: PartOptions): Part;
}

const DISK_SIZE = "2g"; // a bound; only written bytes take memory
const RUN_WITHIN_MS = 120_000;

/** Settings that the kubelet and network plugins would change for the whole computer. A test must not change them. */
const KERNEL_SETTINGS = [
  "vm/overcommit_memory",
  "vm/panic_on_oom",
  "kernel/panic",
  "kernel/panic_on_oops",
  "kernel/keys/root_maxkeys",
  "kernel/keys/root_maxbytes",
  "net/ipv4/ip_forward",
] as const;

/**
 * The files in these folders stay visible, since the programs themselves may lie there. Writes to the folders stay in memory.
 */
const PREPARE = `set -eu
mount -t tmpfs -o size=${DISK_SIZE},mode=755 longshore-node "$1"
cd "$1"
for it in /run /var/lib /var/log; do
  mkdir -p "written$it" "work$it"
  mount -t overlay -o "lowerdir=$it,upperdir=$1/written$it,workdir=$1/work$it" longshore-node "$it"
done
for name in ${KERNEL_SETTINGS.join(" ")}; do
  [ -f "/proc/sys/$name" ] || continue
  mkdir -p "kernel/\${name%/*}"
  cat "/proc/sys/$name" > "kernel/$name"
  mount --bind "kernel/$name" "/proc/sys/$name"
done
echo "ready $(readlink /proc/self/ns/pid)"
exec env --ignore-signal=CHLD sleep infinity
`; // while that signal is ignored, the kernel reaps the orphans that this first process inherits

export async function startMachine(folder: string): Promise<Machine> {
  const disk = path.join(folder, "node-disk");
  await fs.mkdir(disk);
  const flags = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const child = spawn("unshare", [...flags, "sh", "-c", PREPARE, "node-machine", disk], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const gone = once(child, "exit");
  await once(child, "spawn");
  const leashed = leash(-(child.pid ?? 0), "KILL");
  void gone.then(() => leashed.release());
  await ready(child);
  const pid = await onlyChildOf(child.pid ?? 0);
  const inside = ["--ignore-signal=TERM", "nsenter", `--target=${pid}`, "--mount", "--pid", "--"];

  return {
    pid,
    disk,
    seen: (file) => path.join(`/proc/${pid}/root`, file),
    run: (program, ...args) => said("env", [...inside, program, ...args]),
    // nsenter passes no signals on, so signals go to the whole group. nsenter itself ignores SIGTERM, and so waits for the
    // program that it started.
    part: (options) => part({ ...options, program: "env", args: [...inside, options.program, ...options.args] }),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) process.kill(pid, "SIGKILL");
      await gone; // the holder ends after the last process in the namespace
    },
  };
}

async function ready(child: ChildProcess): Promise<void> {
  if (child.stdout === null || child.stderr === null) throw new Error("a process without pipes");
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
  const lines = createInterface({ input: child.stdout });
  const [first] = (await Promise.race([once(lines, "line"), once(lines, "close")])) as [string?];
  if (first?.startsWith("ready") === true) return;
  const how = "It needs the rights to mount and to make namespaces: root on a machine, or in a privileged container.";
  throw new Error(`a real node's namespaces could not be made: ${complaint.trim()}\n${how}`);
}

async function onlyChildOf(pid: number): Promise<number> {
  const text = await fs.readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  const child = Number.parseInt(text, 10);
  if (Number.isNaN(child)) throw new Error(`process ${pid} has no child`);
  return child;
}

async function said(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], timeout: RUN_WITHIN_MS });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}
