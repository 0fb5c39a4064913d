/** All rules of tidy, the faults that they find in a tree, and the rules that do not work. */
import { BANS } from "./bans.ts";
import { CATALOGUE_RULES } from "./catalogues.ts";
import { DOCUMENT_RULES } from "./documents.ts";
import { FILE_RULES } from "./files.ts";
import { IMPORT_RULES } from "./imports.ts";
import type { Fault, Rule } from "./rule.ts";
import { type Tree, treeOf } from "./source.ts";

export const RULES: readonly Rule[] = [...IMPORT_RULES, ...BANS, ...FILE_RULES, ...DOCUMENT_RULES, ...CATALOGUE_RULES];

export function faults(tree: Tree, rules: readonly Rule[] = RULES): readonly (Fault & { readonly rule: Rule })[] {
  return rules.flatMap((rule) => rule.check(tree).map((fault) => ({ ...fault, rule })));
}

/** Returns the rules that do not work: they miss one of their bad trees, or object to a good one. */
export function unsound(rules: readonly Rule[]): string[] {
  return rules
    .filter(
      ({ check, bad, good }) =>
        bad.length === 0 || bad.some((it) => check(treeOf(it)).length === 0) || good.some((it) => check(treeOf(it)).length > 0),
    )
    .map((it) => it.name);
}
