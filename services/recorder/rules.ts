/**
 * Rules: which events a sink is told, and as which request. Pure: an event and a rule make a request, or a reason why not.
 *
 * The bugs this prevents: a value of an event that changes to which host, or to which path, a request goes; and a request with
 * an empty or missing value in it, which may mean something else (`DELETE /jobs/`).
 */
import { eventId, writeEvent } from "@longshore/contract/messages/envelope.ts";
import type { Installation } from "@longshore/contract/ids.ts";
import { hasExpression, parse, type Path, render, RESULT_BYTES_MAX, valueAt } from "@longshore/contract/expressions/template.ts";
import type { Refusal } from "@longshore/ledger/deliveries.ts";
import type { OutboxEvent } from "@longshore/ledger/port.ts";

/** Null fits a value that is not there. */
type Wanted = string | number | boolean | null;

export interface Rule {
  /** Types of events: "run.succeeded", "run.step.*". */
  readonly on: readonly string[];
  /** By the path of a value in the event: a text with `*` or `{name}` in it, another value, or a list of which one has to fit. */
  readonly match: Readonly<Record<string, Wanted | readonly Wanted[]>>;
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: the event as it is at the broker. */
  readonly body?: unknown;
}

export interface Outgoing {
  readonly method: Rule["method"];
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What expressions can name: `event.data.outputs.rows`, and the pieces that `match` cut out of texts. */
export interface Scope {
  readonly event: Readonly<Record<string, unknown>>;
  readonly match: Readonly<Record<string, string>>;
}

/** The names behind `event.` */
export const EVENT_NAMES = ["id", "type", "run", "tenant", "group", "sequence", "generation", "time", "data"] as const;

export function eventOf(event: OutboxEvent, installation: Installation): Scope["event"] {
  const { run, tenant, group, type, sequence, generation, data, atMs } = event;
  const named: Record<(typeof EVENT_NAMES)[number], unknown> = {
    id: eventId(installation, run, sequence),
    type,
    run,
    tenant,
    group: group ?? null,
    sequence,
    generation,
    time: new Date(atMs).toISOString(),
    data,
  };
  return named;
}

/** Returns the pieces that the rule cut out of the event's texts; undefined if the rule is not about this event. */
export function matching(rule: Pick<Rule, "on" | "match">, event: Scope["event"]): Scope["match"] | undefined {
  const type = String(event["type"]);
  if (!rule.on.some((it) => patternOf(it).test(type))) return undefined;
  let pieces: Record<string, string> = {};
  for (const [path, wanted] of Object.entries(rule.match)) {
    const value = valueAt(event, path.split("."));
    const found = (Array.isArray(wanted) ? wanted : [wanted]).map((it: Wanted) => fits(it, value)).find((it) => it !== undefined);
    if (found === undefined) return undefined;
    pieces = { ...pieces, ...found };
  }
  return pieces;
}

function fits(wanted: Wanted, value: unknown): Readonly<Record<string, string>> | undefined {
  if (wanted === null) return value === null || value === undefined ? {} : undefined;
  if (typeof wanted !== "string" || typeof value !== "string") return wanted === value ? {} : undefined;
  const found = patternOf(wanted).exec(value);
  return found === null ? undefined : { ...found.groups };
}

const PIECE = /\{([A-Za-z_]\w*)\}/g;

/** The names that a pattern cuts out: "bespin/{job}" has one. */
export const piecesIn = (pattern: string): readonly string[] => [...pattern.matchAll(PIECE)].map(([, name = ""]) => name);

/** `*` stands for any characters, `{name}` for at least one that is no "/". */
function patternOf(pattern: string): RegExp {
  const words = pattern.split(/(\*|\{[A-Za-z_]\w*\})/).map((it, index) => {
    if (index % 2 === 0) return RegExp.escape(it);
    return it === "*" ? ".*" : `(?<${it.slice(1, -1)}>[^/]+)`;
  });
  return new RegExp(`^${words.join("")}$`, "s");
}

export type Made = { readonly kind: "made"; readonly request: Outgoing } | { readonly kind: "unmade"; readonly why: Refusal };

/** Makes the request that tells this event by this rule. */
export function requestOf(rule: Rule, event: OutboxEvent, scope: Scope, installation: Installation): Made {
  const problems: string[] = [];
  const rendering = {
    lookUp: (path: Path) => valueAt(scope, path),
    problem: (at: string, message: string) => void problems.push(`${at}: ${message}`),
    room: { bytes: RESULT_BYTES_MAX },
  };
  const plain = (value: unknown, at: string): unknown => render(value, at, { dollars: "kept" }, rendering);
  const url = urlOf(rule.url, scope, (message) => problems.push(`url: ${message}`));
  const headers = Object.fromEntries(
    Object.entries(rule.headers).map(([name, text]) => [name, headerOf(plain(text, `headers.${name}`), name, problems)]),
  );
  const own = rule.body !== undefined;
  const body = own ? JSON.stringify(plain(rule.body, "body")) : eventText(event, installation);
  if (problems.length > 0) return { kind: "unmade", why: { code: "TemplateFailed", sentence: problems.join(" ") } };
  const type = own ? "application/json" : "application/cloudevents+json";
  return { kind: "made", request: { method: rule.method, url, headers: { "content-type": type, ...headers }, body } };
}

const decoder = new TextDecoder();

const eventText = ({ atMs, ...event }: OutboxEvent, installation: Installation): string =>
  decoder.decode(writeEvent({ ...event, installation, time: new Date(atMs).toISOString() }));

function headerOf(value: unknown, name: string, problems: string[]): string {
  const text = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
  if (typeof text === "string" && /^[\x20-\x7e]*$/.test(text)) return text;
  problems.push(`headers.${name}: The value of a header is a text of printable ASCII, and this is not.`);
  return "";
}

/** Values are percent-encoded, each as one piece of the path or the query. */
function urlOf(template: string, scope: Scope, problem: (message: string) => void): string {
  const parsed = parse(template);
  if (parsed.kind === "unparsed") {
    problem(parsed.message);
    return "";
  }
  const url = parsed.parts.map((part) => (typeof part === "string" ? part : piece(part))).join("");
  const [path = ""] = url.replace(ORIGIN, "").split(/[?#]/, 1);
  // A server takes "/jobs/../users" for "/users".
  if (path.split("/").some((it) => /^(\.|%2e){1,2}$/i.test(it))) problem("With its values, the path has a step . or .. in it.");
  return url;

  function piece(path: Path): string {
    const value = valueAt(scope, path);
    const isText = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    if (isText && value !== "") return encodeURIComponent(String(value).toWellFormed());
    problem(`The value at "${path.join(".")}" is ${value === "" ? "empty" : "no text, number, true or false"}.`);
    return "";
  }
}

/** The part of a URL that says to whom a request goes. No value stands in it. */
const ORIGIN = /^https?:\/\/[^/?#@\s]+/;

/** Returns what is wrong with a rule's URL, as a sentence. */
export function urlProblem(url: string): string | undefined {
  const [origin] = ORIGIN.exec(url) ?? [];
  if (origin === undefined || !URL.canParse(origin))
    return "is no address: write https://host/path, without a user or a password in it";
  if (hasExpression(origin)) return "has an expression in its host: an event's values may not choose to whom it is told";
  if (!/^[/?]/.test(url.slice(origin.length))) return "has no path: write at least the / behind the host";
  if (url.includes("#")) return "has a # in it, which is sent to no server";
  return /[^\x21-\x7e ]/.test(url) ? "has characters that are no ASCII: write them percent-encoded" : undefined;
}

/** Returns what is wrong with the expressions of a rule: each begins with a name that its values have. */
export function expressionProblems({ url, headers, body, match }: Rule): readonly string[] {
  const pieces = Object.values(match)
    .flat()
    .flatMap((it) => (typeof it === "string" ? piecesIn(it) : []));
  const told = textsIn([url, headers, body]).flatMap((text): readonly string[] => {
    const parsed = parse(text);
    if (parsed.kind === "unparsed") return [parsed.message];
    return parsed.parts.flatMap((part) => (typeof part === "string" ? [] : (nameProblem(part, pieces) ?? [])));
  });
  return [...new Set(told)];
}

function nameProblem([root, name = ""]: Path, pieces: readonly string[]): string | undefined {
  if (root === "event")
    return EVENT_NAMES.some((it) => it === name) ? undefined : `There is no event.${name}; there are ${EVENT_NAMES.join(", ")}.`;
  if (root !== "match") return "An expression begins with event or match.";
  if (pieces.includes(name)) return undefined;
  return `No pattern of \`match\` cuts out "${name}": write {${name}} in one, such as run: "orders/{${name}}".`;
}

function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return hasExpression(value) ? [value] : [];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}
