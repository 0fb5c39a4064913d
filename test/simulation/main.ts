/**
 * `npm run sim -- --scenarios N [--seed S] [--only TROUBLE,…] [--threads T] [--verbose]`: runs scenarios S, S + 1, … and checks
 * the guarantees. With `--only`, each scenario is small and has the troubles that are named.
 *
 * A failure is told with its invariant, its seed and the end of its trace; `--scenarios 1 --seed S` repeats it exactly. Exits 1
 * if anything was broken. The last line is JSON.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { runMany, seedsFrom } from "./many.ts";
import type { Verdict } from "./run.ts";

const { values } = parseArgs({
  options: {
    scenarios: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    threads: { type: "string", default: String(availableParallelism()) },
    verbose: { type: "boolean", default: false },
    "until-broken": { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
    only: { type: "string" },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const [scenarios, first, threads] = [values.scenarios, values.seed, values.threads].map(Number);
if (![scenarios, first, threads].every((it) => Number.isSafeInteger(it) && Number(it) > 0)) {
  say("--scenarios, --seed and --threads are whole numbers above 0");
  process.exit(2);
}

const began = performance.now();
const TICK = 100;
const tailMost = values.quiet ? 0 : values.verbose ? 20_000 : 60;
let ran = 0;
let virtualMs = 0;
const broken: { readonly seed: number; readonly invariants: readonly string[] }[] = [];

await runMany({
  seeds: seedsFrom(first ?? 1, scenarios ?? 1),
  threads: Math.min(threads ?? 1, scenarios ?? 1),
  tailMost,
  only: values.only?.split(","),
  onVerdict: (verdict) => {
    ran++;
    virtualMs += verdict.virtualMs;
    if (verdict.broken.length > 0) {
      broken.push({ seed: verdict.seed, invariants: [...new Set(verdict.broken.map(({ invariant }) => invariant))] });
      tell(verdict);
    } else if (values.verbose) for (const line of verdict.tail) say(line);
    if (ran % TICK === 0 && !values.quiet) say(`${ran} of ${scenarios} scenarios, ${broken.length} broken, ${seconds()} s`);
    return values["until-broken"] && broken.length > 0;
  },
});

say(
  `${ran} scenarios from seed ${first} in ${seconds()} s: ${(virtualMs / 3_600_000).toFixed(1)} h of simulated time, ${broken.length} broken`,
);
say(JSON.stringify({ sim: "scenarios", ran, broken, seconds: Number(seconds()) }));
process.exitCode = broken.length === 0 ? 0 : 1;

function tell({ seed, broken: found, tail, hash }: Verdict): void {
  if (!values.quiet) for (const line of tail) say(`  ${line}`);
  for (const { invariant, message } of found) say(`BROKEN seed ${seed} (${hash}): ${invariant}: ${message}`);
  const only = values.only === undefined ? "" : ` --only ${values.only}`;
  say(`  again: npm run sim -- --scenarios 1 --seed ${seed}${only} --verbose`);
}

function seconds(): string {
  return ((performance.now() - began) / 1000).toFixed(1);
}
