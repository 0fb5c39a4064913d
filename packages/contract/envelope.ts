/**
 * Bytes to commands, facts and events, and back: CloudEvents 1.0, JSON, structured mode, judged by the body alone.
 *
 * The failure this prevents: a message that nobody answers. Whoever wrote a command whose id, source and type can be
 * read is told everything that is wrong with it, at once; what is less readable than that is kept with its reason.
 */
import { z } from "zod";
import { canonical } from "./canonical.ts";
import { type Command, type CommandInput, COMMANDS, type CommandType, REQUESTED } from "./command.ts";
import { CONTROL, type Control, type ControlType } from "./control.ts";
import type { EventType, RunEventType, StoryMark } from "./event.ts";
import { type Fact, type FactData, FACTS, type FactType } from "./fact.ts";
import { type GroupName, type Installation, RunId, type TenantName } from "./ids.ts";
import { MESSAGE, parseJson } from "./json.ts";
import type { Problem } from "./problem.ts";
import { bounded, type Judged, judge, nearest, problem } from "./schema-problems.ts";
import { requestProblems } from "./request.ts";

/** Every type carries it on the wire, and no type carries it in a routing key. */
export const PREFIX = "dev.longshore.";
export const CONTENT_TYPE = "application/cloudevents+json";
/** Of one request, as canonical JSON: a Kubernetes object may hold little more. */
export const DATA_BYTES_MAX = 256 * 1024;

const visible = /^[\x21-\x7e]+$/;

const word = (what: string, most: number) =>
  z
    .string()
    .min(1, `A message's ${what} is not empty.`)
    .max(most)
    .regex(visible, `A message's ${what} is plain ASCII without spaces.`);

/** Enough to answer its sender. */
const Identity = z.looseObject({ id: word("id", 200), source: word("source", 300), type: word("type", 200) });

