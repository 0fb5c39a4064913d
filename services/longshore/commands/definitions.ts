/**
 * `longshore definitions`: what can be run by name, what it takes, and whether files are right.
 *
 * The failure this prevents: a definition whose mistake is found when the launcher's next start is refused.
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { bodyOf } from "@longshore/contract/request/definition.ts";
import type { ParametersSchema } from "@longshore/contract/request/parameters.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { whyUnusable } from "@longshore/domain/prepared/usable.ts";
import { stepsOf } from "@longshore/contract/request/request.ts";
import { type ReadDefinitions, readDefinitionFile, readDefinitions } from "@longshore/launcher/definitions/files.ts";
import { definitionsAtStart } from "@longshore/launcher/definitions/known.ts";
import type { StoredDefinition } from "@longshore/ledger/port.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import {
  command, CONFIG, configWords, family, fileAt, iso, json, JSON_OPTION, say, screenIn, type Surroundings, tell,
} from "../command.ts"; // biome-ignore format: a list of names
import { type Column, paragraph, pasted, row, table } from "../screen/rows.ts";
import type { Screen } from "../screen/screen.ts";
import { timeText } from "../screen/times.ts";
import { definitionsIn, findLongshore } from "../which-longshore.ts";
import { definitionNamed, ledgerOf } from "./publish.ts";

export const definitions = family({
  name: "definitions",
  summary: "list and show what can be run by name, and check files of definitions",
  more: `
A definition is a request under a name, in a file: \`packages/contract/README.md\` has its fields. The launcher reads the files of its \`definitionsDir\`; \`longshore up\` those in config/definitions of its folder.`,
  verbs: {
    list: command({
      name: "definitions list",
      summary: "show what can be run by name",
      usage: ["[--json]"],
      options: { json: JSON_OPTION, config: CONFIG },
      async run({ config, json: asJson = false }, _, surroundings) {
        await using ledger = await ledgerOf(config, surroundings);
        const all = await ledger.definitions();
        if (asJson)
          surroundings.out(
            json(
              all.map(({ digest, sinceMs, body, prepared }) => ({
                ...headOf(body),
                digest,
                since: iso(sinceMs),
                ...(prepared && { prepared }),
              })),
            ),
          );
        else if (all.length === 0)
          tell(
            surroundings,
            "there is none: put one into the launcher's definitionsDir, or annotate a Job of a group with `discover`",
          );
        else say(surroundings, table(all, COLUMNS, screenIn(surroundings)));
        return 0;
      },
    }),
    show: command({
      name: "definitions show",
      summary: "show one definition: what it runs, what it takes, and how to run it",
      usage: ["NAME [--json]"],
      options: { json: JSON_OPTION, config: CONFIG },
      words: ["a definition's name"],
      namedBy: { list: "definitions list", field: "name" },
      async run({ config, json: asJson = false }, [name = ""], surroundings) {
        const found = await definitionNamed(name, config, surroundings);
        const { digest, sinceMs, body, prepared } = found;
        if (asJson) surroundings.out(json({ digest, since: iso(sinceMs), definition: body, ...(prepared && { prepared }) }));
        else say(surroundings, pageOf(found, configWords(config), screenIn(surroundings)));
        return 0;
      },
    }),
    check: command({
      name: "definitions check",
      summary: "check files of definitions as the launcher would at its start",
      usage: ["[FILE|DIR ...] [--json]"],
      options: { json: JSON_OPTION, config: CONFIG },
      andMore: true,
      more: `
Without a file or folder: the definitionsDir of --config, or config/definitions in this folder. No ledger and no broker are needed.

Exit 0: the launcher would take them. Exit 1: it would not, and each problem is told with its line.`,
      async run({ config, json: asJson = false }, words, surroundings) {
        const paths = words.length > 0 ? words.map((it) => fileAt(it, surroundings)) : [await folderOf(config, surroundings)];
        const read = await Promise.all(paths.map(readAt));
        const [found, problems] = [read.flatMap((it) => it.definitions), read.flatMap((it) => it.problems)];
        if (asJson) surroundings.out(json({ definitions: found.map(({ body }) => body.name), problems }));
        else {
          for (const it of problems) tell(surroundings, it);
          const right = found.map(({ body }) => body.name).join(", ") || "none";
          tell(surroundings, problems.length === 0 ? `all well: ${right}` : `${problems.length} problems; without any: ${right}`);
        }
        return problems.length === 0 ? 0 : 1;
      },
    }),
  },
});

/** Mistakes in the definitions refuse the start before anything is started. */
export async function definitionsOf(named: string | undefined, surroundings: Surroundings): Promise<string | undefined> {
  const dir = named === undefined ? definitionsIn(surroundings.cwd) : fileAt(named, surroundings);
  if (named === undefined && !existsSync(dir)) return undefined;
  await definitionsAtStart(dir);
  return dir;
}

/** The checkout's own definitions: what the pocket offers if the folder has none of its own. */
export function examplesDir(): string | undefined {
  const dir = definitionsIn(fileURLToPath(new URL("../../..", import.meta.url)));
  return existsSync(dir) ? dir : undefined;
}

type Body = StoredDefinition["body"];

const headOf = ({ name, title, owner }: Body) => ({ name, title, owner });

const COLUMNS: readonly Column<StoredDefinition>[] = [
  { head: "DEFINITION", yields: true, cell: ({ body }) => body.name },
  { head: "PARAMETERS", goes: 2, cell: ({ body }) => parametersOf(body.parameters).map(({ text }) => text).join(" ") || "-" },
  { head: "OWNER", goes: 1, cell: ({ body }) => body.owner?.name ?? "-" },
  { head: "TITLE", cell: (it) => (whyUnusable(it) === undefined ? (it.body.title ?? "") : `cannot be run: ${whyUnusable(it)}`) },
]; // biome-ignore format: a table is read down its columns

interface Parameter {
  readonly name: string;
  /** "month", or "[format=csv]" for one that may be left out. */
  readonly text: string;
  readonly isNeeded: boolean;
  /** What stands in its place in a command. */
  readonly example: string;
  readonly about: string;
}

function parametersOf({ properties = {}, required = [] }: Partial<ParametersSchema> = {}): readonly Parameter[] {
  return Object.entries(properties).map(([name, { type, enum: words, pattern, default: usual, title, description }]) => {
    const isNeeded = required.includes(name);
    const what = words?.map((it) => JSON.stringify(it)).join(" | ") ?? (Array.isArray(type) ? type.join(" | ") : (type ?? "any"));
    const like = pattern === undefined ? "" : ` that matches ${pattern}`;
    const otherwise = usual === undefined ? (isNeeded ? "needed" : "may be left out") : `default ${JSON.stringify(usual)}`;
    const text = isNeeded ? name : `[${name}${usual === undefined ? "" : `=${shown(usual)}`}]`;
    const only = words?.length === 1 ? words[0] : undefined;
    return {
      name,
      text,
      isNeeded,
      example: only === undefined ? "…" : String(only),
      about: [`${what}${like}, ${otherwise}`, description ?? title].filter(Boolean).join(": "),
    };
  });
}

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

function pageOf(found: StoredDefinition, where: string, screen: Screen): readonly string[] {
  const { digest, sinceMs, body, prepared } = found;
  const why = whyUnusable(found);
  const { name, title, description, owner, parameters, concurrency, groups } = body;
  const about = (label: string, text: string) => row([{ text: label, tone: "faint" }, text], { widths: [11], indent: 2 }, screen);
  const taken = parametersOf(parameters);
  const needed = taken.filter(({ isNeeded }) => isNeeded).map((it) => ` -p ${it.name}=${it.example}`).join(""); // biome-ignore format: one step
  const { limit = 1, then = "queue", key = name } = concurrency ?? {};
  return [
    ...paragraph(title === undefined ? name : `${name}: ${title}`, { tone: "strong" }, screen),
    ...(description === undefined ? [] : paragraph(description, { indent: 2 }, screen)),
    ...(owner === undefined ? [] : about("owner", [owner.name, owner.contact].filter(Boolean).join(", "))),
    ...stepsOf(bodyOf(body)).flatMap((step) => about("steps" in body ? `step ${step.name}` : "image", step.image)),
    ...(groups === undefined ? [] : about("groups", groups.join(", "))),
    ...(concurrency === undefined ? [] : about("at a time", `${limit} with the key ${quoted(key)}; one more ${then === "queue" ? "waits" : "is refused"}`)),
    ...(taken.length === 0 ? about("parameters", "none") : taken.flatMap((it) => about(it.name, it.about))),
    ...(prepared === undefined ? [] : about("prepared", originOf(prepared))),
    ...(why === undefined ? [] : about("cannot run", why)),
    ...about("since", `${timeText(sinceMs)} (${digest})`),
    pasted(`longshore publish --definition ${name}${needed}${where} --follow`, 2, screen),
  ]; // biome-ignore format: a page
}

const originOf = ({ kind, name, group, schedule, active }: NonNullable<StoredDefinition["prepared"]>): string =>
  [
    `as the ${kind} ${name} in ${group}`,
    schedule !== undefined && `by itself: ${schedule}`,
    active > 0 && `${active} running by itself`,
  ]
    .filter(Boolean)
    .join(", ");

async function folderOf(config: string | undefined, surroundings: Surroundings): Promise<string> {
  if (config === undefined) return definitionsIn(surroundings.cwd);
  const { definitionsDir } = await findLongshore({ config }, surroundings);
  if (definitionsDir === undefined)
    throw new Failure("refuse", "NoDefinitions", `${config} has no definitionsDir; name a file or a folder`);
  return definitionsDir;
}

async function readAt(path: string): Promise<Pick<ReadDefinitions, "definitions" | "problems">> {
  const isFolder = await stat(path).then((it) => it.isDirectory(), () => true); // biome-ignore format: one question
  return isFolder ? await readDefinitions(path) : await readDefinitionFile(path);
}
