/**
 * A copy of the source tree in which a bug may be planted, and a run of the simulation in it.
 *
 * The bug this prevents: a planted bug that stays. The checkout itself is never changed. Workspace packages resolve through
 * node_modules, so the copy has a node_modules of its own: links to our packages point into the copy, all others to the
 * original.
 */
import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import type { Only } from "../scenario/setting.ts";
import type { Edit } from "./bug.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

export interface Copy extends Disposable {
  readonly root: string;
}

export function copyOfSources(): Copy {
  const root = mkdtempSync(join(realpathSync(tmpdir()), "longshore-planted-"));
  const isSource = (path: string): boolean => basename(path) !== "node_modules";
  for (const folder of ["packages", "services", "test/simulation", "test/judge"])
    cpSync(join(ROOT, folder), join(root, folder), { recursive: true, filter: isSource });
  for (const file of ["package.json", "tsconfig.json"]) cpSync(join(ROOT, file), join(root, file));
  linkModules(root);
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}

function linkModules(root: string): void {
  const theirs = join(ROOT, "node_modules");
  const ours = join(root, "node_modules");
  mkdirSync(join(ours, "@longshore"), { recursive: true });
  for (const name of readdirSync(theirs))
    if (name !== "@longshore" && !name.startsWith(".")) symlinkSync(join(theirs, name), join(ours, name));
  for (const name of readdirSync(join(theirs, "@longshore"))) {
    const target = realpathSync(join(theirs, "@longshore", name));
    symlinkSync(join(root, relative(ROOT, target)), join(ours, "@longshore", name));
  }
  // If a package needs another version of a dependency than the rest, that version lies in a node_modules of its own.
  for (const part of ["packages", "services"]) {
    for (const name of readdirSync(join(ROOT, part))) {
      const own = join(ROOT, part, name, "node_modules");
      if (readdirSync(join(ROOT, part, name)).includes("node_modules")) symlinkSync(own, join(root, part, name, "node_modules"));
    }
  }
}

/** Throws unless each text stands in its file exactly once: otherwise the planted bug is not the one that its name says. */
export function plant(root: string, edits: readonly Edit[]): Disposable {
  const before = new Map<string, string>();
  for (const { file, find, replace } of edits) {
    const path = join(root, file);
    const text = readFileSync(path, "utf8");
    if (!before.has(path)) before.set(path, text);
    const count = text.split(find).length - 1;
    if (count !== 1) throw new Error(`${file} holds this ${count} times, and should once: ${find}`);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
  }
  return {
    [Symbol.dispose]: () => {
      for (const [path, text] of before) writeFileSync(path, text);
    },
  };
}

/** Which scenarios to run: `scenarios` seeds from `seed` on, with the troubles of `only` if these are given. */
export interface Tried {
  readonly seed: number;
  readonly scenarios: number;
  readonly only?: Only;
}

export interface Caught {
  readonly seed: number;
  readonly invariants: readonly string[];
}

export interface Outcome {
  readonly ran: number;
  readonly broken: readonly Caught[];
}

/** If a bug makes a scenario endless, this bound ends the scenario, so that the failure names the bug. */
const BOUND_MS = 20 * 60_000;

/**
 * Runs until an invariant is broken or all seeds have run. Throws if there is no verdict: a simulation that a busy machine did
 * not finish must not count as "nothing is broken".
 */
export async function simulate(root: string, { only, scenarios, seed }: Tried): Promise<Outcome> {
  const main = join(root, "test/simulation/main.ts");
  const words = ["--threads", "1", "--until-broken", "--quiet", "--scenarios", String(scenarios), "--seed", String(seed), ...(only === undefined ? [] : ["--only", only.join(",")])]; // biome-ignore format: one list
  // Compiling the copy anew for each bug would cost more than most bugs' scenarios. The cache goes with the copy.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(root, "compiled") };
  const child = spawn(process.execPath, [main, ...words], { stdio: ["ignore", "pipe", "pipe"], env });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), BOUND_MS);
  await new Promise((done) => child.once("close", done));
  clearTimeout(timer);
  const last = said
    .trimEnd()
    .split("\n")
    .findLast((line) => line.startsWith('{"sim"'));
  if (last === undefined)
    throw new Error(
      `${scenarios} scenarios from seed ${seed} ended without a verdict, within ${BOUND_MS / 1_000} s: ${said.slice(-400)}`,
    );
  return JSON.parse(last) as Outcome;
}
