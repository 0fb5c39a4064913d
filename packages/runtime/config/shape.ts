/**
 * Reads a zod schema: the paths of its settings, the names of their variables, their types and defaults, and the keys known at a
 * path.
 */
import type { z } from "zod";

/** One setting that a variable can give. */
export interface Leaf {
  readonly path: readonly string[];
  /** A scalar is a number or a boolean. */
  readonly kind: "text" | "scalar" | "list" | "map";
  /** Words that may stand in place of a list, such as "everyone" for a list of names. */
  readonly words?: readonly string[];
  /** The form of the value: "text", "duration", "1 to 1000". */
  readonly type: string;
  /** The value that is used if nothing is given. */
  readonly usual?: unknown;
  readonly isNeeded: boolean;
  /** Another setting that may be given instead. */
  readonly or?: string;
}

/**
 * The key of a schema's `meta` that says how a setting is written, if the schema alone would only say "text":
 * `.meta({ written: "duration" })`.
 */
const WRITTEN = "written";
/** The key of `meta` for a setting that only tests use. */
const FOR_TESTS = "isForTests";

/**
 * Two settings of an object of which only one may be given. `oneOf` in secret-settings.ts attaches them to the object's check.
 */
export interface Pair {
  readonly names: readonly [string, string];
  readonly isNeeded: boolean;
}

/** `broker.urlFile` is LONGSHORE_BROKER_URL_FILE. */
export function environmentName(path: readonly string[]): string {
  return ["longshore", ...path].map((name) => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()).join("_");
}

/** Returns all settings that a variable can give. Lists and maps of anything but texts can stand in the file only. */
export function leaves(schema: z.ZodType, path: readonly string[] = []): Leaf[] {
  const shape = shapeOf(schema);
  const { type, element, options, values } = shape;
  if (shape.shape)
    return Object.entries(shape.shape).flatMap(([name, it]) => paired(leaves(it, [...path, name]), shape.pairs, path, name));
  const about = { path, type: typeOf(shape), ...usualOf(schema) };
  if (type === "number" || type === "boolean" || type === "int") return [{ ...about, kind: "scalar" }];
  if (type === "string" || type === "enum" || type === "literal")
    return [{ ...about, kind: "text", ...(values && { words: values }) }];
  const isOfTexts = element !== undefined && leaves(element).some((it) => it.kind === "text" && it.path.length === 0);
  if (type === "array" || type === "record") return isOfTexts ? [{ ...about, kind: type === "array" ? "list" : "map" }] : [];
  const either = (options ?? []).flatMap((it) => leaves(it, path));
  const list = either.find(({ kind }) => kind === "list");
  const words = either.flatMap((it) => it.words ?? []);
  return list ? [{ ...list, ...usualOf(schema), words, type: [list.type, ...words].join(", or ") }] : [];
}

function paired(found: readonly Leaf[], pairs: readonly Pair[], path: readonly string[], name: string): Leaf[] {
  const pair = pairs.find(({ names }) => names.includes(name));
  const other = pair?.names.find((it) => it !== name);
  return found.map((it) =>
    pair && other !== undefined ? { ...it, isNeeded: pair.isNeeded, or: [...path, other].join(".") } : it,
  );
}

/** Asks the schema itself, so that the default that is told is the one that is used. */
function usualOf(schema: z.ZodType): Pick<Leaf, "usual" | "isNeeded"> {
  const nothing = schema.safeParse(undefined);
  return nothing.success ? { usual: nothing.data, isNeeded: false } : { isNeeded: true };
}

function typeOf({ type, written, element, values, keys, bounds }: Shape): string {
  if (written !== undefined) return written;
  if (type === "boolean") return "true | false";
  if (type === "number" || type === "int") return bounds;
  if (values !== undefined) return values.join(" | ");
  if (element === undefined) return "text";
  const inner = typeOf(shapeOf(element));
  return type === "array" ? `list of ${inner}` : `map of ${keys === undefined ? "name" : "code"}=${inner}`;
}

/** The keys that the object at this path may have, for people: without those that only tests use. */
export function namesAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const { shape, element, options, keys } = shapeOf(schema);
  const [name, ...rest] = path;
  if (options) return [...new Set(options.flatMap((it) => namesAt(it, path)))];
  if (name === undefined)
    return shape ? Object.keys(shape).filter((it) => !shapeOf(shape[it] ?? schema).isForTests) : Object.keys(keys ?? {});
  const inner = shape ? shape[String(name)] : element;
  return inner ? namesAt(inner, rest) : [];
}

interface Shape {
  readonly type: string;
  readonly shape: Readonly<Record<string, z.ZodType>> | undefined;
  readonly element: z.ZodType | undefined;
  readonly options: readonly z.ZodType[] | undefined;
  readonly values: readonly string[] | undefined;
  /** The keys of a map, if they are known. */
  readonly keys: Readonly<Record<string, unknown>> | undefined;
  readonly pairs: readonly Pair[];
  readonly written: string | undefined;
  readonly isForTests: boolean;
  /** The bounds of a number: "1 to 1000". */
  readonly bounds: string;
}

interface Def extends Pick<Shape, "type" | "shape" | "options" | "element"> {
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly keyType?: { readonly def: { readonly entries?: Shape["keys"] } };
  readonly values?: readonly string[];
  readonly entries?: Readonly<Record<string, string>>;
  readonly checks?: readonly { readonly _zod: { readonly def: { readonly pair?: Pair } } }[];
}

/** Describes the schema beneath `.optional()`, `.default()`, `.transform()` and their like. */
function shapeOf(schema: z.ZodType): Shape {
  const def = schema.def as unknown as Def;
  const meta = schema.meta();
  const said = meta?.[WRITTEN];
  const isForTests = meta?.[FOR_TESTS] === true;
  const written = typeof said === "string" ? said : undefined;
  const beneath = def.innerType ?? def.in;
  if (beneath) {
    const inner = shapeOf(beneath);
    return { ...inner, written: written ?? inner.written, isForTests: isForTests || inner.isForTests };
  }
  const { minValue, maxValue } = schema as { readonly minValue?: number | null; readonly maxValue?: number | null };
  return {
    type: def.type,
    shape: def.shape,
    element: def.element ?? def.valueType,
    options: def.options,
    values: def.values ?? (def.entries && Object.values(def.entries)),
    keys: def.keyType?.def.entries,
    pairs: (def.checks ?? []).flatMap((it) => it._zod.def.pair ?? []),
    written,
    isForTests,
    bounds: `${minValue ?? 0} to ${maxValue ?? 0}`,
  };
}
