/**
 * A program's settings: from a YAML file, overridden by the environment, judged by one zod schema, frozen.
 *
 * The bugs this prevents: a misspelt key that is silently ignored, a start that reports one problem at a time, and a secret
 * that is printed. Every problem is reported at once, with its line or its variable and with what to do.
 *
 * Each setting can be given as a variable: `broker.urlFile` is LONGSHORE_BROKER_URL_FILE, a list is "a,b" and a map "a=1,b=2".
 * Settings whose names end in `File` or `Dir` are paths; a relative path in the YAML file counts from that file's folder.
 */
import { readFileSync } from "node:fs";
import { dirname, isAbsolute, resolve } from "node:path";
import convict from "convict";
import { z } from "zod";
import { environmentName, type Leaf, leaves, namesAt } from "./shape.ts";
import { readYaml } from "./yaml-text.ts";

interface ConfigSource {
  /** The YAML file, if one was named. */
  readonly file?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The schemas of other programs that read the same environment: their variables are not refused as unknown. */
  readonly beside?: readonly z.ZodType[];
}

/** All problems of the settings. The error's message is the text to show to a person. */
export class ConfigProblems extends Error {
  override readonly name = "ConfigProblems";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const many = problems.length === 1 ? "a problem" : `${problems.length} problems`;
    super(`the configuration has ${many}:\n${problems.map((it) => `  ${it}`).join("\n")}`);
    this.problems = problems;
  }
}

/** Throws `ConfigProblems`. The value is deeply frozen. */
export function readConfig<S extends z.ZodType>(schema: S, { file, env, beside = [] }: ConfigSource): z.output<S> {
  const settings = leaves(schema);
  const given = file === undefined ? nothing : readFile(file);
  const unknown = unknownVariables([...settings, ...beside.flatMap((it) => leaves(it))], env);
  // A file that cannot be read may hold the settings that seem to be missing.
  if (given.problems.length > 0) throw new ConfigProblems([...given.problems, ...unknown.map(({ problem }) => problem)]);
  const parsed = schema.safeParse(overridden(given.value, settings, env));
  const found = parsed.success ? [] : parsed.error.issues;
  const meant = [...unknown.flatMap((it) => (it.meant ? [it.meant.path] : [])), ...found.flatMap((it) => meantBy(it, schema))];
  const issues = found
    .filter((issue) => !isMissing(issue) || !meant.some((path) => isSame(issue.path, path, settings)))
    .flatMap((issue) => sentences(issue, schema, given, settings, env));

  const problems = [...unknown.map(({ problem }) => problem), ...issues];
  if (problems.length > 0 || !parsed.success) throw new ConfigProblems(problems);
  return deepFreeze(parsed.data);
}

interface Given {
  readonly value: Record<string, unknown>;
  readonly problems: readonly string[];
  /** Returns the line of the path, or of its nearest parent in the file: "config/launcher.yaml:3". */
  readonly place: (path: readonly PropertyKey[]) => string | undefined;
}

const nothing: Given = { value: {}, problems: [], place: () => undefined };

function readFile(file: string): Given {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    return { ...nothing, problems: [`${file}: cannot be read (${reason(error)}); name the configuration with --config FILE`] };
  }
  const { value: read, problems, lineOf } = readYaml(text);
  if (problems.length > 0)
    return { ...nothing, problems: problems.map(({ line, column, why }) => `${file}:${line}:${column}: not YAML: ${why}`) };
  const place = (path: readonly PropertyKey[]) => {
    const line = lineOf(path);
    return line === undefined ? undefined : `${file}:${line}`;
  };
  const value = read ?? {};
  if (!isRecord(value)) return { ...nothing, problems: [`${file}: has to hold a map of settings, such as "installation: prod"`] };
  return { value: withPathsFrom(dirname(resolve(file)), value), problems: [], place };
}

/** Names places in a file as our sentences about settings do: "groups.yaml:7: groups.prod-a.launch.tokenFile". */
export function placesIn(file: string): (path: readonly string[]) => string {
  const given = readFile(file);
  return (path) => `${given.place(path) ?? file}: ${path.join(".")}`;
}

