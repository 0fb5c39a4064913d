/**
 * `npm run versions`: the tests that ask Kubernetes itself, on the oldest and on the newest version that is supported. `npm test`
 * runs them on the version between.
 *
 *   node test/versions.ts [path…]       other tests: their paths, or parts of them
 *
 * The failure this prevents: a promise about a version that was tried once, by hand, and is broken since.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { NODE_VERSION, VERSIONS } from "./harness/kubernetes/programs.ts";

const ASKED: readonly string[] = ["test/kube/conformance/simulated-nodes", "test/kube/volumes"];

async function main(words: readonly string[]): Promise<number> {
  const failed: string[] = [];
  for (const version of VERSIONS.filter((it) => it !== NODE_VERSION)) {
    process.stdout.write(`Kubernetes ${version}\n`);
    const env = { ...process.env, LONGSHORE_TEST_KUBERNETES_VERSION: version };
    const paths = words.length === 0 ? ASKED : words;
    const child = spawn(process.execPath, [join(import.meta.dirname, "run.ts"), ...paths], { env, stdio: "inherit" });
    const [code] = await once(child, "exit");
    if (code !== 0) failed.push(version);
  }
  process.stdout.write(failed.length === 0 ? "passed on all of them\n" : `failed on ${failed.join(", ")}\n`);
  return failed.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
