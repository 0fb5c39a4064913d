/**
 * The checkout as tidy's rules see it: each source with its comments and texts blanked out, and its imports.
 *
 * The bug this prevents: a rule that objects to a word in a comment, or is fooled by one. Rules look at `code`, where every
 * character keeps its offset but comments, strings and regular expressions are spaces.
 */
import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";

export interface Source {
  readonly path: string;
  readonly text: string;
  readonly code: string;
  readonly imports: readonly Import[];
}

export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** The imported file if it is ours, such as "packages/domain/attempt/lifecycle.ts"; otherwise undefined. */
  readonly file: string | undefined;
}

/** All files that rules may look at. `texts` also has the files that are no sources (Markdown, YAML, JSON). */
export interface Tree {
  readonly sources: readonly Source[];
  readonly texts: ReadonlyMap<string, string>;
}

const FOLDERS = "{packages,services,test,config,deploy,.ci}/**/*";
const READ = /(\.(tsx?|mjs|json|ya?ml|md|sql|py|sh)|Dockerfile|\.ci\/run)$/;

/** Programs that run from the checkout keep their passwords in these folders, so no tool may read or print them. */
const SECRET = /(^|\/)\.longshore$|^config\/(.*\/)?secrets$/;

export function readTree(root: string): Tree {
  const paths = globSync([FOLDERS, "*.{md,json,yml}", ".oxlintrc.json"], {
    cwd: root,
    exclude: (name) => /(^|\/)(node_modules|dist)$/.test(name) || SECRET.test(name),
  });
  const texts = paths.filter((path) => READ.test(path) && !path.endsWith("package-lock.json")).toSorted();
  return treeOf(Object.fromEntries(texts.map((path) => [path, readFileSync(posix.join(root, path), "utf8")])));
}

export function treeOf(files: Readonly<Record<string, string>>): Tree {
  const texts = new Map(Object.entries(files));
  const sources = Object.entries(files)
    .filter(([path]) => /\.(tsx?|mjs)$/.test(path))
    .map(([path, text]) => sourceOf(path, text, workspaces(texts)));
  return { sources, texts };
}

/** The folder of each workspace by its name in package.json: "@longshore/cli" → "services/longshore". */
export function workspaces(texts: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [path, text] of texts) {
    if (!/^(packages|services)\/[^/]+\/package\.json$/.test(path)) continue;
    const { name } = JSON.parse(text) as { readonly name?: unknown };
    if (typeof name === "string") found.set(name, posix.dirname(path));
  }
  return found;
}

function sourceOf(path: string, text: string, folders: ReadonlyMap<string, string>): Source {
  const code = blank(text);
  return { path, text, code, imports: importsOf(path, text, code, folders) };
}

const IMPORT = /\b(?:import|export)\b(?:[^;"'`=()]*?\bfrom)?\s*\(?\s*(["'`])( *)\1/g;

function importsOf(path: string, text: string, code: string, folders: ReadonlyMap<string, string>): Import[] {
  return [...code.matchAll(IMPORT)].map((match) => {
    const end = match.index + match[0].length - 1;
    const specifier = text.slice(end - (match[2] ?? "").length, end);
    return { specifier, line: lineAt(text, match.index), file: resolved(path, specifier, folders) };
  });
}

function resolved(from: string, specifier: string, folders: ReadonlyMap<string, string>): string | undefined {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(from), specifier);
  const [, name, rest] = /^(@longshore\/[^/]+)\/(.+)$/.exec(specifier) ?? [];
  if (name === undefined || rest === undefined) return undefined;
  return posix.join(folders.get(name) ?? name.replace("@longshore", "packages"), rest);
}

export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

/** Keeps length and lines: only the insides of comments, strings, templates' texts and regular expressions become spaces. */
export function blank(text: string): string {
  const out = text.split("");
  const hide = (from: number, to: number) => {
    for (let i = from; i < to && i < out.length; i++) if (out[i] !== "\n") out[i] = " ";
  };
  // For each open template the depth of braces at which its text goes on after `${ }`.
  const templates: number[] = [];
  let depth = 0;
  let before = "";
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at, at + 2);
    const character = text[at] ?? "";
    const end =
      rest === "//" ? endOf(text, "\n", at)
      : rest === "/*" ? endOf(text, "*/", at + 2) + 2
      : undefined; // biome-ignore format: a table
    if (end !== undefined) {
      hide(at, end);
      at = end;
    } else if (character === '"' || character === "'") {
      at = skipString(text, at, character, hide);
      before = character;
    } else if (character === "`" || (character === "}" && templates.at(-1) === depth)) {
      if (character === "}") templates.pop();
      const { next, opens } = skipTemplate(text, at, hide);
      if (opens) templates.push(depth);
      at = next;
      before = opens ? "{" : "`";
    } else if (character === "/" && startsRegExp(before, text.slice(Math.max(0, at - 12), at))) {
      at = skipRegExp(text, at, hide);
      before = "/";
    } else {
      if (character === "{") depth++;
      if (character === "}") depth--;
      if (character.trim() !== "") before = character;
      at++;
    }
  }
  return out.join("");
}

type Hide = (from: number, to: number) => void;

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at === -1 ? text.length : at;
}

function skipString(text: string, from: number, quote: string, hide: Hide): number {
  let at = from + 1;
  while (at < text.length && text[at] !== quote && text[at] !== "\n") at += text[at] === "\\" ? 2 : 1;
  hide(from + 1, at);
  return at + 1;
}

function skipTemplate(text: string, from: number, hide: Hide): { readonly next: number; readonly opens: boolean } {
  let at = from + 1;
  while (at < text.length && text[at] !== "`" && text.slice(at, at + 2) !== "${") at += text[at] === "\\" ? 2 : 1;
  hide(from + 1, at);
  const opens = text[at] === "$";
  return { next: at + (opens ? 2 : 1), opens };
}

function skipRegExp(text: string, from: number, hide: Hide): number {
  let at = from + 1;
  for (let inClass = false; at < text.length && text[at] !== "\n" && (inClass || text[at] !== "/"); at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "[") inClass = true;
    else if (text[at] === "]") inClass = false;
  }
  hide(from + 1, at);
  return at + 1;
}

function startsRegExp(before: string, words: string): boolean {
  return before === "" || "(,=:[!&|?{;+-*%~^<>".includes(before) || /\b(return|typeof|case|in|of|void|delete)\s*$/.test(words);
}
