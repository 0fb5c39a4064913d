/** Rules about who may import whom: nouns ← decisions ← adapters ← services. */
import { builtinModules } from "node:module";
import { type Fault, isTest, partOf, production, type Rule } from "./rule.ts";
import type { Import, Source, Tree } from "./source.ts";

const ADAPTER = ["packages/contract", "packages/domain", "packages/runtime"];

/** For each part the parts that it may import. A part that is not listed here may import no other part. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "packages/contract": [],
  "packages/domain": ["packages/contract"],
  "packages/broker": ADAPTER,
  "packages/kubernetes": ADAPTER,
  "packages/ledger": ADAPTER,
  "packages/runtime": [],
  "packages/pocket": ["packages/runtime"],
  "packages/client": ["packages/contract"],
  "services/launcher": [...ADAPTER, "packages/broker", "packages/kubernetes", "packages/ledger"],
  "services/watcher": [...ADAPTER, "packages/broker", "packages/kubernetes"],
  "services/recorder": [...ADAPTER, "packages/ledger"],
  "services/console": [...ADAPTER, "packages/broker", "packages/ledger"],
  "services/longshore": [
    ...ADAPTER,
    ...["packages/broker", "packages/kubernetes", "packages/ledger", "packages/pocket", "packages/client"],
    ...["services/launcher", "services/watcher", "services/recorder", "services/console"],
  ],
};

function directions(tree: Tree): Fault[] {
  return production(tree).flatMap((source) =>
    source.imports.flatMap(({ file, line }) => {
      if (file === undefined) return [];
      const [from, to] = [partOf(source.path), partOf(file)];
      if (from === to || (MAY_IMPORT[from] ?? []).includes(to)) return [];
      return [{ path: source.path, line, message: `${from} may not import ${to}` }];
    }),
  );
}

/** The libraries that the pure parts may use. For all other parts, the rule "dependencies" checks package.json. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  "packages/contract": ["zod"],
  "packages/domain": [],
  "packages/client": [],
};

function pureParts(tree: Tree): Fault[] {
  return production(tree).flatMap((source) => {
    const allowed = LIBRARIES[partOf(source.path)];
    if (allowed === undefined || BUILDERS.includes(source.path)) return [];
    return source.imports
      .filter((it) => it.file === undefined && !allowed.includes(it.specifier))
      .map((it) => ({ path: source.path, line: it.line, message: `${partOf(source.path)} may not import ${it.specifier}` }));
  });
}

/** Programs that npm starts to write files that are published; no file imports them. */
const BUILDERS: readonly string[] = ["packages/contract/write-schemas.ts", "packages/client/build.ts"];

/**
 * Checks how imports are written: "@longshore/part/file.ts" for another part, "./file.ts" within a part, "node:" for Node's
 * own.
 */
function spelling(tree: Tree): Fault[] {
  return tree.sources.flatMap((source) =>
    source.imports.flatMap((it) => {
      const wrong = misspelt(source.path, it);
      return wrong === undefined ? [] : [{ path: source.path, line: it.line, message: wrong }];
    }),
  );
}

function misspelt(path: string, { specifier, file }: Import): string | undefined {
  if (builtinModules.includes(specifier)) return `write "node:${specifier}"`;
  if (file === undefined) return undefined;
  if (!/\.(tsx?|mjs|json)$/.test(specifier)) return `"${specifier}" needs its extension`;
  const same = partOf(path) === partOf(file);
  if (specifier.startsWith(".") && !same && !isTest(path)) return `write "@longshore/…" for what is in ${partOf(file)}`;
  return !specifier.startsWith(".") && same ? `write a relative path for what is in the same part: ${specifier}` : undefined;
}

