/** What a zod schema says about its settings: their paths, the names of their variables, and the names known at a place. */
import type { z } from "zod";

/** One setting that a variable can give. */
export interface Leaf {
  readonly path: readonly string[];
  readonly kind: "text" | "scalar";
}

/** `broker.urlFile` is LONGSHORE_BROKER_URL_FILE. */
export function environmentName(path: readonly string[]): string {
  return ["longshore", ...path].map((name) => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()).join("_");
}

/** All settings of the schema that are text, a number or a yes-or-no; lists and maps stand in the file only. */
export function leaves(schema: z.ZodType, path: readonly string[] = []): Leaf[] {
  const { type, shape } = shapeOf(schema);
  if (shape) return Object.entries(shape).flatMap(([name, inner]) => leaves(inner, [...path, name]));
  if (type === "number" || type === "boolean" || type === "int") return [{ path, kind: "scalar" }];
  return type === "string" || type === "enum" || type === "literal" ? [{ path, kind: "text" }] : [];
}

/** The keys that the object at this path may have. */
export function namesAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const { shape, element, options } = shapeOf(schema);
  const [name, ...rest] = path;
  if (options) return [...new Set(options.flatMap((it) => namesAt(it, path)))];
  if (name === undefined) return Object.keys(shape ?? {});
  const inner = shape ? shape[String(name)] : element;
  return inner ? namesAt(inner, rest) : [];
}

interface Shape {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly element?: z.ZodType;
  readonly options?: readonly z.ZodType[];
}

/** What lies beneath `.optional()`, `.default()`, `.transform()` and their like. */
function shapeOf(schema: z.ZodType): Shape {
  const def = schema.def as unknown as {
    readonly type: string;
    readonly innerType?: z.ZodType;
    readonly in?: z.ZodType;
    readonly shape?: Readonly<Record<string, z.ZodType>>;
    readonly valueType?: z.ZodType;
    readonly element?: z.ZodType;
    readonly options?: readonly z.ZodType[];
  };
  const beneath = def.innerType ?? def.in;
  if (beneath) return shapeOf(beneath);
  const element = def.valueType ?? def.element;
  return {
    type: def.type,
    ...(def.shape ? { shape: def.shape } : {}),
    ...(element ? { element } : {}),
    ...(def.options ? { options: def.options } : {}),
  };
}
