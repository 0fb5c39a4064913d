/**
 * `npm run check`: types, lint, format and tidy, side by side, and how long each took.
 *
 * The bug this prevents: four commands of which one is forgotten. All of them run, even if one fails.
 */
import { spawn } from "node:child_process";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

export const CHECKS: Readonly<Record<string, readonly string[]>> = {
  types: ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"],
  "types of domain": ["node_modules/typescript/bin/tsc", "-p", "packages/domain/tsconfig.json"],
  "types of the page": ["node_modules/typescript/bin/tsc", "--noEmit", "-p", "services/console/page/tsconfig.json"],
  lint: ["node_modules/oxlint/bin/oxlint", "--type-aware", "packages", "services", "test"],
  format: ["node_modules/@biomejs/biome/bin/biome", "format", "."],
  tidy: ["test/tidy.ts"],
};

async function check(name: string, command: readonly string[]): Promise<boolean> {
  const began = performance.now();
  const { ok, said } = await run(command);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(
    `${ok ? "ok    " : "FAILED"} ${name.padEnd(17)} ${seconds.padStart(5)} s\n${ok ? "" : `${said.trimEnd()}\n`}`,
  );
  return ok;
}

function run(command: readonly string[]): Promise<{ readonly ok: boolean; readonly said: string }> {
  return new Promise((done) => {
    let said = "";
    const child = spawn(process.execPath, command, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.on("error", (error) => done({ ok: false, said: error.message }));
    child.on("close", (code) => done({ ok: code === 0, said }));
  });
}

if (import.meta.main) {
  const began = performance.now();
  const outcomes = await Promise.all(Object.entries(CHECKS).map(([name, command]) => check(name, command)));
  const failed = outcomes.filter((ok) => !ok).length;
  process.stdout.write(
    `${outcomes.length - failed} ok, ${failed} failed in ${((performance.now() - began) / 1000).toFixed(1)} s\n`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}
