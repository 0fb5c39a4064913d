/** Rules about files as wholes: their names, their length, their users, their dependencies. */
import { posix } from "node:path";
import { type Fault, isProgram, isTest, partOf, production, type Rule } from "./rule.ts";
import { lineAt, type Source, type Tree, workspaces } from "./source.ts";

const EMPTY_WORDS = /^(utils?|helpers?|common|lib|libs|manager|services?|processor|handlers?|base|misc|shared)$/;

function names(tree: Tree): Fault[] {
  return tree.sources.flatMap(({ path }) => {
    const own = path.replace(/^services\//, "");
    const word = own.split(/[/.-]/).find((it) => EMPTY_WORDS.test(it));
    const faults = word === undefined ? [] : [{ path, line: 1, message: `"${word}" says nothing about what is in it` }];
    const shape = !/^[a-z0-9.-]+$/.test(posix.basename(path));
    return shape ? [...faults, { path, line: 1, message: "write file names small, with hyphens" }] : faults;
  });
}

function barrels(tree: Tree): Fault[] {
  return tree.sources.flatMap(({ path, code }) => {
    const onlyPassesOn =
      code.replaceAll(/\b(import|export)\b[^;]*?\bfrom\s*"\s*";?/g, "").trim() === "" && /\bexport\b/.test(code);
    const barrel = /\bexport\s*\*/.test(code) || posix.basename(path) === "index.ts" || onlyPassesOn;
    return barrel ? [{ path, line: 1, message: "a barrel: import from the file that has it" }] : [];
  });
}

const LINES_MAX = 400;
const TEST_LINES_MAX = 700;

function length(tree: Tree): Fault[] {
  return tree.sources.flatMap(({ path, text }) => {
    const lines = text.trimEnd().split("\n").length;
    const most = isTest(path) ? TEST_LINES_MAX : LINES_MAX;
    return lines > most ? [{ path, line: most, message: `${lines} lines; ${most} at most` }] : [];
  });
}

function header(tree: Tree): Fault[] {
  return tree.sources
    .filter(({ path, text }) => !path.endsWith(".test.ts") && !/^(#!.*\n)?\/\*\*[^*]/.test(text))
    .map(({ path }) => ({ path, line: 1, message: "begin with /** … */: what it is, and which failure it prevents" }));
}

function dead(tree: Tree): Fault[] {
  return tree.sources
    .filter((it) => !isEntry(it, tree) && !tree.sources.some((other) => needs(other, it)))
    .map(({ path }) => ({ path, line: 1, message: "no file needs this one, except perhaps its own test" }));
}

/** True for a test, a file that a person or a script starts, and a file of the client, which other people's programs import. */
function isEntry(source: Source, { texts }: Tree): boolean {
  const { path } = source;
  return (
    isProgram(source) ||
    path.endsWith(".test.ts") ||
    path.startsWith("packages/client/") ||
    (texts.get("package.json") ?? "").includes(path)
  );
}

function needs(other: Source, { path }: Source): boolean {
  if (other.path === path || other.path === path.replace(/\.ts$/, ".test.ts")) return false;
  if (other.imports.some((it) => it.file === path)) return true;
  const tail = path.split("/").slice(-2).join("/"); // some processes are started by their path
  return (
    other.text.includes(`${tail}"`) ||
    (posix.dirname(other.path) === posix.dirname(path) && other.text.includes(`"./${posix.basename(path)}"`))
  );
}

/** Paths of one person's machine: the repository must work in any folder. The pattern does not match its own line. */
const MACHINE = /(?<![\w.$}-])\/(?:work|root|Users)\/|(?<![\w.$}-])\/home\/[a-z]|(?<![\w.$}-])\/tmp\/[a-z]/g;

function machinePaths(tree: Tree): Fault[] {
  return [...tree.texts].flatMap(([path, text]) =>
    [...text.matchAll(MACHINE)].map((it) => ({
      path,
      line: lineAt(text, it.index),
      message: `"${it[0]}…" is a path of one machine`,
    })),
  );
}

interface Manifest {
  readonly dependencies: readonly string[];
  readonly devDependencies: readonly string[];
}

