/**
 * Node 20, the oldest Node on which the client package promises to run: the machine's own, or else one that npm installs.
 *
 * The failure this prevents: a package that was only ever run by these tests' Node, which is newer.
 */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { cached, run, type Say } from "./cached.ts";

const VERSION = "20.20.2";
const PLATFORM = `node-${process.platform}-${process.arch}`;

export async function node20(say: Say): Promise<string> {
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  return folders.map((folder) => path.join(folder, "node")).find(isNode20) ?? (await fromNpm(say));
}

function isNode20(file: string): boolean {
  try {
    return execFileSync(file, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).startsWith("v20.");
  } catch {
    return false; // no Node in this folder
  }
}

async function fromNpm(say: Say): Promise<string> {
  const install = async (folder: string): Promise<void> => {
    await writeFile(path.join(folder, "package.json"), "{}");
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", `${PLATFORM}@${VERSION}`];
    await run("npm", args, { cwd: folder, what: `getting Node ${VERSION}`, say });
  };
  return path.join(await cached(`node-${VERSION}`, install, say), "node_modules", PLATFORM, "bin", "node");
}
