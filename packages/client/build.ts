/**
 * `npm pack` and `npm publish` run this first. It compiles the client's sources, and the contract's files that they import, to
 * JavaScript and types in dist/.
 *
 * The failures this prevents: a package of TypeScript, which Node does not run from node_modules, and a package that depends on
 * `@longshore/contract`, which no registry has.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const DIST = join(import.meta.dirname, "dist");
const ENTRIES = ["client/request.ts", "client/story.ts"];
const OURS = /"(@longshore\/contract|\.{1,2})\/([\w/-]+)\.ts"/g;

/** The compiler leaves imports as they are written, so it gets copies whose imports fit the compiled files. */
function build(): void {
  const sources = mkdtempSync(join(tmpdir(), "longshore-client-"));
  try {
    symlinkSync(join(ROOT, "node_modules"), join(sources, "node_modules"));
    writeFileSync(join(sources, "package.json"), '{ "type": "module" }');
    for (const part of ["client", "contract"]) {
      const all = readdirSync(join(ROOT, "packages", part), { recursive: true, encoding: "utf8" });
      for (const file of all.filter((it) => /(?<!\.test)\.ts$/.test(it) && !/(^|\/)(node_modules|dist)\//.test(it))) {
        const text = readFileSync(join(ROOT, "packages", part, file), "utf8");
        mkdirSync(dirname(join(sources, part, file)), { recursive: true });
        // The client's own files lie beside the contract's folder; the contract's files name each other by their folders.
        const rewritten = (_: string, from: string, name: string) =>
          `"${from.startsWith(".") ? from : "../contract"}/${name}.js"`;
        writeFileSync(join(sources, part, file), text.replaceAll(OURS, rewritten));
      }
    }
    const folders = { rootDir: sources, outDir: DIST, typeRoots: [join(ROOT, "node_modules/@types")] };
    const compilerOptions = {
      ...folders,
      noEmit: false,
      allowImportingTsExtensions: false,
      noEmitOnError: true,
      declaration: true,
      target: "es2023",
    };
    const config = { extends: join(ROOT, "tsconfig.base.json"), compilerOptions, files: ENTRIES };
    writeFileSync(join(sources, "tsconfig.json"), JSON.stringify(config));
    rmSync(DIST, { recursive: true, force: true });
    const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
    // npm prints the list of packed files to stdout, perhaps as JSON, so the compiler writes to stderr.
    execFileSync(process.execPath, [compiler, "-p", sources], { stdio: ["ignore", 2, 2] });
  } finally {
    rmSync(sources, { recursive: true, force: true });
  }
}

if (import.meta.main) build();