function withPathsFrom(folder: string, value: Record<string, unknown>): Record<string, unknown> {
  const absolute = (name: string, it: unknown): unknown => {
    if (typeof it === "string") return /(File|Dir)$/.test(name) && !isAbsolute(it) ? resolve(folder, it) : it;
    return isRecord(it) ? withPathsFrom(folder, it) : it;
  };
  return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, absolute(name, it)]));
}

/** Returns the file's values, overridden by the environment's, which convict finds by the variables' names. */
function overridden(
  value: Record<string, unknown>,
  settings: readonly Leaf[],
  env: ConfigSource["env"],
): Record<string, unknown> {
  const slots = settings.map(({ path }) => [
    path.join("/"),
    { doc: path.join("."), format: "*", default: undefined as string | undefined, env: environmentName(path) },
  ]);
  const given = convict<Record<string, string | undefined>>(Object.fromEntries(slots), { env: { ...env }, args: [] });
  const result = structuredClone(value);
  for (const setting of settings) {
    const text = given.get(setting.path.join("/"));
    if (text !== undefined) place(result, setting.path, valueOf(text, setting));
  }
  return result;
}

/** Converts a variable's text to the kind of its setting. The schema judges the result. */
function valueOf(text: string, { kind, words = [] }: Leaf): unknown {
  if (kind === "text" || (kind === "list" && words.includes(text))) return text;
  if (kind === "scalar") return scalar(text);
  const items = text.split(",").map((it) => it.trim()).filter((it) => it !== ""); // biome-ignore format: one step
  if (kind === "list") return items;
  return Object.fromEntries(
    items.map((item) => {
      const [name = "", ...rest] = item.split("=");
      return [name.trim(), rest.length === 0 ? undefined : rest.join("=").trim()];
    }),
  );
}

function scalar(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function place(into: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name, ...rest] = path;
  if (name === undefined) return;
  if (rest.length === 0) into[name] = value;
  else {
    const existing = into[name];
    const inner: Record<string, unknown> = isRecord(existing) ? existing : {};
    into[name] = inner;
    place(inner, rest, value);
  }
}

const PREFIX = "LONGSHORE_";
/** Our variables that are no settings: the settings file, a run's identity in its pod, and the pocket's file for outputs. */
const OWN = new Set(["CONFIG", "RUN", "STEP", "ATTEMPT", "TERMINATION_LOG"].map((name) => `${PREFIX}${name}`));
/** The prefix of variables that only tests read. */
const TESTS = `${PREFIX}TEST_`;
/** Matches LONGSHORE_LAUNCHER_SERVICE_HOST, LONGSHORE_LAUNCHER_SERVICE_PORT_HTTP, LONGSHORE_LAUNCHER_PORT_9090_TCP_ADDR. */
const LINK = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
/** Kubernetes sets LONGSHORE_LAUNCHER_PORT to an address. A number, as in LONGSHORE_BROKER_PORT=5672, is somebody's mistake. */
const LINK_ADDRESS = /^(tcp|udp|sctp):\/\//;

/**
 * True for variables that begin with our prefix and are no settings: Kubernetes gives a pod the address of each Service whose
 * name begins with "longshore", and a program may be started from a pod of ours.
 */
const isForeign = (name: string, value = ""): boolean =>
  OWN.has(name) || name.startsWith(TESTS) || LINK.test(name) || (name.endsWith("_PORT") && LINK_ADDRESS.test(value));

/** Removes our settings from an environment, for a program that must read them from its file alone. */
export const withoutSettings = (env: ConfigSource["env"]): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(env).filter(([name, value]) => !name.startsWith(PREFIX) || isForeign(name, value)));

/** Reports variables with our prefix that no setting has: a misspelt setting must not be ignored. */
function unknownVariables(settings: readonly Leaf[], env: ConfigSource["env"]): readonly UnknownVariable[] {
  const known = new Map(settings.map((it) => [environmentName(it.path), it]));
  return Object.entries(env)
    .filter(([name, value]) => name.startsWith(PREFIX) && !known.has(name) && !isForeign(name, value))
    .map(([name]) => {
      const meant = nearest(name, known.keys(), 2);
      const todo = meant === undefined ? "correct the variable's name, or unset it" : `did you mean ${meant}?`;
      return { problem: `${name}: no such setting; ${todo}`, meant: known.get(meant ?? "") };
    });
}

