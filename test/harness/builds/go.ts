/**
 * Programs built from Go modules. A go.mod and a go.sum in this repository pin every version and hash.
 *
 * The failure this prevents: a test that downloads its program from one more server, or uses the version that happens to be
 * installed.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import path from "node:path";
import { cached, cacheFolder, run, type Say } from "./cached.ts";

export interface GoModule {
  /** The first part of the cache folder's name; the version follows. */
  readonly name: string;
  /** The folder of its go.mod. */
  readonly folder: string;
  /** The module whose version the built programs have. Absent for a program of our own: then its source counts. */
  readonly module?: string;
  /** For each program's name the package from which it is built. */
  readonly packages: Readonly<Record<string, string>>;
}

/** Four minutes, if nobody else uses the machine. A build that is ended begins anew. */
const BUILD_MINUTES_MOST = 90;

/** Returns the folder in the cache that holds the module's programs. */
export async function built({ name, folder, module, packages }: GoModule, say: Say): Promise<string> {
  const version = module === undefined ? await ofSource(folder) : await versionIn(path.join(folder, "go.mod"), module);
  return await cached(`${name}-${version}`, (making) => build({ folder, packages, version, making, say }), say);
}

/** What Go compiled for one program serves the next: all builds share the standard library, most share Kubernetes' libraries. */
const compiledByGo = (): string => path.join(cacheFolder(), "go-build");

let hasBuilt = false;

/**
 * Removes what Go compiled, three gigabytes, when the last program is built. A process that has built nothing removes nothing:
 * another one may be in the middle of a build.
 */
export async function forgetCompiled(): Promise<void> {
  if (!hasBuilt) return;
  await fs.rm(compiledByGo(), { recursive: true, force: true });
}

interface Build {
  readonly folder: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly version: string;
  readonly making: string;
  readonly say: Say;
}

/** Builds one program after the other, so that each says when it is done, and memory holds one linker at a time. */
async function build({ folder, packages, version, making, say }: Build): Promise<void> {
  await goIsThere();
  hasBuilt = true;
  const env = {
    CGO_ENABLED: "0",
    GOCACHE: compiledByGo(),
    GOFLAGS: "-mod=readonly -buildvcs=false",
    // Go's compiler collects its garbage less often: a fifth less of the processor's time.
    GOGC: "400",
  };
  const linking = `-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v${version}`;
  // Nothing is inlined, and nothing is noted for a debugger: a third less of the processor's time for a build.
  const compiling = "-gcflags=all=-l -dwarf=false";
  for (const [name, from] of Object.entries(packages)) {
    const began = performance.now();
    const what = `building ${name} ${version}`;
    say(`${what} from Go modules, once for all checkouts`);
    const args = ["-n", "5", "go", "build", "-trimpath", compiling, linking, "-o", path.join(making, name), from];
    await run("nice", args, { cwd: folder, env, what, say, minutesMost: BUILD_MINUTES_MOST });
    say(`  ${name} ${version} is built, ${Math.round((performance.now() - began) / 1000)} s`);
  }
}

async function goIsThere(): Promise<void> {
  await run("go", ["version"]).catch((error: unknown) => {
    throw new Error("the servers of these tests are built with Go, which did not start: install Go 1.26 or newer.", {
      cause: error,
    });
  });
}

/** Another source makes another program, under another name in the cache. */
async function ofSource(folder: string): Promise<string> {
  const source = await fs.readFile(path.join(folder, "main.go"));
  return createHash("sha256").update(source).digest("hex").slice(0, 12);
}

async function versionIn(file: string, module: string): Promise<string> {
  const text = await fs.readFile(file, "utf8");
  const line = text.split("\n").find((it) =>
    it
      .replace(/^require /, "")
      .trim()
      .startsWith(`${module} v`),
  );
  if (line === undefined) throw new Error(`${file} does not require ${module}`);
  return line.slice(line.lastIndexOf(" v") + 2);
}
