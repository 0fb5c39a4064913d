/**
 * Finds the Longshore that a command talks to: the one that `longshore up` left running in this folder, or the one that a
 * launcher's config file names.
 */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brokerOf } from "@longshore/broker/settings.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { fileNamed } from "@longshore/runtime/config/file-named.ts";
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import { z } from "zod";
import type { Surroundings } from "./command.ts";

export interface Longshore {
  readonly installation: Installation;
  readonly broker: ReturnType<typeof brokerOf>;
  readonly ledgerUrl: string;
  readonly groupsFile: string;
  /** The key that seals announcements, if the launcher announces its groups. */
  readonly sealKeys?: string | undefined;
}

/** The file that `up` writes beside its data, readable by its user alone, because it holds passwords. */
const Running = z.object({
  pid: z.int(),
  installation: Installation,
  brokerUrl: z.string(),
  ledgerUrl: z.string(),
  groupsFile: z.string(),
});
export type Running = z.infer<typeof Running>;

export const dataDirIn = (cwd: string): string => join(cwd, ".longshore");
const runningFile = (dataDir: string): string => join(dataDir, "running.json");

export async function writeRunning(dataDir: string, running: Running): Promise<AsyncDisposable> {
  const file = runningFile(dataDir);
  await mkdir(dataDir, { recursive: true });
  await writeFile(`${file}.tmp`, JSON.stringify(running, null, 2), { mode: 0o600 });
  await rename(`${file}.tmp`, file);
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}

export async function findLongshore(
  { config }: { readonly config: string | undefined },
  { env, cwd }: Surroundings,
): Promise<Longshore> {
  const file = config ?? env["LONGSHORE_CONFIG"];
  if (file !== undefined) return ofConfig(fileNamed(file, env, cwd), env);
  const running = await readRunning(dataDirIn(cwd));
  if (running === undefined) {
    throw new Failure(
      "halt",
      "NotRunning",
      "no Longshore runs from this folder. Start one with `npm start`, or name yours: --config config/launcher.yaml",
    );
  }
  const { installation, brokerUrl, ledgerUrl, groupsFile } = running;
  return { installation, broker: { url: brokerUrl }, ledgerUrl, groupsFile };
}

function ofConfig(file: string, env: Surroundings["env"]): Longshore {
  const config = readConfig(LauncherConfig, { file, env });
  const { installation, ledger, groupsFile, sealKeyFile } = config;
  return {
    installation,
    groupsFile,
    broker: brokerOf(config),
    ledgerUrl: secretOf(ledger, "url")?.reveal() ?? "",
    sealKeys: sealKeyFile?.reveal(),
  };
}

export async function readRunning(dataDir: string): Promise<Running | undefined> {
  const text = await readFile(runningFile(dataDir), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const running = Running.safeParse(jsonOf(text));
  // If the file has our own process id, an earlier process left the file behind: in a container, the first process always has
  // the same id.
  const isOther = running.success && running.data.pid !== process.pid && isAlive(running.data.pid);
  return isOther ? running.data : undefined;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a full disk, or somebody's editor: as if nothing ran
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
