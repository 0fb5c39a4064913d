/**
 * Looks for seeds that catch the planted bugs: `node test/simulation/planted/main.ts [part of a name] [--scenarios N] [--seed
 * S]`.
 *
 * Use it after a change of the table: it prints for each bug the first seed that breaks, and the invariants that broke.
 */
import { parseArgs } from "node:util";
import { PLANTED } from "./bugs.ts";
import { copyOfSources, plant, simulate } from "./copy.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { scenarios: { type: "string", default: "300" }, seed: { type: "string", default: "1" } },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);

using copy = copyOfSources();
for (const bug of PLANTED) {
  if (positionals.length > 0 && !positionals.some((word) => bug.name.includes(word))) continue;
  try {
    using _planted = plant(copy.root, bug.edits);
    const found = await simulate(copy.root, { seed: Number(values.seed), scenarios: Number(values.scenarios) });
    const [first] = found.broken;
    say(
      `${first === undefined ? "NOT CAUGHT" : `seed ${first.seed}`} (${found.ran} ran): ${bug.name}: ${first?.invariants.join("; ") ?? ""}`,
    );
  } catch (error) {
    say(`NO VERDICT: ${bug.name}: ${String(error)}`);
  }
}
