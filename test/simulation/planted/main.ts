/**
 * Plants bugs and says what catches them: `node test/simulation/planted/main.ts [part of a name] [--scenarios N] [--seed S] [--only
 * TROUBLE,…]`.
 *
 * Use it after a change of the table: it prints for each bug the first seed that breaks, and the invariants that broke. With
 * `--only` it tries other troubles than the table names.
 */
import { parseArgs } from "node:util";
import { PLANTED } from "./bugs.ts";
import { copyOfSources, plant, simulate } from "./copy.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    scenarios: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);

using copy = copyOfSources();
for (const bug of PLANTED) {
  if (positionals.length > 0 && !positionals.some((word) => bug.name.includes(word))) continue;
  try {
    using _planted = plant(copy.root, bug.edits);
    const only = values.only?.split(",") ?? bug.only;
    const found = await simulate(copy.root, { only, seed: Number(values.seed), scenarios: Number(values.scenarios) });
    const [first] = found.broken;
    say(
      `${first === undefined ? "NOT CAUGHT" : `seed ${first.seed}`} (${found.ran} ran): ${bug.name}: ${first?.invariants.join("; ") ?? ""}`,
    );
  } catch (error) {
    say(`NO VERDICT: ${bug.name}: ${String(error)}`);
  }
}