function manifest(text: string | undefined): Manifest {
  const {
    dependencies = {},
    optionalDependencies = {},
    devDependencies = {},
  } = JSON.parse(text ?? "{}") as Readonly<Record<string, Readonly<Record<string, string>>>>;
  return {
    dependencies: Object.keys({ ...dependencies, ...optionalDependencies }),
    devDependencies: Object.keys(devDependencies),
  };
}

function packageName(specifier: string): string | undefined {
  if (/^(node:|\.)/.test(specifier)) return undefined;
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** Packages that are started by their path or used by the compiler: no source imports them. */
const STARTED = /^(typescript|oxlint|oxlint-tsgolint|@biomejs\/biome|@types\/.+)$/;

function dependencies(tree: Tree): Fault[] {
  const folders = new Set(workspaces(tree.texts).values());
  const ofWorkspaces = [...folders].flatMap((folder) => workspaceFaults(tree, folder));
  const root = manifest(tree.texts.get("package.json"));
  const everywhere = new Set([
    ...root.dependencies,
    ...root.devDependencies,
    ...[...folders].flatMap((it) => manifest(tree.texts.get(`${it}/package.json`)).dependencies),
    ...workspaces(tree.texts).keys(),
  ]);
  const used = new Set<string>();
  const unlisted = tree.sources
    .filter((it) => isTest(it.path))
    .flatMap(({ path, imports }) =>
      imports.flatMap(({ specifier, line }) => {
        const name = packageName(specifier);
        if (name === undefined) return [];
        used.add(name);
        return everywhere.has(name) ? [] : [{ path, line, message: `${name} is not among the root's devDependencies` }];
      }),
    );
  const idle = root.devDependencies.filter((it) => !STARTED.test(it) && !used.has(it));
  return [
    ...ofWorkspaces,
    ...unlisted,
    ...idle.map((it) => ({ path: "package.json", line: 1, message: `nothing imports ${it}` })),
  ];
}

/**
 * A package that is compiled before it is packed contains the workspaces of its devDependencies, so it must list what they
 * import.
 */
function workspaceFaults(tree: Tree, folder: string): Fault[] {
  const path = `${folder}/package.json`;
  const { dependencies: listed, devDependencies } = manifest(tree.texts.get(path));
  const contained = [...workspaces(tree.texts)].filter(([name]) => devDependencies.includes(name));
  const names = contained.map(([name]) => name);
  const folders = [folder, ...contained.map(([, it]) => it)];
  const sources = production(tree).filter((it) => folders.includes(partOf(it.path)));
  const used = new Set<string>();
  const unlisted = sources.flatMap((source) =>
    source.imports.flatMap(({ specifier, line }) => {
      const name = packageName(specifier);
      if (name === undefined || names.includes(name)) return [];
      used.add(name);
      return listed.includes(name) ? [] : [{ path: source.path, line, message: `${name} is not in ${path}` }];
    }),
  );
  const text = sources.map((it) => it.text).join("\n");
  const idle = listed.filter((it) => !used.has(it) && !text.includes(`${it}/`));
  return [...unlisted, ...idle.map((it) => ({ path, line: 1, message: `nothing in ${folder} imports ${it}` }))];
}

const HEAD = "/** What it is. */\n";

export const FILE_RULES: readonly Rule[] = [
  {
    name: "names that say something",
    because: "a file with a vague name collects code that belongs elsewhere",
    check: names,
    bad: [
      "packages/broker/util.ts",
      "packages/broker/http-helpers.ts",
      "packages/common/a.ts",
      "services/launcher/base.ts",
      "packages/broker/OpenIt.ts",
    ].map((path) => ({ [path]: HEAD })),
    good: [{ "services/launcher/database.ts": HEAD, "packages/runtime/health.ts": HEAD }],
  },
  {
    name: "no barrels",
    because: "a barrel hides which file has a thing, and loads all its files for one thing",
    check: barrels,
    bad: [
      { "packages/broker/all.ts": 'export * from "./open.ts";' },
      { "packages/broker/all.ts": `${HEAD}export { open } from "./open.ts";\nexport type { It } from "./it.ts";` },
      { "packages/broker/index.ts": "export const x = 1;" },
    ],
    good: [{ "packages/broker/open.ts": 'import { a } from "./a.ts";\nexport const b = a * 2;' }],
  },
  {
    name: "files stay small",
    because: "a file that nobody reads to its end has bugs at its end",
    check: length,
    bad: [
      { "packages/broker/a.ts": "x\n".repeat(LINES_MAX + 1) },
      { "packages/broker/a.test.ts": "x\n".repeat(TEST_LINES_MAX + 1) },
    ],
    good: [{ "packages/broker/a.ts": "x\n".repeat(LINES_MAX) }],
  },
  {
    name: "a header comment",
    because: "a reader who does not know what a file is for cannot see what is wrong in it",
    check: header,
    bad: [{ "packages/broker/a.ts": "export const x = 1;" }, { "packages/broker/a.ts": "// A port.\nexport const x = 1;" }],
    good: [
      {
        "packages/broker/a.ts": HEAD,
        "packages/broker/a.test.ts": "",
        "services/longshore/main.ts": `#!/usr/bin/env node\n${HEAD}`,
      },
    ],
  },
  {
    name: "no dead files",
    because: "code that nothing runs is read, mended and trusted all the same",
    check: dead,
    bad: [
      { "packages/broker/a.ts": HEAD },
      { "packages/broker/a.ts": HEAD, "packages/broker/a.test.ts": 'import { a } from "./a.ts";' },
    ],
    good: [
      { "packages/broker/a.ts": HEAD, "packages/broker/main.ts": 'import { a } from "./a.ts";' },
      { "test/chaos/child.ts": HEAD, "test/chaos/a.test.ts": 'spawn("test/chaos/child.ts");' },
      { "test/bench/start.ts": HEAD, "package.json": '{"scripts":{"bench":"node test/bench/start.ts"}}' },
    ],
  },
  {
    name: "no machine's paths",
    because: "a file that names a folder of one machine works on that machine only",
    check: machinePaths,
    bad: ["work", "root", "home/ada"].map((folder) => ({ "README.md": `see /${folder}/longshore` })),
    good: [{ "README.md": "https://example.com/work/1 and ./root/a and node_modules/root/x" }],
  },
  {
    name: "dependencies",
    because:
      "a library that is imported and not listed is there by luck; one that is listed and not imported is a risk for nothing",
    check: dependencies,
    bad: [
      { "packages/broker/package.json": '{"name":"@longshore/broker"}', "packages/broker/a.ts": 'import pg from "pg";' },
      { "packages/broker/package.json": '{"name":"@longshore/broker","dependencies":{"pg":"1"}}', "packages/broker/a.ts": HEAD },
      { "package.json": "{}", "packages/broker/a.test.ts": 'import t from "tap";' },
      { "package.json": '{"devDependencies":{"tap":"1"}}', "packages/broker/a.ts": HEAD },
      {
        "packages/contract/package.json": '{"name":"@longshore/contract","dependencies":{"zod":"4"}}',
        "packages/contract/a.ts": 'import { z } from "zod";',
        "packages/client/package.json": '{"name":"@longshore/client","devDependencies":{"@longshore/contract":"1"}}',
        "packages/client/a.ts": 'import { a } from "@longshore/contract/a.ts";',
      },
    ],
    good: [
      {
        "packages/contract/package.json": '{"name":"@longshore/contract","dependencies":{"zod":"4"}}',
        "packages/contract/a.ts": 'import { z } from "zod";',
        "packages/client/package.json":
          '{"name":"@longshore/client","dependencies":{"zod":"^4"},"devDependencies":{"@longshore/contract":"1"}}',
        "packages/client/a.ts": 'import { a } from "@longshore/contract/a.ts";',
      },
      {
        "package.json": '{"devDependencies":{"tap":"1","typescript":"7"}}',
        "packages/broker/package.json": '{"name":"@longshore/broker","dependencies":{"pg":"1"}}',
        "packages/broker/a.ts": 'import pg from "pg";\nimport type { P } from "node:net";',
        "packages/broker/a.test.ts": 'import t from "tap";\nimport pg from "pg";',
      },
    ],
  },
];
