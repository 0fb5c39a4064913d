/**
 * The tables of README.md about requests, events and diagnoses, made from the schemas that judge messages.
 *
 * The failure this prevents: a table that drifts from the code, and names a default that does not apply.
 */
import { DIAGNOSES } from "./messages/diagnosis.ts";
import { PROBLEM_CODES } from "./problems/problem-codes.ts";
import { type Json, published, WHEN_EVENTS } from "./schemas.ts";
import { endOfWait, mendedThing, WAITING } from "./messages/waiting.ts";

const files = published();

type Properties = Readonly<Record<string, Json>>;

/** A table's name in README.md → its text. */
export function tables(): ReadonlyMap<string, string> {
  const [simple = [], pipeline = []] = branches(dataOf("command.run.requested")).map((form) => fieldsOf(form));
  const steps = pipeline.filter(({ name }) => name === "steps");
  // The fields of a container stand in the request's table already, in the same words.
  const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);
  const step = fieldsOf(steps[0]?.schema["items"]).filter(
    ({ name, schema }) => !simple.some((it) => it.name === name && isSame(it.schema, schema)),
  );
  const definition = fieldsOf(branches(files.get("definition.schema.json") ?? {})[0]).filter(
    ({ name, schema }) => !simple.some((it) => it.name === name && isSame(it.schema, schema)),
  );
  return new Map([
    ["request", fieldTable(runFirst(eitherNeeded([...steps, ...simple], [simple, pipeline])))],
    ["step", fieldTable(step)],
    ["definition", fieldTable(definition)],
    ["cancel", fieldTable(fieldsOf(dataOf("command.run.cancel")))],
    ["restart", fieldTable(fieldsOf(dataOf("command.run.restart")))],
    ["events", eventTable()],
    ["event-fields", eventFieldTable()],
    ["waiting", waitTable()],
    ["problems", problemTable()],
    ["diagnoses", diagnosisTable()],
  ]);
}

const START = "<!-- table: NAME (npm run contracts writes it) -->";
const END = "<!-- end of the table -->";

/** Returns the page with each of its tables written anew. */
export function withTables(page: string): string {
  let whole = page;
  for (const [name, table] of tables()) {
    const start = START.replace("NAME", name);
    const from = whole.indexOf(start);
    const to = whole.indexOf(END, from);
    if (from < 0 || to < 0) throw new Error(`the page has no place for the table "${name}": ${start} … ${END}`);
    whole = `${whole.slice(0, from + start.length)}\n\n${table}\n\n${whole.slice(to)}`;
  }
  return whole;
}

interface Field {
  readonly name: string;
  readonly schema: Json;
  readonly isNeeded: boolean;
  /** The field that is needed in its place. */
  readonly orNeeded?: string;
}

const runFirst = (fields: readonly Field[]): readonly Field[] => [
  ...fields.filter(({ name }) => name === "run"),
  ...fields.filter(({ name }) => name !== "run"),
];

/** A field that only one form needs is needed if the other form's field is absent. */
function eitherNeeded(fields: readonly Field[], forms: readonly (readonly Field[])[]): readonly Field[] {
  const isOfOne = ({ name, isNeeded }: Field): boolean =>
    isNeeded && !forms.every((form) => form.some((it) => it.name === name && it.isNeeded));
  const ofOne = fields.filter(isOfOne);
  return fields.map((field) => {
    const other = isOfOne(field) ? ofOne.find((it) => it !== field) : undefined;
    return other === undefined ? field : { ...field, orNeeded: other.name };
  });
}

function meaningIn({ description }: Readonly<Record<string, unknown>>): string {
  return typeof description === "string" ? description : "";
}

const fieldTable = (fields: readonly Field[]): string =>
  table(
    ["field", "type", "default", "meaning"],
    fields.map((field) => [`\`${field.name}\``, typeOf(field.schema), defaultOf(field), meaningIn(field.schema)]),
  );

function defaultOf({ schema, isNeeded, orNeeded }: Field): string {
  if (orNeeded !== undefined) return `**needed**, or \`${orNeeded}\``;
  if (isNeeded) return "**needed**";
  const value = schema["default"];
  return value === undefined ? "" : `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

/** Objects of fixed fields are told by those fields: "retries.max". An object that has a meaning of its own is told whole. */
function fieldsOf(schema: unknown, before = "", isNeeded = true): readonly Field[] {
  const needed = (schema as { readonly required?: readonly string[] } | undefined)?.required ?? [];
  return Object.entries(propertiesOf(schema)).flatMap(([name, inner]): readonly Field[] => {
    const field = { name: before + name, schema: inner, isNeeded: isNeeded && needed.includes(name) };
    return "properties" in inner && !("description" in inner) ? fieldsOf(inner, `${before}${name}.`, field.isNeeded) : [field];
  });
}

function typeOf(schema: Json): string {
  const { type, title, format, enum: words, items, anyOf } = schema as Record<string, unknown>;
  if (typeof title === "string") return title;
  if (format === "date-time") return "date";
  if (Array.isArray(words)) return words.map((it) => `\`${it}\``).join(", ");
  if (Array.isArray(anyOf)) return [...new Set(anyOf.map((it: Json) => typeOf(it)))].join(", or ");
  if (type === "array") {
    const of = typeOf(items as Json);
    return of.startsWith("`") ? `list of ${of}` : `list of ${PLURALS[of] ?? of}`;
  }
  return TYPES[String(type)] ?? "any";
}

const TYPES: Readonly<Record<string, string>> = {
  string: "text",
  integer: "whole number",
  number: "number",
  boolean: "true or false",
  object: "object",
};
const PLURALS: Readonly<Record<string, string>> = { text: "texts", object: "objects" };

const events = (): readonly (readonly [type: string, data: Json])[] =>
  Object.keys(WHEN_EVENTS).map((type) => [type, dataOf(`event.${type}`)] as const);

/** Most events name these. */
const COMMON = ["run", "step", "attempt", "job"];

const eventTable = (): string =>
  table(
    ["event", "it says", "data beside `run`, `step`, `attempt`, `job`"],
    events().map(([type, data]) => [
      `\`${type}\``,
      WHEN_EVENTS[type as keyof typeof WHEN_EVENTS],
      fieldsOf(data)
        .map(({ name }) => name.split(".")[0] ?? name)
        .filter((name, at, all) => !COMMON.includes(name) && all.indexOf(name) === at)
        .map((name) => `\`${name}\``)
        .join(", "),
    ]),
  );

/** A field that several events have means the same in each. */
function eventFieldTable(): string {
  const meanings = new Map<string, string>();
  for (const [, data] of events())
    for (const [name, schema] of Object.entries(propertiesOf(data)))
      if (!meanings.has(name)) meanings.set(name, meaningIn(schema));
  return table(
    ["field", "meaning"],
    [...meanings].map(([name, meaning]) => [`\`${name}\``, meaning]),
  );
}

const waitTable = (): string =>
  table(
    ["`reason`", "why it waits", "passes by itself", "a person mends"],
    Object.entries(WAITING).map(([word, row]) => [`\`${word}\``, row.meaning, endOfWait(row), mendedThing(row)]),
  );

const problemTable = (): string =>
  table(
    ["code", "meaning"],
    Object.entries(PROBLEM_CODES).map(([code, meaning]) => [`\`${code}\``, meaning]),
  );

const diagnosisTable = (): string =>
  table(
    ["code", "blame", "phase", "retried as", "what to do"],
    Object.entries(DIAGNOSES).map(([code, { blame, phase, retry, hint }]) => [
      `\`${code}\``,
      blame,
      phase,
      retry === "never" ? "never" : `\`${retry}\``,
      hint,
    ]),
  );

function dataOf(name: string): Json {
  const data = propertiesOf(files.get(`${name}.schema.json`))["data"];
  if (data === undefined) throw new Error(`no schema is published for ${name}`);
  return data;
}

const branches = (schema: Json): readonly Json[] => (schema["anyOf"] ?? []) as readonly Json[];
const propertiesOf = (schema: unknown): Properties =>
  (schema as { readonly properties?: Properties } | undefined)?.properties ?? {};

/** Columns are padded as our formatter pads them. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows].map((cells) => cells.map((it) => it.replaceAll("|", "\\|")));
  const widths = head.map((_, at) => Math.max(3, ...lines.map((cells) => cells[at]?.length ?? 0)));
  const [first = "", ...others] = lines.map((cells) => `| ${cells.map((it, at) => it.padEnd(widths[at] ?? 0)).join(" | ")} |`);
  return [first, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...others].join("\n");
}