/** Files that a program must not even reach through other files. */
const UNREACHABLE: readonly { readonly from: string; readonly forbidden: RegExp }[] = [
  { from: "services/watcher", forbidden: /^packages\/(kubernetes\/request\/write|ledger\/)/ },
  { from: "services/recorder", forbidden: /^packages\/(kubernetes|broker|ledger\/postgres\/(admit|record|write|take-work))/ },
  { from: "services/console", forbidden: /^packages\/kubernetes\// },
];

function reach(tree: Tree): Fault[] {
  const sources = new Map(tree.sources.map((it) => [it.path, it]));
  return UNREACHABLE.flatMap(({ from, forbidden }) =>
    production(tree)
      .filter((it) => partOf(it.path) === from)
      .flatMap((start) => pathsTo(start, sources, forbidden))
      .map((way) => ({ path: way[0] ?? from, line: 1, message: `${from} may not reach ${way.at(-1)}: ${way.join(" → ")}` })),
  );
}

function pathsTo(start: Source, sources: ReadonlyMap<string, Source>, forbidden: RegExp): string[][] {
  const seen = new Set([start.path]);
  const ways = [[start.path]];
  const bad: string[][] = [];
  for (let way = ways.shift(); way !== undefined; way = ways.shift()) {
    for (const { file } of sources.get(way.at(-1) ?? "")?.imports ?? []) {
      if (file === undefined || seen.has(file)) continue;
      seen.add(file);
      (forbidden.test(file) ? bad : ways).push([...way, file]);
    }
  }
  return bad;
}

/** A port is an adapter's promise: readers must understand it without the adapter's library. */
function ports(tree: Tree): Fault[] {
  return tree.sources
    .filter((it) => /^packages\/[^/]+\/(port|transport)\.ts$/.test(it.path))
    .flatMap(({ path, imports }) =>
      imports
        .filter((it) => it.file === undefined)
        .map((it) => ({ path, line: it.line, message: `a port names no library's types, but this one imports ${it.specifier}` })),
    );
}

const TOOLS = /^(tap|tap-parser|ajv|fast-check)$/;

function testTools(tree: Tree): Fault[] {
  return production(tree).flatMap(({ path, imports }) =>
    imports
      .filter((it) => TOOLS.test(it.specifier) || (it.file !== undefined && isTest(it.file)))
      .map((it) => ({ path, line: it.line, message: `only tests may import ${it.specifier}` })),
  );
}

const from = (specifier: string) => `import { it } from "${specifier}";`;

export const IMPORT_RULES: readonly Rule[] = [
  {
    name: "import directions",
    because: "an adapter that knows another adapter, or a decision that knows one, cannot be replaced",
    check: directions,
    bad: [
      { "packages/contract/a.ts": from("@longshore/domain/a.ts") },
      { "packages/domain/a.ts": from("@longshore/runtime/clock.ts") },
      { "packages/broker/a.ts": from("@longshore/ledger/a.ts") },
      { "packages/ledger/a.ts": from("@longshore/kubernetes/a.ts") },
      { "packages/kubernetes/a.ts": from("@longshore/pocket/a.ts") },
      { "packages/runtime/a.ts": from("@longshore/contract/a.ts") },
      { "packages/pocket/a.ts": from("@longshore/kubernetes/a.ts") },
      { "packages/pocket/a.ts": from("@longshore/contract/a.ts") },
      { "packages/pocket/a.ts": from("@longshore/domain/a.ts") },
      { "packages/client/a.ts": from("@longshore/runtime/a.ts") },
      {
        "packages/broker/a.ts": from("@longshore/launcher/a.ts"),
        "services/launcher/package.json": '{"name":"@longshore/launcher"}',
      },
      {
        "services/launcher/a.ts": from("@longshore/watcher/a.ts"),
        "services/watcher/package.json": '{"name":"@longshore/watcher"}',
      },
      { "services/launcher/a.ts": 'const it = await import("@longshore/pocket/a.ts");' },
      { "services/watcher/a.ts": 'export type { It } from "../../packages/ledger/a.ts";' },
    ],
    good: [
      { "packages/domain/a.ts": from("@longshore/contract/a.ts") },
      { "packages/kubernetes/a.test.ts": from("@longshore/pocket/a.ts") },
      {
        "packages/contract/a.ts":
          '// import { it } from "@longshore/domain/a.ts";\nconst it = `import "@longshore/domain/a.ts"`;',
      },
      {
        "services/longshore/a.ts": from("@longshore/launcher/a.ts"),
        "services/launcher/package.json": '{"name":"@longshore/launcher"}',
      },
    ],
  },
  {
    name: "pure parts",
    because: "a contract or a decision that reads a file or a library's clock cannot be simulated, nor used upstream",
    check: pureParts,
    bad: [
      { "packages/domain/a.ts": from("node:fs") },
      { "packages/domain/a.ts": from("zod") },
      { "packages/contract/a.ts": from("yaml") },
    ],
    good: [
      { "packages/contract/a.ts": from("zod") },
      { "packages/contract/write-schemas.ts": from("node:fs") },
      { "packages/domain/a.test.ts": from("tap") },
    ],
  },
  {
    name: "spelling of imports",
    because: "one file under two names is two modules to some tools and two searches to every reader",
    check: spelling,
    bad: [
      { "packages/broker/a.ts": from("fs") },
      { "packages/broker/a.ts": from("./open") },
      { "packages/broker/a.ts": from("@longshore/broker/open.ts") },
      { "packages/broker/a.ts": from("../contract/ids.ts") },
    ],
    good: [{ "packages/broker/a.ts": `${from("node:fs")}${from("./open.ts")}${from("@longshore/contract/ids.ts")}` }],
  },
  {
    name: "reach",
    because: "the watcher's role allows it only to read: code that can write must not be there to be called",
    check: reach,
    bad: [
      { "services/watcher/a.ts": from("@longshore/kubernetes/request/write.ts") },
      {
        "services/watcher/a.ts": from("./b.ts"),
        "services/watcher/b.ts": from("@longshore/kubernetes/clusters.ts"),
        "packages/kubernetes/clusters.ts": from("./request/write.ts"),
      },
      { "services/watcher/a.ts": from("@longshore/ledger/open.ts") },
      { "services/recorder/a.ts": from("@longshore/broker/brokers.ts") },
      { "services/recorder/a.ts": from("@longshore/ledger/postgres/write.ts") },
      { "services/console/a.ts": from("@longshore/kubernetes/read.ts") },
    ],
    good: [
      {
        "services/watcher/a.ts": from("@longshore/kubernetes/follow/follow.ts"),
        "packages/kubernetes/follow/follow.ts": from("./read.ts"),
      },
    ],
  },
  {
    name: "ports",
    because: "a library's type in a port makes every caller depend on that library",
    check: ports,
    bad: [{ "packages/broker/port.ts": 'import type { ConsumeMessage } from "amqplib";' }],
    good: [{ "packages/broker/port.ts": from("@longshore/contract/problem.ts") }],
  },
  {
    name: "test tools",
    because: "an image has no files that are only for tests",
    check: testTools,
    bad: [{ "packages/broker/a.ts": from("tap") }, { "packages/broker/a.ts": from("./testing/conformance.ts") }],
    good: [{ "packages/broker/testing/conformance.ts": from("tap") }],
  },
];
