/**
 * Finds the test files, and the tier of each.
 *
 * The bug this prevents: a test file that no run ever picks up. Each file whose name ends in `.test.ts` is in exactly one tier.
 */
import { globSync, readFileSync } from "node:fs";
import { borrowsOf } from "./lender.ts";
import { type Need, needsOf } from "./needs.ts";

/** The tiers in the order in which they run: first the cheap ones that find most. */
export const TIERS = ["unit", "simulation", "integration", "chaos", "kube"] as const;
export type Tier = (typeof TIERS)[number];

export interface TestFile {
  readonly path: string;
  readonly tier: Tier;
  readonly boundMs: number;
  readonly needs: readonly Need[];
  /** The servers that it shares with other files. */
  readonly borrows: readonly string[];
}

const BOUND_MINUTES = 5;

export function findTests(root: string): TestFile[] {
  const paths = globSync("{packages,services,test}/**/*.test.ts", {
    cwd: root,
    exclude: (name) => /(^|\/)(node_modules|\.longshore)$/.test(name),
  });
  return paths.toSorted().map((path) => {
    const text = readFileSync(`${root}/${path}`, "utf8");
    return { path, tier: tierOf(path, text), boundMs: boundMs(text), needs: needsOf(path, text), borrows: borrowsOf(text) };
  });
}

/**
 * Returns the tier of a file's folder. A test beside its source that starts a database names its tier in a line: "// runs with
 * integration".
 */
export function tierOf(path: string, text: string): Tier {
  const [, said] = /^\/\/ runs with (\w+)$/m.exec(text) ?? [];
  const tier = TIERS.find((it) => (said === undefined ? path.startsWith(`test/${it}/`) : it === said));
  if (said !== undefined && tier === undefined)
    throw new Error(`${path} says that it runs with "${said}"; the tiers are ${TIERS.join(", ")}`);
  return tier ?? "unit";
}

/** A file that needs more than the default time says so in a line of its own: "// runs at most 12 min". */
export function boundMs(text: string): number {
  const [, minutes = BOUND_MINUTES] = /^\/\/ runs at most (\d{1,2}) min$/m.exec(text) ?? [];
  return Number(minutes) * 60_000;
}
