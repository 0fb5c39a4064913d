/**
 * The parameters of a definition: their JSON Schema, and values that are judged by it.
 *
 * The failure this prevents: a misspelt `minimun` that limits nothing. A keyword that would be ignored is refused where it
 * stands, so the part of JSON Schema that definitions know is written down here.
 */
import { z } from "zod";
import { judge, type Judged } from "../problems/schema-problems.ts";

const TYPES = ["string", "integer", "number", "boolean", "array", "object", "null"] as const;
/** The formats that are judged; others would be taken for a promise that nobody keeps. */
const FORMATS = ["date", "date-time", "time", "duration", "email", "uri", "uuid", "ipv4", "ipv6"] as const;
const count = z.int().min(0);

const PatternText = z.string().refine(isPattern, { error: "This is no regular expression that JavaScript understands." });

function isPattern(text: string): boolean {
  try {
    return new RegExp(text, "u") instanceof RegExp;
  } catch {
    return false;
  }
}

/** A schema within the schema: of a property, an item or a branch. */
const Inner = z.strictObject({
  title: z.string().optional(),
  description: z.string().optional(),
  examples: z.array(z.unknown()).optional(),
  deprecated: z.boolean().optional(),
  default: z.unknown().optional(),
  type: z
    .union([z.enum(TYPES), z.array(z.enum(TYPES)).min(1)], `A type is one of ${TYPES.join(", ")}, or a list of these.`)
    .optional(),
  enum: z.array(z.union([z.string(), z.number(), z.boolean(), z.null()])).min(1).optional(),
  const: z.union([z.string(), z.number(), z.boolean(), z.null()]).optional(),
  get anyOf() {
    return z.array(Inner).min(1).optional();
  },
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
  multipleOf: z.number().positive().optional(),
  minLength: count.optional(),
  maxLength: count.optional(),
  pattern: PatternText.optional(),
  format: z.enum(FORMATS).optional(),
  minItems: count.optional(),
  maxItems: count.optional(),
  get items() {
    return Inner.optional();
  },
  get properties() {
    return z.record(z.string(), Inner).optional();
  },
  get additionalProperties() {
    return z.union([z.boolean(), Inner]).optional();
  },
  required: z.array(z.string()).optional(),
}); // biome-ignore format: one keyword a line
type Inner = z.infer<typeof Inner>;

export const ParametersSchema = Inner.safeExtend({
  type: z.literal("object", "Parameters are an object: `type: object`."),
}).describe("What a request for the definition may and must pass, as JSON Schema. Defaults are filled in.");
export type ParametersSchema = z.infer<typeof ParametersSchema>;

/** Without a schema, a definition takes no parameters. */
export const NO_PARAMETERS: ParametersSchema = { type: "object", additionalProperties: false, properties: {} };

/** Judges values by a definition's schema, and fills in its defaults. The problems stand at `at` in the whole message. */
export function judgeParameters(schema: ParametersSchema, value: unknown, at: string): Judged<Readonly<Record<string, unknown>>> {
  return judge(ruleOf(schema), value, at) as Judged<Readonly<Record<string, unknown>>>;
}

/** True if a path into the parameters can have a value. What lies within a parameter of any form is not known. */
export const declares = ({ properties = {} }: ParametersSchema, [name = "", ...path]: readonly string[]): boolean => {
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
  return property !== undefined && isWithin(property, path);
};

function isWithin(schema: Inner, [name, ...path]: readonly string[]): boolean {
  if (name === undefined) return true;
  const { properties = {}, additionalProperties = true, items, anyOf = [], type } = schema;
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
  if (property !== undefined) return isWithin(property, path);
  if (anyOf.some((it) => isWithin(it, [name, ...path]))) return true;
  const types = type === undefined ? TYPES : [type].flat();
  if (types.includes("array") && /^\d+$/.test(name)) return items === undefined || isWithin(items, path);
  if (!types.includes("object") || additionalProperties === false) return false;
  return additionalProperties === true || isWithin(additionalProperties, path);
}

const ruleOf = (schema: Inner): z.ZodType => z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);

/** Finds what no schema of a schema can express: a needed property that is not there, and a default that is refused. */
export function parameterProblems(schema: Inner, at = ""): readonly (readonly [path: string, message: string])[] {
  const { properties = {}, required = [], additionalProperties, items, anyOf = [], minItems, maxItems } = schema;
  const unknown = required.flatMap((name, which) =>
    Object.hasOwn(properties, name) ? [] : [[`${at}/required/${which}`, `No property is named "${name}".`] as const],
  );
  // Without `items`, the library ignores how many entries a list may have.
  const uncounted = items === undefined && (minItems ?? maxItems) !== undefined;
  const inner = [
    ...Object.entries(properties).map(([name, it]) => [`/properties/${name}`, it] as const),
    ...(typeof additionalProperties === "object" ? [["/additionalProperties", additionalProperties] as const] : []),
    ...(items === undefined ? [] : [["/items", items] as const]),
    ...anyOf.map((it, which) => [`/anyOf/${which}`, it] as const),
  ];
  const below = inner.flatMap(([path, it]) => parameterProblems(it, at + path));
  const unjudged = uncounted
    ? [[at, "A list of bounded length says what its `items` are; `items: {}` is anything."] as const]
    : [];
  return [...unknown, ...unjudged, ...below, ...(below.length === 0 ? defaultProblem(schema, at) : [])];
}

function defaultProblem({ default: given, ...rule }: Inner, at: string): readonly (readonly [string, string])[] {
  if (given === undefined) return [];
  const judged = judge(ruleOf(rule), given);
  if (judged.kind === "valid") return [];
  return judged.problems.map(({ path, message }) => [`${at}/default${path}`, `The default is refused: ${message}`] as const);
}
