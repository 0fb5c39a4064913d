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
  /** They catch the bug, and pass without it. */
  readonly seeds: readonly number[];
}

export const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace });
