/**
 * Expressions in texts: `${{ parameters.order }}`. An expression is a path and nothing more, and its value is put in once.
 *
 * The bugs this prevents: a value that is read again as an expression, so that whoever chooses a parameter's text reads other
 * parameters; and a value that the kubelet expands: `$(DB_PASSWORD)` in a parameter would print a Secret.
 */
import { z } from "zod";

/** The path of a value, such as `["steps", "load", "outputs", "rows"]`. */
export type Path = readonly string[];
export type Part = string | Path;
export type Parsed =
  | { readonly kind: "parts"; readonly parts: readonly Part[] }
  | { readonly kind: "unparsed"; readonly message: string };

/** `$${{` stands for the text `${{`. It is looked for first, so no `$` of the author's stands right before a value. */
const OPENING = /\$?\$\{\{/g;
const EXPRESSION = /\s*([A-Za-z_][\w-]*(?:\.\w[\w-]*|\[\d{1,9}\]|\["[^"\\]+"\])*)\s*\}\}/y;
const SEGMENT = /\["([^"\\]+)"\]|\[(\d+)\]|([\w-]+)/g;
/** The kubelet would look for a variable whose name the value completes. */
const IN_VARIABLE = /(^|[^$])(\$\$)*\$\([\w.-]*$/;

const NOT_A_PATH =
  'An expression is one path, such as "${{ parameters.order }}" or "${{ steps.load.outputs.rows }}": no operators and no functions. For the characters "${{" write "$${{".';
const CHOOSES_VARIABLE =
  'A value cannot be part of a variable\'s name in "$(…)": whoever chooses the value would choose which variable is read.';

/** Reads a text into its own characters and the paths between them. */
export function parse(text: string): Parsed {
  const parts: Part[] = [];
  let plain = "";
  let from = 0;
  for (const { 0: opening, index } of text.matchAll(OPENING)) {
    if (index < from) continue; // inside of a name in quotes
    plain += text.slice(from, index);
    from = index + opening.length;
    if (opening.startsWith("$$")) {
      plain += "${{";
      continue;
    }
    EXPRESSION.lastIndex = from;
    const [whole, path] = EXPRESSION.exec(text) ?? [];
    if (whole === undefined || path === undefined) return { kind: "unparsed", message: NOT_A_PATH };
    if (IN_VARIABLE.test(plain)) return { kind: "unparsed", message: CHOOSES_VARIABLE };
    if (plain !== "") parts.push(plain);
    parts.push([...path.matchAll(SEGMENT)].map(([word, quoted, index]) => quoted ?? index ?? word));
    plain = "";
    from += whole.length;
  }
  plain += text.slice(from);
  return { kind: "parts", parts: plain === "" && parts.length > 0 ? parts : [...parts, plain] };
}

/** Returns the path if the text is exactly one expression. */
export function wholePath(text: string): Path | undefined {
  const parsed = parse(text);
  const [only, ...others] = parsed.kind === "parts" ? parsed.parts : [];
  return typeof only === "string" || others.length > 0 ? undefined : only;
}

/** True if anything in the text is to be replaced, the escape among it. */
export const hasExpression = (text: string): boolean => text.includes("${{");

/** True if a text in the value, however deep, names an output of a step. */
export function dependsOnOutputs(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).some(dependsOnOutputs);
  if (typeof value !== "string" || !hasExpression(value)) return false;
  const parsed = parse(value);
  return parsed.kind === "parts" && parsed.parts.some((it) => typeof it !== "string" && it[0] === "steps");
}

/** The parameters that the expressions of a request name. */
export function parametersIn(request: unknown): readonly string[] {
  if (!hasExpression(JSON.stringify(request))) return [];
  const found = new Set<string>();
  const search = (value: unknown): void => {
    if (typeof value === "object" && value !== null) Object.values(value).forEach(search);
    if (typeof value !== "string" || !hasExpression(value)) return;
    const parsed = parse(value);
    for (const part of parsed.kind === "parts" ? parsed.parts : [])
      if (typeof part !== "string" && part[0] === "parameters" && part[1] !== undefined) found.add(part[1]);
  };
  search(request);
  return [...found];
}

/**
 * Adds to a schema of texts each text with an expression. Its result is judged once its values are known. `missing` is said
 * instead of the usual sentence if there is no text.
 */
export const orTemplate = <T extends z.ZodType<string>>(schema: T, missing?: string) =>
  z.union(
    [
      schema,
      z
        .string()
        .max(4096)
        .regex(/^[^\0]*\$\{\{[^\0]*$/, "A text with an expression holds ${{ … }}.")
        .meta({ title: "expression" }),
    ],
    { error: ({ input }) => (input === undefined ? missing : undefined) },
  );

/** Adds one expression in place of the whole value, which keeps its JSON type. `kind`: what the value must be. */
export const orExpression = <T extends z.ZodType>(schema: T, kind: string) =>
  z.union([
    schema,
    z
      .string()
      .refine((text) => wholePath(text) !== undefined, {
        error: `This must be ${kind}, or one expression such as "\${{ parameters.x }}".`,
        params: { code: "WrongType" },
      })
      .meta({ title: "expression", pattern: "^\\$\\{\\{[^\\0]*\\}\\}$" }),
  ]);

/** Follows a path through own fields. Nothing below null is there, so that is null; `undefined`: there is no such value. */
export function valueAt(from: unknown, path: Path): unknown {
  let value = from;
  for (const name of path) {
    if (value === null) return null;
    if (typeof value !== "object" || !Object.hasOwn(value, name)) return undefined;
    if (Array.isArray(value) && !/^\d+$/.test(name)) return undefined;
    value = Reflect.get(value, name);
  }
  return value;
}

export interface Rendering {
  /** `undefined`: there is no such value. */
  readonly lookUp: (path: Path) => unknown;
  /** Called for each problem, with the place of its text. */
  readonly problem: (at: string, message: string) => void;
  /** How many bytes of values may still be put in. One object for a whole rendering. */
  readonly room: { bytes: number };
}

/** Results of a step, all together. */
export const RESULT_BYTES_MAX = 256 * 1024;

/**
 * Puts the values into each text of a JSON value, once. `dollars: "doubled"` is for texts in which the kubelet expands
 * `$(NAME)`: it writes `$` for `$$`. Only `$(` doubled would not do: `$$(NAME)` would become `$$$(NAME)`, and leak.
 */
export function render(value: unknown, at: string, as: { readonly dollars: "doubled" | "kept" }, rendering: Rendering): unknown {
  const { lookUp, problem, room } = rendering;
  const inner = (it: unknown, name: string | number): unknown => render(it, `${at}/${escaped(String(name))}`, as, rendering);
  if (Array.isArray(value)) return value.map(inner);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, inner(it, name)]));
  if (typeof value !== "string" || !hasExpression(value)) return value;
  const parsed = parse(value);
  if (parsed.kind === "unparsed") {
    problem(at, parsed.message);
    return undefined;
  }
  const values = parsed.parts.map((part) => (typeof part === "string" ? part : found(part)));
  if (values.some((it) => it === undefined)) return undefined;
  return parsed.parts.length === 1 ? values[0] : values.map((it) => text(it)).join("");

  function found(path: Path): unknown {
    const value = lookUp(path);
    if (value === undefined) {
      problem(at, `There is no value at "${path.join(".")}".`);
      return undefined;
    }
    room.bytes -= bytesOf(value);
    if (room.bytes >= 0) return as.dollars === "doubled" ? doubled(value) : value;
    if (room.bytes > -Infinity) problem(at, `The values put in have more than ${RESULT_BYTES_MAX} bytes.`);
    room.bytes = -Infinity; // told once
    return undefined;
  }

  function text(value: unknown): string | undefined {
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
    if (value !== null) problem(at, "Inside a text, a value is a text, a number, true or false: not a list or an object.");
    return "";
  }
}

const escaped = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** Bytes of a value as JSON. */
export const bytesOf = (value: unknown): number => utf8Length(JSON.stringify(value));

/** Done by hand: the domain has no TextEncoder. */
export function utf8Length(written: string): number {
  let bytes = 0;
  for (const character of written) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

function doubled(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("$", "$$$$");
  if (Array.isArray(value)) return value.map(doubled);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, doubled(it)]));
}
