/** Rules about the names on which upstream's code branches: for each name in the contract's lists, some code must send it. */
import { type Fault, production, type Rule } from "./rule.ts";
import { lineAt, type Source, type Tree } from "./source.ts";

interface Catalogue {
  readonly file: string;
  /** The declaration's first line. Its names follow, one in each line, until a line has no indentation. */
  readonly begins: string;
  /**
   * The files whose code may send a name. The command line and the client only read names, and the pocket has names of its own.
   */
  readonly tellers: RegExp;
}

const TELLERS = /^(packages\/(domain|ledger|kubernetes)|services\/(launcher|watcher))\//;
/** A diagnosis may have the same name as a problem. */
const REFUSERS = /^(packages\/(contract\/(?!diagnosis)|domain|ledger)|services\/launcher\/)/;

const CATALOGUES: readonly Catalogue[] = [
  { file: "packages/contract/messages/diagnosis.ts", begins: "const ROWS = {", tellers: TELLERS },
  { file: "packages/contract/messages/event.ts", begins: "export const EVENTS = {", tellers: TELLERS },
  { file: "packages/contract/messages/fact.ts", begins: "export const FACTS = {", tellers: TELLERS },
  { file: "packages/contract/messages/control.ts", begins: "export const CONTROL = {", tellers: TELLERS },
  { file: "packages/contract/problems/problem-codes.ts", begins: "const ROWS = {", tellers: REFUSERS },
  { file: "packages/contract/messages/waiting.ts", begins: "const ROWS = {", tellers: TELLERS },
];

const LISTED = /^ {2}"?([A-Za-z][\w.]*)"?(?=:)/gm;

function promises(tree: Tree): Fault[] {
  const sources = production(tree);
  return CATALOGUES.flatMap(({ file, begins, tellers }) => {
    const catalogue = sources.find(({ path }) => path === file);
    if (catalogue === undefined) return [];
    const { text } = catalogue;
    const from = text.indexOf(begins) + begins.length;
    const declared = /^[^\S\n]*$(?:\n {2}.*)+/m.exec(text.slice(from))?.[0] ?? "";
    const names = [...declared.matchAll(LISTED)].map(([, name = ""]) => name);
    const reserved = [...(/\bRESERVED\w* = \[([^\]]*)\]/.exec(text)?.[1] ?? "").matchAll(/"([^"]+)"/g)].map(
      ([, name = ""]) => name,
    );
    const isTold = (name: string): boolean => sources.some((it) => it.path !== file && tellers.test(it.path) && tells(it, name));
    const fault = (name: string, says: string): Fault => ({
      path: file,
      line: lineAt(text, text.search(new RegExp(`\\b${RegExp.escape(name)}\\b`))),
      message: `${name}: ${says}`,
    });
    if (names.length === 0) return [{ path: file, line: 1, message: `no names are found after "${begins}"` }];
    return [
      ...names.filter((it) => !isTold(it)).map((it) => fault(it, "nothing tells it: reserve it")),
      ...reserved.filter((it) => names.includes(it) || isTold(it)).map((it) => fault(it, "it is reserved, and in use")),
    ];
  });
}

/**
 * True if a source has the name as a text, a key, or a text of SQL. The name does not count in a comparison, a type or a
 * comment: none of them sends it.
 */
function tells({ text, code }: Source, name: string): boolean {
  const word = RegExp.escape(name);
  const mention = new RegExp(`(?<![=!]==\\s*|\\bcase\\s|[<|]\\s*)"${word}"|(?<![\\w."])${word}(?=:)|'${word}'`, "g");
  return [...text.matchAll(mention)].some(({ index }) => text[index] === "'" || code[index] === text[index]);
}

const listing = (events: string, teller: string, more = ""): Readonly<Record<string, string>> => ({
  "packages/contract/messages/event.ts": `export const EVENTS = {\n${events}} as const;\n${more}`,
  "packages/domain/run/story.ts": teller,
});
const ENDED = '  "run.ended": z.object({\n    at: z.string(),\n  }),\n';

export const CATALOGUE_RULES: readonly Rule[] = [
  {
    name: "what is listed is told",
    because: "upstream waits for ever for an event, or prepares for a code, that nothing sends",
    check: promises,
    bad: [
      listing(ENDED, ""),
      listing(ENDED, 'const isEnd = type === "run.ended"; // type: "run.ended"'),
      listing(ENDED, 'const data: EventData<"run.ended"> | "run.ended" = it;'),
      listing(ENDED, 'const told = ["run.ended", "run.back"];', 'export const RESERVED_EVENTS = ["run.back"] as const;'),
      listing(ENDED, 'const told = "run.ended";', 'export const RESERVED_EVENTS = ["run.ended"] as const;'),
      listing("", ""),
      {
        "packages/contract/problems/problem-codes.ts": 'const ROWS = {\n  Empty: "",\n};',
        "packages/contract/messages/diagnosis.ts": "Empty: {}",
      },
      {
        "packages/contract/messages/diagnosis.ts": "const ROWS = {\n  Gone: {},\n};",
        "services/longshore/a.ts": 'diagnose("Gone");',
      },
    ],
    good: [
      listing(ENDED, 'return { type: "run.ended" };', 'export const RESERVED_EVENTS = ["run.back"] as const;'),
      listing(ENDED, "const sql = `insert into notice select 'run.ended', body`;"),
      listing(ENDED, 'return is ? "run.ended" : other;'),
      {
        "packages/contract/problems/problem-codes.ts": 'const ROWS = {\n  Empty: "",\n};',
        "packages/contract/json.ts": 'problem("Empty");',
      },
      {
        "packages/contract/messages/diagnosis.ts": "const ROWS = {\n  Gone: {},\n};",
        "packages/domain/a.ts": "const table = { Gone: 1 };",
      },
    ],
  },
];