interface UnknownVariable {
  readonly problem: string;
  readonly meant: Leaf | undefined;
}

/** The settings that were meant by misspelt keys. */
const meantBy = (issue: z.core.$ZodIssue, schema: z.ZodType): readonly (readonly PropertyKey[])[] =>
  issue.code === "unrecognized_keys"
    ? issue.keys.flatMap((key) => {
        const meant = nearest(key, namesAt(schema, issue.path));
        return meant === undefined ? [] : [[...issue.path, meant]];
      })
    : [];

const isMissing = ({ code, message }: z.core.$ZodIssue): boolean =>
  code === "invalid_type" ? message.endsWith("received undefined") : code === "custom" && message.startsWith("is missing");

/** True if the missing setting is the one that was meant, holds it or lies in it, or could be given instead of it. */
function isSame(missing: readonly PropertyKey[], meant: readonly PropertyKey[], settings: readonly Leaf[]): boolean {
  const [shorter, longer] = missing.length < meant.length ? [missing, meant] : [meant, missing];
  const instead = settings.find(({ path }) => path.join(".") === meant.join("."))?.or;
  return shorter.every((name, index) => longer[index] === name) || instead === missing.join(".");
}

const NO_VALUE =
  "here is a key without a value, which is no setting; a colon needs a blank after it, and a text with a comma needs quotes";

const isEmpty = (value: unknown): boolean => value === null || value === undefined;

const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((at, key) => (isRecord(at) ? at[String(key)] : undefined), value);

function sentences(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  given: Given,
  settings: readonly Leaf[],
  env: ConfigSource["env"],
): string[] {
  const variableOf = (path: readonly PropertyKey[]): string | undefined => {
    const leaf = settings.find((it) => it.path.every((name, index) => path[index] === name));
    const variable = leaf && environmentName(leaf.path);
    return variable !== undefined && env[variable] !== undefined ? variable : undefined;
  };
  const say = (path: readonly PropertyKey[], what: string, shown = path) => {
    const from = variableOf(path) ?? given.place(path);
    return `${from === undefined ? "" : `${from}: `}${shown.map(String).join(".") || "the whole"}: ${what}`;
  };
  if (issue.code === "unrecognized_keys") {
    const known = namesAt(schema, issue.path);
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      const meant = nearest(key, known);
      // A key without a value may be a secret, so it is not printed: YAML reads `password:secret` as a key, and `after` in
      // `{ password: before, after }`.
      if (meant === undefined && variableOf(path) === undefined && isEmpty(valueAt(given.value, path)))
        return say(path, NO_VALUE, issue.path);
      const hint = meant === undefined ? `known here: ${known.join(", ")}` : `did you mean "${meant}"?`;
      return say(path, `no such setting; ${hint}`);
    });
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    // An alternative of another type than the value's is hardly the one that was meant.
    const isOfOtherType = (it: (typeof issue.errors)[number]): number =>
      Number(it.some(({ code, path }) => code === "invalid_type" && path.length === 0));
    const closest = issue.errors.toSorted((a, b) => isOfOtherType(a) - isOfOtherType(b) || a.length - b.length)[0] ?? [];
    return closest.flatMap((inner) =>
      sentences({ ...inner, path: [...issue.path, ...inner.path] }, schema, given, settings, env),
    );
  }
  if (issue.code === "invalid_key") return [say(issue.path, issue.issues.map(({ message }) => message).join("; "))];
  return [say(issue.path, issue.code === "invalid_type" && isMissing(issue) ? "is missing" : issue.message)];
}

/** The known name that somebody probably meant. */
function nearest(
  given: string,
  known: Iterable<string>,
  distanceMax = Math.max(1, Math.floor(given.length / 3)),
): string | undefined {
  let best: string | undefined;
  let least = distanceMax + 1;
  for (const name of known) {
    const apart = distance(given.toLowerCase(), name.toLowerCase());
    if (apart < least) [best, least] = [name, apart];
  }
  return best;
}

/** The number of single characters to insert, remove, replace or exchange with their neighbour. */
function distance(a: string, b: string): number {
  let [before, row] = [[] as number[], Array.from({ length: b.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same, swapped));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message.split("\n", 1).join("") : String(error);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
