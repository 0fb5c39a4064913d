/**
 * The fields of a form, made from a definition's JSON Schema.
 *
 * The failure this prevents: a person who has to know JSON to give a month. What a field cannot show (an object, a list of
 * objects) is given as JSON, in a field that says so.
 */
import type { JSX } from "preact";
import { Icon } from "./marks.tsx";

export interface Schema {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly (string | number | boolean | null)[];
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly writeOnly?: boolean;
  readonly format?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
}

export type Kind = "text" | "long" | "number" | "choice" | "yes-no" | "date" | "month" | "lines" | "json";

const MONTH = /^\^?\\d\{4\}-/;
const LONG = 320; // an address of a mailbox still stands on one line

export function kindOf(schema: Schema): Kind {
  const { type, format, pattern = "", maxLength = 0, items } = schema;
  if (type === "boolean") return "yes-no";
  if (schema.enum !== undefined) return "choice";
  if (type === "integer" || type === "number") return "number";
  if (type === "array" && items?.type === "string") return "lines";
  if (type !== "string") return "json";
  if (format === "date") return "date";
  if (MONTH.test(pattern) && !pattern.includes("\\d{2}-")) return "month";
  return maxLength > LONG ? "long" : "text";
}

/** A name that its author wrote for a program, as a person would say it: "minOrder" is "Min order". */
export function labelOf(name: string, { title }: Schema): string {
  if (title !== undefined) return title;
  // A variable's name is written in capitals.
  const plain = /^[A-Z0-9_]+$/.test(name) ? name.toLowerCase() : name;
  const words = plain
    .replaceAll(/[_-]+/g, " ")
    .replaceAll(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The text that the field shows at first. */
export function textOf(schema: Schema, value: unknown): string {
  if (value === undefined) return "";
  const kind = kindOf(schema);
  if (kind === "lines" && Array.isArray(value)) return value.join("\n");
  return typeof value === "string" && kind !== "json" ? value : JSON.stringify(value);
}

/** The value that the field's text stands for. `undefined`: no value was given, and the definition's default counts. */
export function valueOf(schema: Schema, text: string): unknown {
  const kind = kindOf(schema);
  if (kind === "yes-no") return text === "true";
  if (text === "") return undefined;
  if (kind === "lines") return text.split("\n").map((it) => it.trim()).filter((it) => it !== ""); // biome-ignore format: one line
  if (kind === "number") return Number.isFinite(Number(text)) ? Number(text) : text;
  if (kind === "choice") return schema.enum?.find((it) => String(it) === text) ?? text;
  if (kind !== "json") return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

interface FieldProps {
  readonly name: string;
  readonly schema: Schema;
  readonly needed: boolean;
  readonly text: string;
  readonly problem: string | undefined;
  readonly set: (text: string) => void;
}

interface LineProps {
  readonly kind: Kind;
  readonly common: object;
  readonly text: string;
  readonly changed: (event: { readonly currentTarget: { readonly value: string } }) => void;
}

function Line({ kind, common, text, changed }: LineProps): JSX.Element {
  if (kind === "date") return <input {...common} type="date" value={text} onInput={changed} />;
  if (kind === "month") return <input {...common} type="month" value={text} onInput={changed} />;
  return (
    <input
      {...common}
      type="text"
      inputMode={kind === "number" ? "decimal" : "text"}
      value={text}
      onInput={changed}
      autocomplete="off"
    />
  );
}

export function Field({ name, schema, needed, text, problem, set }: FieldProps): JSX.Element {
  const id = `field-${name}`;
  const about = schema.description === undefined ? undefined : `${id}-about`;
  const wrong = problem === undefined ? undefined : `${id}-problem`;
  const kind = kindOf(schema);
  const common = {
    id,
    name,
    "aria-describedby": [about, wrong].filter(Boolean).join(" ") || undefined,
    "aria-invalid": problem !== undefined ? true : undefined,
    "aria-required": needed ? true : undefined,
  } as const;
  const changed = (event: { readonly currentTarget: { readonly value: string } }): void => set(event.currentTarget.value);
  if (kind === "yes-no")
    return (
      <div class={`field${problem === undefined ? "" : " wrong"}`}>
        {wrong && (
          <p id={wrong} class="problem">
            {problem}
          </p>
        )}
        <label class="check">
          <input
            {...common}
            type="checkbox"
            checked={text === "true"}
            onChange={(event) => set(String(event.currentTarget.checked))}
          />
          <span>{labelOf(name, schema)}</span>
        </label>
        {about && (
          <p id={about} class="about">
            {schema.description}
          </p>
        )}
      </div>
    );
  return (
    <div class={`field${problem === undefined ? "" : " wrong"}`}>
      <label for={id}>
        {labelOf(name, schema)} {!needed && <span class="optional">optional</span>}
      </label>
      {about && (
        <p id={about} class="about">
          {schema.description}
        </p>
      )}
      {wrong && (
        <p id={wrong} class="problem">
          <Icon of="failed" /> {problem}
        </p>
      )}
      {kind === "choice" ? (
        <select {...common} value={text} onChange={changed}>
          {!needed && <option value="" />}
          {schema.enum?.map((it) => (
            <option key={String(it)} value={String(it)}>
              {String(it)}
            </option>
          ))}
        </select>
      ) : kind === "long" || kind === "lines" || kind === "json" ? (
        <textarea
          {...common}
          class={kind}
          rows={kind === "long" ? 4 : 3}
          value={text}
          onInput={changed}
          spellcheck={kind === "long"}
        />
      ) : (
        <Line kind={kind} {...{ common, text, changed }} />
      )}
      {kind === "lines" && <small>one in each line</small>}
      {kind === "json" && <small>as JSON</small>}
    </div>
  );
}
