/**
 * Rules about documents: the files that they name and the test titles that they quote must exist.
 *
 * The failure this prevents: a promise whose test was renamed or deleted, and a reader who is sent to a file that moved.
 *
 * A document names a file in backticks or as a link, from the root or from the document's own folder: `run/identity.ts
 * jobName`. A quoted text after the name of a test file, in the same cell of a table, is a title in that file; "…" stands for
 * any text.
 */
import { posix } from "node:path";
import { type Fault, isTest, type Rule } from "./rule.ts";
import { lineAt, type Source, type Tree } from "./source.ts";

interface Mention {
  readonly document: string;
  readonly line: number;
  readonly file: string;
  /** The texts quoted after the file's name, up to the next file or the next cell. */
  readonly quoted: readonly string[];
}

/** The change log is left out: it names files by the names that they had then. */
const isDocument = (path: string): boolean => path.endsWith(".md") && path !== "CHANGELOG.md";

const OURS = /^(packages|services|test|config|deploy)\/[\w./*-]*$|^[\w.*-]+(\/[\w.*-]+)*\.(ts|mjs|md|ya?ml|sql)$/;
const SPAN_OR_LINK = /`([^`]+)`|\]\(([^)\s]+)\)/g;

function mentions({ texts }: Tree): readonly Mention[] {
  return [...texts].flatMap(([document, text]) =>
    isDocument(document)
      ? prose(text)
          .split("\n")
          .flatMap((line, at) => line.split(" | ").flatMap((cell) => mentionsIn(cell, document, at + 1)))
      : [],
  );
}

/** Removes code blocks: they are examples, with paths on a reader's machine. */
const prose = (text: string): string => text.replaceAll(/^( *)```[\s\S]*?^\1```/gm, (block) => block.replaceAll(/[^\n]/g, ""));

function mentionsIn(cell: string, document: string, line: number): readonly Mention[] {
  const named = [...cell.matchAll(SPAN_OR_LINK)].flatMap((match) => {
    const words = match[1]?.split(/\s+/) ?? [(match[2] ?? "").replace(/#.*/, "")];
    const end = match.index + match[0].length;
    return words.filter((word) => OURS.test(word)).map((word) => ({ file: word.replace(/\/$/, ""), from: match.index, end }));
  });
  return named.map(({ file, end }) => {
    const next = named.find(({ from }) => from >= end)?.from ?? cell.length;
    const quoted = [...cell.slice(end, next).matchAll(/"([^"]+)"/g)].flatMap((it) => it[1] ?? []);
    return { document, line, file, quoted };
  });
}

/** Returns paths from the root: one, several if the name has a "*", or none. */
function filesOf({ document, file }: Mention, { texts }: Tree): readonly string[] {
  const patterns = [file, posix.join(posix.dirname(document), file)].map((path) =>
    RegExp.escape(path).replaceAll("\\*", "[^/]*"),
  );
  const named = new RegExp(`^(${patterns.join("|")})($|/)`);
  return [...texts.keys()].filter((path) => named.test(path));
}

function missingFiles(tree: Tree): Fault[] {
  return mentions(tree).flatMap((it) =>
    filesOf(it, tree).length > 0 ? [] : [{ path: it.document, line: it.line, message: `there is no ${it.file}` }],
  );
}

function missingTests(tree: Tree): Fault[] {
  return mentions(tree).flatMap((it) => {
    const tests = filesOf(it, tree).flatMap((path) => tree.sources.find((source) => source.path === path && isTest(path)) ?? []);
    if (tests.length === 0) return [];
    const titles = tests.flatMap(textsIn);
    return it.quoted
      .filter((title) => !titles.some((text) => asPattern(title).test(text)))
      .map((title) => ({ path: it.document, line: it.line, message: `${it.file} has no "${title}"` }));
  });
}

function asPattern(title: string): RegExp {
  const pieces = title.split(/\s*…\s*/).map(RegExp.escape);
  return new RegExp(`^${pieces.join("[\\s\\S]*")}$`);
}

/** Returns every quoted text of a source, with "…" for each value that is inserted when it runs. */
function textsIn({ text, code }: Source): readonly string[] {
  return [...code.matchAll(/(["'])([ \n]*)\1|`[^`]*`/g)].map(({ 0: { length }, index }) =>
    text
      .slice(index + 1, index + length - 1)
      .replaceAll(/\$\{[^{}]*(\{[^{}]*\}[^{}]*)*\}/g, "…")
      .replaceAll(/\\(.)/g, "$1"),
  );
}

/** The pattern does not match its own line. */
const ELSEWHERE = /\bthe design(?:'s)? (?:has|says|table|doc)/gi;

function elsewhere({ texts }: Tree): Fault[] {
  const here = new Set([...texts.keys()].map((path) => posix.basename(path)));
  return [...texts].flatMap(([path, text]) => [
    ...[...text.matchAll(/[\w-]+\.md\b/g)]
      .filter(([name]) => !here.has(name))
      .map(({ 0: name, index }) => ({ path, line: lineAt(text, index), message: `${name} is not in this repository` })),
    ...[...text.matchAll(ELSEWHERE)].map(({ 0: said, index }) => ({
      path,
      line: lineAt(text, index),
      message: `"${said}": a reader has no such document`,
    })),
  ]);
}

const TEST = "packages/a/a.test.ts";
const TITLES = `t.test("one thing", f);\nt.test(\`\${n} things of \${{ a: 1 }.a}\`, f);\nconst cases = [{ name: 'three "things"' }];`;
const md = (name: string): string => `${name}.md`; // so that no rule takes the examples' names for our own documents

export const DOCUMENT_RULES: readonly Rule[] = [
  {
    name: "files that documents name",
    because: "a reader who is sent to a file that is not there stops believing the rest",
    check: missingFiles,
    bad: [
      { "README.md": "See `packages/a/gone.ts`." },
      { "README.md": "See [the table](packages/a/gone.ts#L3)." },
      { "packages/a/SPEC.md": "| it | `run/gone.ts jobName` |" },
      { [md("packages/a/decisions/1")]: `\`${md("packages/b/*")}\`` },
      { "README.md": "Start with `main.ts`.", "services/a/main.ts": "" },
    ],
    good: [
      {
        "README.md":
          "`packages/a/run/it.ts jobName`, [it](packages/a/run/it.ts#L3), `packages/a`, `packages/*/run/`, https://a.example/x.ts, `orders/8812`, `a.b.c`",
        "packages/a/SPEC.md": "`run/it.ts`, `it()`",
        "packages/a/run/it.ts": "",
        "CONTRIBUTING.md": "```sh\nnode packages/mine.ts\ncat `my/own.yaml`\n```\n",
        "CHANGELOG.md": "`packages/a/gone.ts` is gone",
      },
    ],
  },
  {
    name: "tests that documents quote",
    because: "a promise is checked only by its test, and a quoted title that no test has proves nothing",
    check: missingTests,
    bad: ["another thing", "one thi", "… things of nothing", "one thing too"].map((title) => ({
      "packages/a/SPEC.md": `| it holds | \`a.ts\` | \`a.test.ts\`: "one thing", "${title}" |`,
      [TEST]: TITLES,
    })),
    good: [
      {
        "packages/a/SPEC.md": `| "it" holds | \`a.ts it\`: "it" | \`a.test.ts\`: "one thing", "… things of …", "one …", "three …"; \`b.ts\`: "no title" | "a note" |`,
        [TEST]: TITLES,
        "packages/a/a.ts": "",
        "packages/a/b.ts": "",
      },
    ],
  },
  {
    name: "nothing that stands elsewhere",
    because: "readers have this repository and no other document",
    check: elsewhere,
    bad: [
      { "packages/a/a.ts": `// as ${md("ledger")} says` },
      { "packages/a/a.ts": `// cell by cell as the ${"design"} has it` },
      { "README.md": `see ${md("plans/page")}` },
    ],
    good: [{ "packages/a/a.ts": "// README.md says so, and by design", "README.md": "" }],
  },
];
