/** The shape of a tidy rule, and the functions that rules share. */
import { lineAt, type Source, type Tree } from "./source.ts";

export interface Rule {
  readonly name: string;
  /** The failure that the rule prevents, as a sentence. */
  readonly because: string;
  readonly check: (tree: Tree) => readonly Fault[];
  /** Trees that the rule must object to; tidy.test.ts checks that it does. */
  readonly bad: readonly Readonly<Record<string, string>>[];
  /** Trees that look similar and that the rule must let pass. */
  readonly good: readonly Readonly<Record<string, string>>[];
}

export interface Fault {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** Tests, and apparatus that only tests use: models, conformance suites, scripted servers. */
export function isTest(path: string): boolean {
  return path.startsWith("test/") || path.endsWith(".test.ts") || path.includes("/testing/");
}

/** A file that is started, not imported. */
export function isProgram({ path, code }: Source): boolean {
  return (
    /(^|\/)main\.tsx?$/.test(path) ||
    /\bimport\.meta\.main\b/.test(code) ||
    path.endsWith(".mjs") ||
    /^test\/(run|check|tidy)\.ts$/.test(path)
  );
}

export function production({ sources }: Tree): readonly Source[] {
  return sources.filter((it) => !isTest(it.path));
}

/** "packages/domain", "services/watcher" or "test". */
export function partOf(path: string): string {
  return /^(packages|services)\/[^/]+/.exec(path)?.[0] ?? path.replace(/\/.*/, "");
}

/** A fault for each place in the code that the pattern finds. */
export function found(sources: readonly Source[], pattern: RegExp, message: (match: string) => string): Fault[] {
  return sources.flatMap(({ path, text, code }) =>
    [...code.matchAll(pattern)].map((match) => ({ path, line: lineAt(text, match.index), message: message(match[0].trim()) })),
  );
}
