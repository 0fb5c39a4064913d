/**
 * `npm run fixtures`: makes each trouble happen on a real cluster again, and records what the cluster showed of it.
 *
 *   npm run fixtures [part of a test file's path…]     all of test/kube/diagnosis/ unless named
 *
 * Afterwards `git diff packages/domain/diagnosis/testing/fixtures` shows the changes: read each sentence as the person who will
 * get it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

async function main(words: readonly string[]): Promise<number> {
  const files = globSync("test/kube/diagnosis/*.test.ts", { cwd: root })
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
    .toSorted();
  if (files.length === 0) process.stderr.write(`no test in test/kube/diagnosis/ has ${words.join(" or ")} in its path\n`);
  let failed = files.length === 0;
  for (const file of files) {
    const env = { ...process.env, RECORD_FIXTURES: "1" };
    const child = spawn(process.execPath, [file], { cwd: root, env, stdio: "inherit" });
    const [code] = (await once(child, "exit")) as [number | null];
    failed ||= code !== 0;
  }
  return failed ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
