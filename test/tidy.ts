/**
 * The rules of this repository that no compiler knows: who may import whom, what must not be in code, which files are dead.
 *
 *   node test/tidy.ts     prints every fault with its reason, and exits 1 if there is one
 */
import { resolve } from "node:path";
import { faults, RULES } from "./tidy/rules.ts";
import { readTree } from "./tidy/source.ts";

const found = faults(readTree(resolve(import.meta.dirname, "..")));
for (const rule of RULES) {
  const its = found.filter((it) => it.rule === rule);
  if (its.length > 0) process.stdout.write(`${rule.name}: ${rule.because}\n`);
  for (const { path, line, message } of its) process.stdout.write(`  ${path}:${line}  ${message}\n`);
}
process.stdout.write(`${RULES.length} rules, ${found.length} faults\n`);
process.exitCode = found.length === 0 ? 0 : 1;
