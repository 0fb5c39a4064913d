/**
 * Reads YAML that a person wrote, and tells its mistakes by line and column, in words of our own.
 *
 * The bug this prevents: the parser's message quotes the text at the mistake, which may be the password. No problem told here
 * holds text of the file.
 */
import { type Alias, type Document, isAlias, LineCounter, parseDocument, visit } from "yaml";

interface YamlText {
  readonly document: Document;
  /** `undefined` if there are problems. */
  readonly value: unknown;
  readonly problems: readonly { readonly line: number; readonly column: number; readonly why: string }[];
  readonly lineAt: (offset: number) => number;
}

const WHY: ReadonlyMap<string, string> = new Map([
  ["BAD_DQ_ESCAPE", "a backslash in double quotes begins no escape that YAML knows; single quotes keep it as it is"],
  ["BAD_INDENT", "the indentation does not fit, or a bracket is not closed"],
  ["BAD_SCALAR_START", "a text begins with a character that needs quotes around it"],
  ["BLOCK_AS_IMPLICIT_KEY", "the line has a second key, or the next line is indented too far"],
  ["DUPLICATE_KEY", "keys must be unique, and this one is written twice"],
  ["MISSING_CHAR", "a colon with a blank after it, a comma, or a closing quote or bracket is missing"],
  ["MULTILINE_IMPLICIT_KEY", "a key goes over several lines; a colon is missing, or the indentation does not fit"],
  ["MULTIPLE_DOCS", "it holds several documents (---), and one is wanted"],
  ["TAB_AS_INDENT", "a tab indents the line, and only blanks may"],
  ["TAG_RESOLVE_FAILED", "a word that begins with ! is read as a tag; a text that begins so needs quotes"],
  ["UNEXPECTED_TOKEN", "something is written where YAML allows nothing; a text with such characters needs quotes around it"],
]);
const ALIAS = "a word that begins with * is read as an alias of an anchor (&); a text that begins so needs quotes";
const ALIASES_MAX = 100;

export function readYaml(text: string): YamlText {
  const lines = new LineCounter();
  // With the default `logLevel`, the parser would print its warnings to standard error, with the lines around them.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
  const problemAt = (offset: number, why: string) => {
    const { line, col: column } = lines.linePos(offset);
    return { line, column, why };
  };
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const problems = [
    ...document.errors.map(({ pos, code }) => problemAt(pos[0], WHY.get(code) ?? "it cannot be read")),
    ...unresolved(document).map(({ range }) => problemAt(range?.[0] ?? 0, ALIAS)),
  ];
  if (problems.length > 0) return { document, value: undefined, problems, lineAt };
  try {
    return { document, value: document.toJS({ maxAliasCount: ALIASES_MAX }), problems, lineAt };
  } catch {
    return { document, value: undefined, problems: [problemAt(0, "its aliases (*) repeat too much")], lineAt };
  }
}

function unresolved(document: Document): readonly Alias[] {
  const found: Alias[] = [];
  visit(document, (_key, node) => {
    if (isAlias(node) && node.resolve(document) === undefined) found.push(node);
  });
  return found;
}
