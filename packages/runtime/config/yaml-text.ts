/**
 * Reads YAML that a person wrote, and tells its mistakes by line and column, in words of our own.
 *
 * The bug this prevents: the parser's message quotes the text at the mistake, which may be the password. No problem told here
 * holds text of the file.
 */
import { type Alias, type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";

interface YamlText {
  /** `undefined` if there are problems. */
  readonly value: unknown;
  readonly problems: readonly { readonly line: number; readonly column: number; readonly why: string }[];
  /** Returns the line of the key or entry at this path, or of its nearest parent that is in the text. */
  readonly lineOf: (path: readonly PropertyKey[]) => number | undefined;
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
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    const offset = offsetOf(document, path);
    return offset === undefined ? undefined : lines.linePos(offset).line;
  };
  const problems = [
    ...document.errors.map(({ pos, code }) => problemAt(pos[0], WHY.get(code) ?? "it cannot be read")),
    ...unresolved(document).map(({ range }) => problemAt(range?.[0] ?? 0, ALIAS)),
  ];
  if (problems.length > 0) return { value: undefined, problems, lineOf };
  try {
    return { value: document.toJS({ maxAliasCount: ALIASES_MAX }), problems, lineOf };
  } catch {
    return { value: undefined, problems: [problemAt(0, "its aliases (*) repeat too much")], lineOf };
  }
}

function offsetOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1).map(stepOf), true);
    const name = path[length - 1];
    const found = isMap(parent)
      ? parent.items.find((it) => isScalar(it.key) && it.key.value === name)?.key
      : isSeq(parent)
        ? parent.items[Number(name)]
        : undefined;
    if (isNode(found) && found.range) return found.range[0];
  }
  return undefined;
}

/** A JSON pointer holds an entry's number as a text. */
const stepOf = (name: PropertyKey): PropertyKey => (typeof name === "string" && /^\d+$/.test(name) ? Number(name) : name);

function unresolved(document: Document): readonly Alias[] {
  const found: Alias[] = [];
  visit(document, (_key, node) => {
    if (isAlias(node) && node.resolve(document) === undefined) found.push(node);
  });
  return found;
}
