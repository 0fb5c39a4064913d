/**
 * Turns a schema's findings into problems that the author of a message can act on: all at once, each with its place.
 *
 * The failure this prevents: "Invalid input". For a union, zod only says that none of its branches fits; here the branch that
 * was evidently meant is chosen, and its problems are told. No sentence quotes a value, since a value may be somebody's
 * password.
 */
import { z } from "zod";
import type { CommandProblem, ProblemCode } from "./problem-codes.ts";
import { StepRequest } from "../request/request.ts";

/** Without this limit, the answer to a hostile message could be thousands of times as large as the message. */
export const PROBLEMS_MAX = 50;
const SEGMENT_MAX = 100;
const POINTER_MAX = 300;

export const problem = (path: string, code: ProblemCode, message: string): CommandProblem => ({ path, code, message });

/** Returns a JSON pointer. A name that is too long to be intended is cut. */
export function pointer(path: readonly PropertyKey[]): string {
  const parts = path.map((part) => `/${cut(String(part), SEGMENT_MAX).replaceAll("~", "~0").replaceAll("/", "~1")}`);
  return cut(parts.join(""), POINTER_MAX);
}

export function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`.toWellFormed();
}

export function bounded(problems: readonly CommandProblem[]): readonly CommandProblem[] {
  if (problems.length <= PROBLEMS_MAX) return problems;
  const more = problem("", "MoreProblems", "There are more problems than are listed here; correct these first.");
  return [...problems.slice(0, PROBLEMS_MAX), more];
}

export type Judged<T> =
  | { readonly kind: "valid"; readonly value: T }
  | { readonly kind: "invalid"; readonly problems: readonly CommandProblem[] };

/** Judges a value that stands at `at` (a JSON pointer) in the whole input. */
export function judge<S extends z.ZodType>(schema: S, value: unknown, at = ""): Judged<z.output<S>> {
  const result = schema.safeParse(value, { error: sentence, reportInput: true });
  if (result.success) return { kind: "valid", value: result.data };
  const issues = result.error.issues.slice(0, PROBLEMS_MAX + 1);
  return { kind: "invalid", problems: bounded(issues.flatMap((issue) => toProblems(issue, at))) };
}

type Issue = z.core.$ZodIssue;

function toProblems(issue: Issue, at: string): readonly CommandProblem[] {
  const here = at + pointer(issue.path);
  if (issue.code === "invalid_union") return unionProblems(issue, here);
  if (issue.code === "invalid_key") return issue.issues.map((inner) => problem(here, codeOf(inner), inner.message));
  if (issue.code !== "unrecognized_keys") return [problem(here, codeOf(issue), issue.message)];
  // `sentence` wrote one line for each key.
  const lines = issue.message.split("\n");
  return issue.keys
    .slice(0, PROBLEMS_MAX + 1)
    .map((key, which) => problem(here + pointer([key]), "UnknownField", lines[which] ?? issue.message));
}

/**
 * Chooses the branch that was evidently meant: of those that take the value's kind (a text, a list, an object), the first that
 * knows most of its fields. If no branch takes it, all kinds are named.
 */
function unionProblems(issue: z.core.$ZodIssueInvalidUnion, here: string): readonly CommandProblem[] {
  const [meant] = issue.errors.filter((branch) => !branch.some(isMisfit)).toSorted((a, b) => unknownIn(a) - unknownIn(b));
  if (meant !== undefined) return meant.flatMap((inner) => toProblems(inner, here));
  if (issue.message !== UNEXPLAINED) return [problem(here, codeOf(issue), issue.message)];
  const own = issue.errors.flat().find((inner) => inner.code === "invalid_type" && !inner.message.startsWith(NEEDED));
  if (own !== undefined && issue.input !== undefined) return [problem(here, "WrongType", own.message)];
  const kinds = issue.errors.flatMap((branch) =>
    branch.flatMap((inner) => (inner.code === "invalid_type" ? [kind(inner.expected)] : [])),
  );
  if (kinds.length === 0) return [problem(here, codeOf(issue), issue.message)];
  return [problem(here, codeOf(issue), needed([...new Set(kinds)].join(" or "), issue.input, issue.path))];
}

const unknownIn = (branch: readonly Issue[]): number =>
  branch.reduce(
    (sum, { path, ...issue }) => sum + (issue.code === "unrecognized_keys" && path.length === 0 ? issue.keys.length : 0),
    0,
  );

const isMisfit = (issue: Issue): boolean =>
  issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "invalid_value");

const CODES: Readonly<Partial<Record<Issue["code"], ProblemCode>>> = {
  invalid_type: "WrongType",
  invalid_union: "WrongType",
  too_big: "OutOfRange",
  too_small: "OutOfRange",
};

function codeOf(issue: Issue): ProblemCode {
  if (issue.code === "custom") return (issue.params?.["code"] as ProblemCode | undefined) ?? "Invalid";
  if (issue.input === undefined) return "Missing";
  return CODES[issue.code] ?? "Invalid";
}

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

/** Returns the sentence for an issue whose schema brings no sentence of its own. */
function sentence(issue: RawIssue): string {
  if (issue.code === "invalid_type") return needed(kind(issue.expected), issue.input, issue.path ?? []);
  if (issue.code === "invalid_value")
    return needed(`one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`, issue.input, issue.path ?? []);
  if (issue.code === "too_big") return `At most ${issue.maximum} ${measure(issue.origin)}.`;
  if (issue.code === "too_small") return `At least ${issue.minimum} ${measure(issue.origin)}.`;
  if (issue.code === "unrecognized_keys") return unknownFields(issue.keys, namesOf(issue.inst));
  if (issue.code === "invalid_format" && issue.format === "datetime")
    return 'A date is written as in "2030-01-31T12:00:00Z", with its zone.';
  // The pattern of a parameter of a definition: our own patterns have sentences.
  if (issue.code === "invalid_format" && issue.format === "regex" && issue.pattern !== undefined)
    return `This must match ${issue.pattern}.`;
  return UNEXPLAINED;
}

const NEEDED = "This must be ";
const UNEXPLAINED = "This is not written as it must be.";

function needed(what: string, given: unknown, path: readonly PropertyKey[]): string {
  const name = path.at(-1);
  if (given === undefined)
    return typeof name === "string" ? `"${cut(name, SEGMENT_MAX)}" is needed: ${what}.` : `This is needed: ${what}.`;
  if (what.startsWith("one of")) return `This must be ${what}.`;
  const quotes = what.startsWith("a text") && (typeof given === "number" || typeof given === "boolean");
  return `${NEEDED}${what}, not ${kindOf(given)}${quotes ? "; write it in quotes" : ""}.`;
}

const KINDS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
  never: "left out",
  null: "null",
};
const kind = (expected: string): string => KINDS[expected] ?? expected;

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "number" && !Number.isInteger(value)) return "a number with a fraction";
  if (typeof value === "boolean") return "true or false";
  return kind(typeof value);
}

const MEASURES: Readonly<Record<string, string>> = {
  string: "characters",
  array: "entries",
  number: "is allowed",
  int: "is allowed",
};
const measure = (origin: string): string => MEASURES[origin] ?? "is allowed";

function namesOf(schema: unknown): readonly string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

const stepFields: readonly string[] = Object.keys(StepRequest.shape);

/** Names of our fields in other systems: a Job of Kubernetes, a compose file, another scheduler. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  activeDeadlineSeconds: "deadline",
  backoffLimit: "retries",
  cluster: "group",
  cmd: "command",
  container: "image",
  cpu: "resources.limits.cpu",
  entrypoint: "command",
  environment: "env",
  initContainers: "init",
  memory: "resources.limits.memory",
  serviceAccountName: "serviceAccount",
  timeout: "deadline",
  variables: "env",
  volumeMounts: "mounts",
};

/** Returns one line for each key, up to the number that will be told. The first that resembles nothing names all fields. */
function unknownFields(keys: readonly string[], known: readonly string[]): string {
  let isListed = false;
  const line = (key: string): string => {
    const told = unknownField(key, known);
    if (told !== undefined) return told;
    const all = isListed ? "." : `; these are: ${[...known, ...otherForms(known)].join(", ")}.`;
    isListed = true;
    return `${quoted(key)} is not a field here${all}`;
  };
  return keys
    .slice(0, PROBLEMS_MAX + 1)
    .map(line)
    .join("\n");
}

/** A request of the short form may have been meant as one of the other forms. */
const otherForms = (known: readonly string[]): readonly string[] =>
  known.includes("run") && known.includes("image") ? ["or steps", "or definition in place of image"] : [];

/** A restart's corrections know `steps` beside the fields of a step. */
const isPipeline = (known: readonly string[]): boolean => known.includes("steps") && !known.includes("image");

const quoted = (key: string): string => JSON.stringify(cut(key, SEGMENT_MAX));

/** `undefined`: it resembles no field. */
function unknownField(key: string, known: readonly string[]): string | undefined {
  if (isPipeline(known) && stepFields.includes(key)) return `${quoted(key)} belongs inside a step, since "steps" is given.`;
  const other = Object.hasOwn(ELSEWHERE, key) ? ELSEWHERE[key] : undefined;
  const meant = other !== undefined && known.includes(other.split(".")[0] ?? "") ? other : nearest(key, known);
  return meant === undefined ? undefined : `${quoted(key)} is not a field here: did you mean "${meant}"?`;
}

/** Returns the known name that a misspelt name most likely stands for, if one is near enough to be meant. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(name.length / 3));
  if (name.length > SEGMENT_MAX) return undefined;
  let best: string | undefined;
  let bestDistance = most + 1;
  for (const candidate of known) {
    const distance = edits(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Counts the letters that must be put in, left out or changed, and the neighbours that must be swapped. */
function edits(from: string, to: string): number {
  let beforeAbove: readonly number[] = [];
  let above = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let row = 1; row <= from.length; row++) {
    const line = [row];
    for (let column = 1; column <= to.length; column++) {
      const change = (above[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      const swap = isSwapped ? (beforeAbove[column - 2] ?? Infinity) + 1 : Infinity;
      line.push(Math.min(change, swap, (above[column] ?? 0) + 1, (line[column - 1] ?? 0) + 1));
    }
    beforeAbove = above;
    above = line;
  }
  return above[to.length] ?? 0;
}
