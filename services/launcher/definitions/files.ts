/**
 * Reads a folder of definitions: each `.yaml` file in it holds one.
 *
 * The bugs this prevents: a start that tells one mistake at a time, and a problem without its line. All problems of all files are
 * told at once. The folder may be a mounted ConfigMap, whose files are links: their content is read, never their times.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Definition, judgeDefinition } from "@longshore/contract/request/definition.ts";
import { DATA_BYTES_MAX } from "@longshore/contract/messages/envelope.ts";
import { canonical } from "@longshore/contract/json.ts";
import type { StoredDefinition } from "@longshore/ledger/port.ts";
import { reason } from "@longshore/runtime/config/config.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";

const FILES_MAX = 1_000;

export type FileDefinition = Omit<StoredDefinition, "sinceMs"> & { readonly file: string };

export interface ReadDefinitions {
  /** Changes if any file does. */
  readonly content: string;
  readonly definitions: readonly FileDefinition[];
  /** "config/definitions/export.yaml:7: /parameters/…: …". If there are any, the definitions are not to be used. */
  readonly problems: readonly string[];
}

export async function readDefinitions(dir: string): Promise<ReadDefinitions> {
  let names: readonly string[];
  try {
    names = (await readdir(dir)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).toSorted();
  } catch (error) {
    return unusable(`${dir}: cannot be read (${reason(error)})`);
  }
  if (names.length > FILES_MAX) return unusable(`${dir}: has ${names.length} files; at most ${FILES_MAX} are read`);
  const files = await Promise.all(names.map((name) => readOne(join(dir, name))));
  const definitions = files.flatMap(({ definition }) => definition ?? []);
  return {
    content: JSON.stringify(files.map(({ file, text }) => [file, text])),
    definitions,
    problems: [...files.flatMap(({ problems }) => problems), ...sameNames(definitions)],
  };
}

const unusable = (problem: string): ReadDefinitions => ({ content: problem, definitions: [], problems: [problem] });

interface ReadFile {
  readonly file: string;
  readonly text: string;
  readonly definition?: FileDefinition;
  readonly problems: readonly string[];
}

async function readOne(file: string): Promise<ReadFile> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    return { file, text: "", problems: [`${file}: cannot be read (${reason(error)})`] };
  }
  return { file, text, ...definitionIn(file, text) };
}

/** One file by itself, whatever its name. */
export async function readDefinitionFile(file: string): Promise<Pick<ReadDefinitions, "definitions" | "problems">> {
  const { definition, problems } = await readOne(file);
  return { definitions: definition === undefined ? [] : [definition], problems };
}

function definitionIn(file: string, text: string): Pick<ReadFile, "definition" | "problems"> {
  const { value, problems: unread, lineOf } = readYaml(text);
  if (unread.length > 0)
    return { problems: unread.map(({ line, column, why }) => `${file}:${line}:${column}: not YAML: ${why}`) };
  const at = (pointer: string): string => {
    const line = lineOf(segmentsOf(pointer));
    return `${file}${line === undefined ? "" : `:${line}`}: ${pointer === "" ? "" : `${pointer}: `}`;
  };
  const judged = judgeDefinition(value);
  if (judged.kind === "invalid") return { problems: judged.problems.map(({ path, message }) => at(path) + message) };
  const whole = canonical(judged.value);
  if (Buffer.byteLength(whole) > DATA_BYTES_MAX)
    return { problems: [`${at("")}it has more than ${DATA_BYTES_MAX} bytes as JSON, which no run could have`] };
  const digest = createHash("sha256").update(whole).digest("hex").slice(0, 16);
  return { definition: { file, digest, body: judged.value }, problems: [] };
}

const segmentsOf = (pointer: string): readonly string[] =>
  pointer.split("/").slice(1).map((it) => it.replaceAll("~1", "/").replaceAll("~0", "~")); // biome-ignore format: one step

function sameNames(definitions: readonly FileDefinition[]): readonly string[] {
  const first = new Map<Definition["name"], string>();
  return definitions.flatMap(({ file, body: { name } }) => {
    const other = first.get(name);
    if (other === undefined) first.set(name, file);
    return other === undefined ? [] : [`${file}: /name: "${name}" is the name of the definition in ${other} already`];
  });
}