/** W3C Trace Context: version, trace id, parent id, flags. Its first version; of later ones, what they share with it. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** What is read of an envelope. Other attributes are CloudEvents extensions and are ignored. */
export const Envelope = Identity.extend({
  specversion: z
    .string()
    .refine((version) => version === "1.0", {
      error: 'Only CloudEvents 1.0 is read: "specversion": "1.0".',
      params: { code: "UnknownVersion" },
    })
    .meta({ const: "1.0" }),
  subject: z.string().max(300).nullish(),
  time: z.iso.datetime({ offset: true }).nullish(),
  datacontenttype: z
    .string()
    .regex(/^application\/([A-Za-z0-9!#$&^_.+-]+\+)?json\s*(;|$)/, "Only JSON data is read: leave this out, or application/json.")
    .nullish(),
  /** A trace that is none refuses no run: it is left out. */
  traceparent: z
    .unknown()
    .optional()
    .meta({
      description: "W3C Trace Context of a run.requested: carried by the run's events, and into its pods as TRACEPARENT.",
      examples: ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    }),
  data_base64: z.never("Data in base64 is not read; put the JSON object into data.").optional(),
});

interface Unreadable {
  readonly kind: "unreadable";
  readonly problems: readonly Problem[];
}

/** Its sender can be answered with `command.refused`; `type` is without the prefix, `run` only if it is a run's id. */
export interface Refused {
  readonly kind: "refused";
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly run: RunId | undefined;
  readonly problems: readonly Problem[];
}

export type ReadCommand = { readonly kind: "command"; readonly command: Command } | Refused | Unreadable;

export function readCommand(bytes: Uint8Array): ReadCommand {
  const opened = open(bytes);
  if (opened.kind === "unreadable") return opened;
  const { id, source, type, data, trace } = opened;
  // First, so that nobody can make us weigh a megabyte of small faults.
  const large = tooLarge(bytes, data);
  const judged: Judged<unknown> = large.length > 0 ? { kind: "invalid", problems: large } : judgeCommand(type, data);
  const problems = join(opened.problems, judged.kind === "invalid" ? judged.problems : []);
  if (judged.kind === "invalid" || problems.length > 0)
    return { kind: "refused", id, source, type: bare(type), run: runOf(data, problems), problems };
  // The type and its data were judged by the same row of COMMANDS, which the compiler cannot follow.
  return { kind: "command", command: { type: bare(type), id, source, data: judged.value, ...trace } as Command };
}

/** Facts may gain fields at any time, so unknown ones are ignored; an unknown type is not. */
export function readFact(bytes: Uint8Array): { readonly kind: "fact"; readonly fact: Fact } | Unreadable {
  const read = readOwn(bytes, FACTS, "fact");
  return read.kind === "unreadable" ? read : { kind: "fact", fact: read.message as unknown as Fact };
}

/** What is passing on the control channel. Unknown fields stay: announcements are bound to them. */
export function readControl(bytes: Uint8Array): { readonly kind: "control"; readonly control: Control } | Unreadable {
  const read = readOwn(bytes, CONTROL, "control message");
  return read.kind === "unreadable" ? read : { kind: "control", control: read.message as unknown as Control };
}

/** Between our own programs. The type and its data were judged by the same row of the table, which the compiler cannot follow. */
function readOwn(
  bytes: Uint8Array,
  table: Readonly<Record<string, z.ZodType>>,
  what: string,
): Unreadable | { readonly kind: "read"; readonly message: Omit<Opened, "kind" | "problems" | "trace"> } {
  const opened = open(bytes);
  if (opened.kind === "unreadable") return opened;
  const { id, source, type, data } = opened;
  const row = knows(table, type) ? table[bare(type)] : undefined;
  const judged = row === undefined ? unknownType(type, Object.keys(table), what) : judge(row, data, "/data");
  const problems = join(opened.problems, judged.kind === "invalid" ? judged.problems : []);
  if (judged.kind === "invalid" || problems.length > 0) return { kind: "unreadable", problems };
  return { kind: "read", message: { type: bare(type), id, source, data: judged.value } };
}

/** An event as its reader meets it. Its type may be one that this version does not know. */
export interface ReceivedEvent {
  readonly id: string;
  readonly source: string;
  readonly subject: string | undefined;
  /** Without the prefix. */
  readonly type: string;
  /** Of the run's story; absent for events that belong to no run. */
  readonly sequence: number | undefined;
  readonly generation: number | undefined;
  readonly group: string | undefined;
  readonly tenant: string | undefined;
  readonly time: string | undefined;
  /** That of the run.requested, if it had one. */
  readonly traceparent: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Events of ours: their ids hold the run's, and extension attributes say where in its story they stand. */
export const EventEnvelope = Envelope.extend({
  id: word("id", 255),
  /** A text, since CloudEvents wants a sequence that is ordered as text. */
  sequence: z
    .string()
    .regex(/^\d{10}$/, "A sequence is a text of ten digits.")
    .optional(),
  generation: z.int().min(1).optional(),
  group: z.string().max(200).optional(),
  tenant: z.string().max(63).optional(),
  traceparent: z.string().max(100).optional(),
});

const WholeEvent = EventEnvelope.extend({ data: z.record(z.string(), z.unknown()) });

export function readEvent(bytes: Uint8Array): { readonly kind: "event"; readonly event: ReceivedEvent } | Unreadable {
  const parsed = parseJson(bytes, { ...MESSAGE, exactNumbers: false });
  if (parsed.kind === "unparsed") return { kind: "unreadable", problems: parsed.problems };
  const judged = judge(WholeEvent, parsed.value);
  const problems = join(parsed.problems, judged.kind === "invalid" ? judged.problems : []);
  if (judged.kind === "invalid" || problems.length > 0) return { kind: "unreadable", problems };
  const { id, source, subject, type, sequence, generation, group, tenant, traceparent, time, data } = judged.value;
  const place = { sequence: sequence === undefined ? undefined : Number(sequence), generation, group, tenant, traceparent };
  return {
    kind: "event",
    event: { id, source, subject: subject ?? undefined, type: bare(type), time: time ?? undefined, data, ...place },
  };
}

interface Trace {
  readonly traceparent?: string;
}

interface Opened {
  readonly kind: "opened";
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly data: unknown;
  readonly trace: Trace;
  /** Wrong, but not so wrong that its sender could not be told. */
  readonly problems: readonly Problem[];
}

function open(bytes: Uint8Array): Opened | Unreadable {
  const parsed = parseJson(bytes);
  if (parsed.kind === "unparsed") return { kind: "unreadable", problems: parsed.problems };
  const judged = judge(Envelope, parsed.value);
  const problems = join(parsed.problems, judged.kind === "invalid" ? judged.problems : []);
  const identity = judged.kind === "valid" ? judged : judge(Identity, parsed.value);
  // An id given twice is no id.
  const doubtful = parsed.problems.some(({ path }) => path === "/id" || path === "/source" || path === "/type");
  if (identity.kind === "invalid" || doubtful) return { kind: "unreadable", problems };
  const { id, source, type, data, traceparent } = identity.value;
  const trace = typeof traceparent === "string" && TRACEPARENT.test(traceparent) ? { traceparent } : {};
  return { kind: "opened", id, source, type, data, trace, problems };
}

/** What is wrong with the text of a place is told before, and instead of, what the schema makes of it. */
function join(text: readonly Problem[], fields: readonly Problem[]): readonly Problem[] {
  if (text.length === 0) return fields;
  const told = new Set(text.map(({ path }) => path));
  return bounded([...text, ...fields.filter(({ path }) => !told.has(path))]);
}

const bare = (type: string): string => (type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type);
const knows = (table: object, type: string): boolean => type.startsWith(PREFIX) && Object.hasOwn(table, bare(type));

function judgeCommand(type: string, data: unknown): Judged<unknown> {
  if (!knows(COMMANDS, type)) return unknownType(type, Object.keys(COMMANDS), "command");
  if (bare(type) !== "run.requested") return judge(COMMANDS[bare(type) as CommandType], data, "/data");
  // The author who wrote "steps" wants to read what is wrong with the steps, not that an image is missing.
  const pipeline = typeof data === "object" && data !== null && "steps" in data;
  const judged = judge(pipeline ? REQUESTED.pipeline : REQUESTED.simple, data, "/data");
  if (judged.kind === "invalid") return judged;
  const wrong = requestProblems(judged.value).map(([path, message]) => problem(`/data${path}`, "Inconsistent", message));
  return wrong.length > 0 ? { kind: "invalid", problems: bounded(wrong) } : judged;
}

function unknownType(type: string, known: readonly string[], what: string): Judged<never> {
  const names = known.map((name) => PREFIX + name);
  const meant = nearest(type, names) ?? nearest(PREFIX + type, names);
  const hint = meant === undefined ? `these are: ${names.join(", ")}.` : `did you mean "${meant}"?`;
  return { kind: "invalid", problems: [problem("/type", "UnknownType", `This is not the type of a ${what}; ${hint}`)] };
}

/** Canonical JSON is not longer than what it was read from, but for numbers, of which a request holds few. */
function tooLarge(bytes: Uint8Array, data: unknown): readonly Problem[] {
  if (bytes.length <= DATA_BYTES_MAX) return [];
  const size = new TextEncoder().encode(canonical(data)).length;
  if (size <= DATA_BYTES_MAX) return [];
  return [
    problem(
      "/data",
      "TooLarge",
      `The request has ${size} bytes; at most ${DATA_BYTES_MAX} fit into a Kubernetes object. Put large content elsewhere.`,
    ),
  ];
}

function runOf(data: unknown, problems: readonly Problem[]): RunId | undefined {
  if (typeof data !== "object" || data === null || !("run" in data)) return undefined;
  if (problems.some(({ path }) => path === "/data/run")) return undefined;
  return RunId.safeParse(data.run).data;
}

interface Written<T> {
  readonly id: string;
  readonly source: string;
  readonly type: T;
  readonly time?: string | undefined;
}

export function writeCommand<T extends CommandType>(
  command: Written<T> & Trace & { readonly data: CommandInput<T> },
): Uint8Array {
  return write(command);
}

export function writeFact<T extends FactType>(
  fact: Written<T> & { readonly data: FactData<T> | z.input<(typeof FACTS)[T]> },
): Uint8Array {
  return write(fact);
}

export function writeControl<T extends ControlType>(
  message: Written<T> & { readonly data: z.input<(typeof CONTROL)[T]> },
): Uint8Array {
  return write(message);
}

/** One event of a run's story; everything but the data comes from its place in the story. */
export interface StoryEvent extends StoryMark {
  readonly installation: Installation;
  readonly type: RunEventType;
  readonly traceparent?: string | undefined;
  /** ISO 8601. */
  readonly time: string;
  readonly data: object;
}

export function writeEvent(event: StoryEvent): Uint8Array {
  const { installation, run, sequence, generation, group, tenant, type, traceparent, time, data } = event;
  const source = `/longshore/${installation}/runs/${run}`;
  const place = { subject: run, sequence: digits(sequence), generation, group, tenant, traceparent };
  return write({ id: eventId(installation, run, sequence), source, type, time, data, ...place });
}

/** The same event has the same id however often it is published. At most 252 characters: AMQP allows 255. */
export function eventId(installation: Installation, run: RunId, sequence: number): string {
  return `${installation}/${run}/${digits(sequence)}`;
}

/** What is told of no run's story: that a command was refused, or how a group is. */
export interface Notice {
  readonly installation: Installation;
  readonly tenant: TenantName;
  readonly group?: GroupName | undefined;
  readonly id: string;
  readonly type: Exclude<EventType, RunEventType>;
  readonly time: string;
  readonly data: object;
}

export function writeNotice({ installation, tenant, group, id, type, time, data }: Notice): Uint8Array {
  return write({ id, source: `/longshore/${installation}`, type, time, data, group, tenant });
}

/** The same command refused twice is one refusal. Two senders may use one id, so the source counts too. */
export function refusalId(installation: Installation, command: { readonly id: string; readonly source: string }): string {
  return `${installation}:${mixed(command.source)}:${command.id}`;
}

/**
 * "shop.prod-a.run.succeeded"; "-" stands for no group. A group that serves several namespaces ("prod/team-a") stays one
 * word: "prod_team-a". No name holds "_", so no two groups meet.
 */
export function routingKey(tenant: TenantName, group: GroupName | undefined, type: EventType): string {
  return `${tenant}.${group?.replaceAll("/", "_") ?? "-"}.${type}`;
}

const digits = (sequence: number): string => String(sequence).padStart(10, "0");

/** FNV-1a: tells sources apart, and promises no more. */
function mixed(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(36);
}

const encoder = new TextEncoder();

function write<M extends { readonly type: string; readonly data: object }>({ type, ...rest }: M): Uint8Array {
  const message = { specversion: "1.0", type: PREFIX + type, datacontenttype: "application/json", ...rest };
  const text = JSON.stringify(message);
  // A log's tail may hold what readers refuse and the ledger cannot store. The test sees harmless texts too: then we look twice.
  const odd = text.includes("\\u0000") || text.includes("\\ud");
  return encoder.encode(
    odd ? JSON.stringify(message, (_, value: unknown) => (typeof value === "string" ? usable(value) : value)) : text,
  );
}

const usable = (text: string): string => text.replaceAll("\0", "\ufffd").toWellFormed();
