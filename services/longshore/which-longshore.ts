/**
 * Finds the Longshore that a command talks to: the one that `longshore up` left running in this folder, or the one that a
 * launcher's config file names.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { brokerOf } from "@longshore/broker/settings.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { openKeys } from "@longshore/launcher/keys.ts";
import { holderOf, lockFolder } from "@longshore/runtime/lock-folder.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import { z } from "zod";
import { fileAt, type Surroundings } from "./command.ts";
import { brokerBefore, startCommand, withoutUser } from "./embedded/earlier-starts.ts";
import { BROKER_FILE, HOME_MODE, LEDGER_FILE } from "./embedded/home.ts";

export interface Longshore {
  readonly installation: Installation;
  readonly broker: ReturnType<typeof brokerOf>;
  readonly ledgerUrl: string;
  readonly groupsFile: string;
  readonly definitionsDir?: string | undefined;
  /** The address of the web console that runs in the same process. */
  readonly console?: string | undefined;
  /** The launcher's config file, if a person named one. */
  readonly settings?: string | undefined;
  /** The mark of the key in that file (packages/ledger/key-mark.ts). */
  readonly keyMark?: string | undefined;
  /** The key that seals announcements, if the launcher announces its groups. */
  readonly sealKeys?: string | undefined;
  /** The key of logs, with which watchers are asked for them. */
  readonly logKeys?: string | undefined;
  /** For each group that an earlier start from this folder served: the command that serves it again. */
  readonly toServe?: Readonly<Record<string, string>> | undefined;
}

/** The file that `up` writes beside its data, readable by its user alone, because it holds passwords. */
const Running = z.object({
  pid: z.int(),
  installation: Installation,
  brokerUrl: z.string(),
  ledgerUrl: z.string(),
  groupsFile: z.string(),
  definitionsDir: z.string().optional(),
  console: z.string().optional(),
  toServe: z.record(z.string(), z.string()).optional(),
});
export type Running = z.infer<typeof Running>;

/** The folder of definitions that `longshore up` reads, if there is one. */
export const definitionsIn = (cwd: string): string => join(cwd, "config", "definitions");
export const dataDirIn = (cwd: string): string => join(cwd, ".longshore");
const runningFile = (dataDir: string): string => join(dataDir, "running.json");
/** True while the Longshore of the folder runs, and after it was killed. */
export const hasRecord = (dataDir: string): boolean => existsSync(runningFile(dataDir));

/**
 * Takes the data folder for this process, until the result is disposed of.
 *
 * The bug this prevents: two processes start in one folder at the same time. Both would start its Postgres, and both would
 * fail.
 */
export async function lockHome(dataDir: string): Promise<AsyncDisposable> {
  try {
    await makeFolder(dataDir);
    return await lockFolder(dataDir, (pid) => lockedBy(dataDir, pid));
  } catch (error) {
    if (error instanceof Failure) throw error;
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = WHY_NOT[code] ?? `cannot be made (${code})`;
    throw new Failure("halt", "DataFolder", `the data folder ${dataDir} ${why}; name another one: --data DIR`);
  }
}

function lockedBy(dataDir: string, pid: number | undefined): Failure {
  if (pid === undefined)
    return new Failure("halt", "DataFolder", `the data folder ${dataDir} takes no lock; name another one: --data DIR`);
  const what = `a Longshore runs from ${dataDir} already, as process ${pid}`;
  return new Failure(
    "halt",
    "AlreadyRunning",
    `${what}; stop it first (Ctrl-C in its terminal, or \`kill ${pid}\`), or give this one another --data DIR`,
  );
}

/** Not mkdir's `recursive`: if no folder can be made, as in /proc, Node tries for ever. */
async function makeFolder(path: string): Promise<void> {
  const isFolder = () => stat(path).then((it) => it.isDirectory(), () => false); // biome-ignore format: one question
  if (await isFolder()) return;
  if (!existsSync(dirname(path))) await makeFolder(dirname(path));
  await mkdir(path, { mode: HOME_MODE }).catch(async (error: unknown) => {
    if (!(await isFolder())) throw error; // else another start made it meanwhile, and its lock says so
  });
}

const WHY_NOT: Readonly<Record<string, string>> = {
  EEXIST: "is a file",
  ENOTDIR: "lies in something that is no folder",
  EACCES: "may not be written by you",
  EPERM: "may not be written by you",
  EROFS: "lies on a disk that is read only",
  ENOSPC: "lies on a disk that is full",
};

export async function writeRunning(dataDir: string, running: Running): Promise<AsyncDisposable> {
  const file = runningFile(dataDir);
  await mkdir(dataDir, { recursive: true });
  await writeFile(`${file}.tmp`, JSON.stringify(running, null, 2), { mode: 0o600 });
  await rename(`${file}.tmp`, file);
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}

export async function findLongshore(
  { config }: { readonly config: string | undefined },
  surroundings: Surroundings,
): Promise<Longshore> {
  const { env, cwd } = surroundings;
  const file = config ?? env["LONGSHORE_CONFIG"];
  if (file !== undefined) return ofConfig(fileAt(file, surroundings), env);
  const running = await readRunning(dataDirIn(cwd));
  if (running === undefined) throw new Failure("halt", "NotRunning", await whyNotRunning(cwd));
  const { brokerUrl, pid: _, ...same } = running;
  return { ...same, broker: { url: brokerUrl } };
}

const ELSEWHERE = "If one runs elsewhere, go to its folder, or name its settings file: `--config FILE`.";

/** Without its broker, a start would tell the ends of its runs where nobody waits for them. */
async function goesOn(dataDir: string): Promise<string> {
  const broker = await brokerBefore({ home: dataDir, brokerFile: BROKER_FILE, ledgerFile: LEDGER_FILE });
  const isNamed = broker !== undefined && URL.canParse(broker);
  const start = startCommand(isNamed ? ["--broker", withoutUser(broker)] : []);
  return `\`${start}\`, with${isNamed ? " its user and password and" : ""} the other options as before, goes on with its runs.`;
}

/** Names the folder: a person may stand in another one than the checkout. */
async function whyNotRunning(cwd: string): Promise<string> {
  const dataDir = dataDirIn(cwd);
  const pid = await holderOf(dataDir);
  if (pid !== undefined && pid !== process.pid)
    return `the Longshore of this folder is just starting or stopping, as process ${pid}. Its screen says when it is up.`;
  const notRunning = `there is no running Longshore in this folder, ${cwd}`;
  if (hasRecord(dataDir)) return `${notRunning}: it was killed. ${await goesOn(dataDir)} ${ELSEWHERE}`;
  if (existsSync(join(dataDir, "key"))) return `${notRunning}: it was stopped. ${await goesOn(dataDir)} ${ELSEWHERE}`;
  return `${notRunning}. \`npm start\` in the folder of the checkout starts one. ${ELSEWHERE}`;
}

function ofConfig(file: string, env: Surroundings["env"]): Longshore {
  const config = readConfig(LauncherConfig, { file, env });
  const { installation, ledger, groupsFile, definitionsDir, sealKeyFile, logKeyFile } = config;
  return {
    installation,
    groupsFile,
    definitionsDir,
    settings: file,
    broker: brokerOf(config),
    ledgerUrl: secretOf(ledger, "url")?.reveal() ?? "",
    keyMark: openKeys(Buffer.from(ledger.keyFile.reveal()), installation).mark,
    sealKeys: sealKeyFile?.reveal(),
    logKeys: logKeyFile?.reveal(),
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
    return undefined; // a full disk or an editor broke the file: the same as if nothing ran
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
