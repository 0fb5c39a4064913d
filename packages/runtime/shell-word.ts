/** The word as a shell takes it: printed commands can be pasted, whatever is in a path or a run's id. */
export const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
