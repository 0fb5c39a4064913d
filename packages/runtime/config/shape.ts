/** Reads a zod schema: the paths of its settings, the names of their variables, and the keys known at a path. */
import type { z } from "zod";

/** One setting that a variable can give. */
export interface Leaf {
  readonly path: readonly string[];
  /** A scalar is a number or a boolean. */
  readonly kind: "text" | "scalar" | "list" | "map";
  /** Words that may stand in place of a list, such as "everyone" for a list of names. */
  readonly words?: readonly string[];
}

/** `broker.urlFile` is LONGSHORE_BROKER_URL_FILE. */
export function environmentName(path: readonly string[]): string {
  return ["longshore", ...path].map((name) => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()).join("_");
}

/** Returns all settings that a variable can give. Lists and maps of anything but texts can stand in the file only. */
export function leaves(schema: z.ZodType, path: readonly string[] = []): Leaf[] {
  const { type, shape, element, options, values } = shapeOf(schema);
  if (shape) return Object.entries(shape).flatMap(([name, inner]) => leaves(inner, [...path, name]));
  if (type === "number" || type === "boolean" || type === "int") return [{ path, kind: "scalar" }];
  if (type === "string" || type === "enum" || type === "literal")
    return [{ path, kind: "text", ...(values && { words: values }) }];
  const isOfTexts = element !== undefined && leaves(element).some(({ kind }) => kind === "text");
  if (type === "array" || type === "record") return isOfTexts ? [{ path, kind: type === "array" ? "list" : "map" }] : [];
  const either = (options ?? []).flatMap((it) => leaves(it, path));
  const list = either.find(({ kind }) => kind === "list");
  return list ? [{ ...list, words: either.flatMap(({ words = [] }) => words) }] : [];
}

/** The keys that the object at this path may have. */
export function namesAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const { shape, element, options, keys } = shapeOf(schema);
  const [name, ...rest] = path;
  if (options) return [...new Set(options.flatMap((it) => namesAt(it, path)))];
  if (name === undefined) return Object.keys(shape ?? keys ?? {});
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
}

/** Describes the schema beneath `.optional()`, `.default()`, `.transform()` and their like. */
function shapeOf(schema: z.ZodType): Shape {
  const def = schema.def as unknown as Shape & {
    readonly innerType?: z.ZodType;
    readonly in?: z.ZodType;
    readonly valueType?: z.ZodType;
    readonly keyType?: { readonly def: { readonly entries?: Shape["keys"] } };
  };
  const { innerType, valueType, keyType, type, shape, element = valueType, options, values } = def;
  const beneath = innerType ?? def.in;
  return beneath ? shapeOf(beneath) : { type, shape, element, options, values, keys: keyType?.def.entries };
}
