/** A bug that is planted: edits of the production code, and what they break. */
export interface Edit {
  readonly file: string;
  /** This text stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface PlantedBug {
  /** The mistaken belief behind the bug. */
  readonly name: string;
  readonly edits: readonly Edit[];
  /** The name of at least one broken invariant begins with one of these. */
  readonly breaks: readonly string[];
  /** The troubles that show it: scenarios with these alone are made for it, and tried first. */
  readonly only?: readonly string[];
  /** The first of those scenarios that catches it at present. It saves a search, and may go stale without harm. */
  readonly firstSeed?: number;
  /** Ordinary scenarios that catch it, for a bug that needs several troubles at once: a change of scenarios makes them stale. */
  readonly seeds?: readonly number[];
}

export const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace });
