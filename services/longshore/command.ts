/**
 * The shape of a command of `longshore`: one declaration of its words and options. The command line is read by it, and help and
 * completion are written from it.
 *
 * The failures this prevents: an option that help does not name; and a library's error text for a misspelt option.
 */
import { parseArgs } from "node:util";
import { nearest } from "@longshore/contract/problems/schema-problems.ts";
import { fileNamed } from "@longshore/runtime/config/file-named.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { helpOf } from "./help.ts";
import type { Progress } from "./screen/progress.ts";
import { paragraph } from "./screen/rows.ts";
import { PIPE, type Screen } from "./screen/screen.ts";

export interface Surroundings {
  readonly out: (text: string) => void;
  /** The screen that shows `out`; absent if `out` goes to no terminal. */
  readonly screen?: Screen;
  /** Absent: a command does not say what it waits for. */
  readonly progress?: Progress;
  /** Writes to standard error, beside an output that programs read. The commands are not folded. Absent: nobody reads it. */
  readonly note?: (sentence: string, ...commands: readonly string[]) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborts on Ctrl-C, and when nobody reads the output any more. */
  readonly signal: AbortSignal;
}

/** The `source` of the commands that are sent from here. */
export const CLI = "/longshore/cli";

export const screenIn = ({ screen = PIPE }: Pick<Surroundings, "screen">): Screen => screen;

/** Prints lines. */
export function say({ out }: Pick<Surroundings, "out">, lines: readonly string[]): void {
  if (lines.length > 0) out(`${lines.join("\n")}\n`);
}

/** Prints a sentence for a person. */
export const tell = (surroundings: Pick<Surroundings, "out" | "screen">, sentence: string): void =>
  say(surroundings, paragraph(sentence, {}, screenIn(surroundings)));

/** Does the work. If the work takes longer than a second, says what is waited for. */
export const during = <T>({ progress }: Pick<Surroundings, "progress">, what: string, work: () => Promise<T>): Promise<T> =>
  progress === undefined ? work() : progress.during(what, work);

export interface Option {
  readonly type: "string" | "boolean";
  readonly multiple?: boolean;
  /** One letter that stands for the option: "p" for -p. */
  readonly short?: string;
  /** The placeholder for the value in help. The shell completes FILE and DIR itself. */
  readonly value?: string;
  /** The allowed values, if there is a fixed list of them. */
  readonly words?: readonly string[];
  /** The list whose names are values, for completion. */
  readonly namedBy?: { readonly list: string; readonly field: string };
  readonly about: string;
}
export type Options = Readonly<Record<string, Option>>;

type ValueOf<O extends Option> = O extends { type: "boolean" }
  ? boolean
  : O extends { multiple: true }
    ? readonly string[]
    : string;
export type Values<O extends Options> = { readonly [N in keyof O]?: ValueOf<O[N]> | undefined };

export interface Page {
  /** The words after `longshore`, such as "runs list". */
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The arguments after the name, one line for each way to write them. */
  readonly usage: readonly string[];
  readonly options: Options;
  /** The list that the shell completes the command's word from: which command prints it as JSON, and which field has the names. */
  readonly namedBy?: { readonly list: string; readonly field: string };
  /** Paragraphs below the options. Lines that begin with a space stay as they are. */
  readonly more?: string;
}

export interface Command extends Page {
  readonly verbs: Readonly<Record<string, Command>>;
  /** The text that `--help` prints. */
  readonly help: (screen?: Screen) => string;
  /** Resolves to the exit code. Throws `Usage`, `Failure` or `ConfigProblems` for problems that a person can mend. */
  run(args: readonly string[], surroundings: Surroundings): Promise<number>;
}

/** The command line is wrong: exit code 64, and no stack. */
export class Usage extends Error {
  override readonly name = "Usage";
  /** The command whose help page explains it. */
  page: string | undefined;
}

export interface Declared<O extends Options> extends Page {
  readonly options: O;
  /** The required words, each as an error names it if it is missing. */
  readonly words?: readonly string[];
  /** True if more words may follow, such as a command that is to be run: `run` checks them. */
  readonly andMore?: boolean;
  run(values: Values<O>, words: readonly string[], surroundings: Surroundings): Promise<number>;
}

export function command<const O extends Options>(declared: Declared<O>): Command {
  const { name, words: wanted = [], andMore = false } = declared;
  const page = { ...declared, verbs: {} };
  return {
    ...page,
    help: (screen = PIPE) => helpOf(page, screen),
    run: (args, surroundings) =>
      onPage(name, () => {
        const { values, words } = read(page, args, andMore);
        const missing = wanted[words.length];
        if (missing !== undefined) throw new Usage(`${name} needs ${missing}`);
        const over = andMore ? undefined : words[wanted.length];
        if (over !== undefined) throw new Usage(`${name} takes no "${over}"`);
        return declared.run(values as Values<O>, words, surroundings);
      }),
  };
}

/** A command of several verbs, each with a page and options of its own. Without a verb, it shows its list. */
export function family(
  declared: Pick<Page, "name" | "summary" | "more"> & { readonly verbs: Readonly<Record<string, Command>> },
): Command {
  const { name, verbs } = declared;
  const page = { ...declared, usage: [], options: {} };
  // An option may stand before the verb, so all options of all verbs are known while the verb is looked for.
  const options = Object.assign({}, ...Object.values(verbs).map((it) => it.options)) as Options;
  return {
    ...page,
    help: (screen = PIPE) => helpOf(page, screen),
    run: (args, surroundings) =>
      onPage(name, async () => {
        const at = tokensOf(options, args).find((it) => it.kind === "positional");
        const names = Object.keys(verbs);
        if (at === undefined && verbs["list"] !== undefined) {
          if (screenIn(surroundings).columns !== undefined && !args.includes("--json"))
            surroundings.note?.(`\`longshore ${name} VERB\` with one of ${names.join(", ")}; --help says what each does`);
          return await verbs["list"].run(args, surroundings);
        }
        if (at === undefined) throw new Usage(`${name} needs one of ${names.join(", ")}`);
        const verb = Object.hasOwn(verbs, at.value) ? verbs[at.value] : undefined;
        const stray = tokensOf(options, args).find((it) => it.kind === "option" && !Object.hasOwn(options, it.name));
        // The value of an option that nobody knows stands where a verb would.
        if (verb === undefined && stray?.kind === "option")
          throw new Usage(`${name} has no option ${stray.rawName}${optionMeant(stray.rawName, Object.keys(options))}`);
        if (verb === undefined)
          throw new Usage(`${name} needs one of ${names.join(", ")}; not "${at.value}"${meant(at.value, names)}`);
        const rest = args.toSpliced(at.index, 1);
        const given = tokensOf(options, rest).filter((it) => it.kind === "option");
        for (const { name: option, rawName } of given.filter((it) => !Object.hasOwn(verb.options, it.name))) {
          const owners = Object.values(verbs).filter((it) => Object.hasOwn(it.options, option));
          if (owners.length > 0)
            throw new Usage(`${verb.name} takes no ${rawName}; ${owners.map((it) => it.name).join(" and ")} can`);
        }
        return await verb.run(rest, surroundings);
      }),
  };
}

/** Notes on each `Usage` which command's help page explains it. */
async function onPage(name: string, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Usage) error.page ??= name;
    throw error;
  }
}

// ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function tokensOf(options: Options, args: readonly string[]) {
  const known = Object.entries(options).map(
    ([name, { type, multiple = false, short }]) => [name, { type, multiple, ...(short !== undefined && { short }) }] as const,
  );
  const asked = { args: [...args], options: Object.fromEntries(known) };
  return parseArgs({ ...asked, strict: false, allowPositionals: true, tokens: true }).tokens;
}

function read({ name, options }: Page, args: readonly string[], andMore: boolean) {
  const values: Record<string, string | boolean | string[]> = {};
  const words: string[] = [];
  for (const token of tokensOf(options, args)) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const { rawName, value, inlineValue } = token;
    const named = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    const option = rawName.startsWith("--") || named?.short === rawName.slice(1) ? named : undefined;
    if (option === undefined) {
      const hint = andMore && words.length > 0 ? ". A command with options of its own stands after --" : "";
      throw new Usage(`${name} has no option ${rawName}${optionMeant(rawName, Object.keys(options))}${hint}`);
    }
    if (option.type === "boolean") {
      if (value !== undefined) throw new Usage(`${rawName} takes no value`);
      values[token.name] = true;
      continue;
    }
    if (value === undefined) throw new Usage(`${rawName} needs a value: ${rawName} ${option.value ?? "TEXT"}`);
    if (inlineValue === false && value.length > 1 && value.startsWith("-"))
      throw new Usage(
        `${rawName} needs a value, and "${value}" looks like an option; if it is the value, write ${rawName}=${value}`,
      );
    if (option.words && !option.words.includes(value))
      throw new Usage(`${rawName} is one of ${option.words.join(", ")}; not "${value}"${meant(value, option.words)}`);
    if (!option.multiple) values[token.name] = value;
    else values[token.name] = [...((values[token.name] as string[] | undefined) ?? []), value];
  }
  return { values, words };
}

/** True if help is asked for. The words after "--" belong to the command that is to be run. */
export function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const own = end === -1 ? args : args.slice(0, end);
  return own.includes("--help") || own.includes("-h");
}

/** Words of other programs for our options, which no letters make near. */
const SAID_ELSEWHERE: Readonly<Record<string, string>> = {
  limit: "most",
  count: "most",
  max: "most",
  n: "most",
  tail: "most",
  img: "image",
  tag: "image",
  id: "run",
  name: "run",
  cluster: "group",
  wait: "follow",
  watch: "follow",
  f: "follow",
  e: "env",
  status: "state",
  filter: "state",
  output: "json",
  o: "json",
  force: "yes",
  y: "yes",
};

/** "; did you mean --most?", by meaning, by its beginning, or by its letters. */
function optionMeant(given: string, options: readonly string[]): string {
  const bare = given.replace(/^-+/, "");
  const said = Object.hasOwn(SAID_ELSEWHERE, bare) ? SAID_ELSEWHERE[bare] : undefined;
  const begun = bare.length > 1 ? options.filter((it) => it.startsWith(bare)) : [];
  const option = said !== undefined && options.includes(said) ? said : begun.length === 1 ? begun[0] : undefined;
  if (option !== undefined) return `; did you mean --${option}?`;
  return meant(`--${bare}`, options.map((it) => `--${it}`)); // biome-ignore format: one question
}

/** "; did you mean …?", if a word is near enough. */
export function meant(given: string, words: readonly string[]): string {
  const word = nearest(given, words);
  return word === undefined ? "" : `; did you mean ${word}?`;
}

/** Returns the path of a file or folder that was named on the command line. */
export const fileAt = (given: string, { env, cwd }: Pick<Surroundings, "env" | "cwd">): string => fileNamed(given, env, cwd);

/** Returns the option that a printed `longshore` command needs in order to use the same `--config`. */
export const configWords = (config: string | undefined): string => (config === undefined ? "" : ` --config ${quoted(config)}`);

/** The text, each of whose `longshore` commands uses the same `--config`: these words stand behind it. */
export const withConfig = (text: string, words: string): string =>
  text.replaceAll(/`longshore [^`]+/g, (command) => (command.includes(" --config ") ? command : `${command}${words}`));

// ── Options that several commands have ───────────────────────────────────────────────────────────────────────────────

export const CONFIG = {
  type: "string",
  value: "FILE",
  about:
    "a launcher's config file (default: the file in LONGSHORE_CONFIG, else the Longshore that `longshore up` runs from this folder)",
} as const satisfies Option;

export const JSON_OPTION = { type: "boolean", about: "print JSON, for programs" } as const satisfies Option;

/** JSON for programs. The control characters that JSON allows are escaped, too: a terminal would obey them. */
export function json(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  return `${text.replaceAll(/[\u007f-\u009f]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}

export const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
