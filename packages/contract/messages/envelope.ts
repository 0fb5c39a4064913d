/**
 * Turns bytes into commands, facts and events, and back: CloudEvents 1.0 as JSON in structured mode; only the body counts, no
 * headers.
 *
 * The failure this prevents: a message that nobody answers. If a command's id, source and type can be read, its author is told
 * everything that is wrong with it, at once. A less readable message is kept, with the reason, and the sender that it names is
 * told all the same.
 */
import { z } from "zod";
import { Envelope, Identity, TRACEPARENT, word } from "./attributes.ts";
import { type Command, type CommandInput, COMMANDS, type CommandType, REQUESTED } from "./command.ts";
import { CONTROL, type Control, type ControlType } from "./control.ts";
import type { EventData, EventType, RunEventType, StoryMark } from "./event.ts";
import { type Fact, type FactData, FACTS, type FactType } from "./fact.ts";
import { type GroupName, type Installation, RunId, type TenantName } from "../ids.ts";
import { canonical, MESSAGE, parseJson } from "../json.ts";
import type { CommandProblem } from "../problems/problem-codes.ts";
import { namedIn } from "../sender.ts";
import { expressionProblems } from "../expressions/rendering.ts";
import { requestProblems, secretValueProblems } from "../request/request-problems.ts";
import { bounded, judge, type Judged, nearest, problem } from "../problems/schema-problems.ts";

/** The prefix of every type in a message. In routing keys, types have no prefix. */
export const PREFIX = "dev.longshore.";
export const CONTENT_TYPE = "application/cloudevents+json";
/**
 * The maximum bytes of one request, as canonical JSON, beside its parameters, secret values and files: a Kubernetes object can
 * hardly be larger.
 */
export const DATA_BYTES_MAX = 256 * 1024;

interface Unreadable {
  readonly kind: "unreadable";
  readonly problems: readonly CommandProblem[];
}

/**
 * A command whose sender can be answered with `command.refused`. `type` is without the prefix, `run` is set only if it is a
 * valid id.
 */
export interface Refused {
  readonly kind: "refused";
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly run: RunId | undefined;
  readonly problems: readonly CommandProblem[];
}

interface UnreadableCommand extends Unreadable {
  /** Present if the message holds its id or its run: then its sender can learn of the refusal. */
  readonly named?: { readonly id: string | undefined; readonly source: string | undefined; readonly run: RunId | undefined };
}

export type ReadCommand = { readonly kind: "command"; readonly command: Command } | Refused | UnreadableCommand;

export function readCommand(bytes: Uint8Array): ReadCommand {
  const opened = open(bytes);
  if (opened.kind === "unreadable") return { ...opened, ...senderOf(bytes) };
  const { id, source, type, data, trace } = opened;
  // The size is checked first, so that nobody can make us judge a megabyte of small faults.
  const large = tooLarge(bytes, data);
  const judged: Judged<unknown> = large.length > 0 ? { kind: "invalid", problems: large } : judgeCommand(type, data);
  const problems = join(opened.problems, judged.kind === "invalid" ? judged.problems : []);
  if (judged.kind === "invalid" || problems.length > 0)
    return { kind: "refused", id, source, type: bare(type), run: runOf(data, problems), problems };
  // The compiler cannot see that the row of COMMANDS for this type judged the data.
  return { kind: "command", command: { type: bare(type), id, source, data: judged.value, ...trace } as Command };
}

/** Facts may gain fields at any time, so unknown fields are ignored; a fact of an unknown type is unreadable. */
export function readFact(bytes: Uint8Array): { readonly kind: "fact"; readonly fact: Fact } | Unreadable {
  const read = readOwn(bytes, FACTS, "fact");
  return read.kind === "unreadable" ? read : { kind: "fact", fact: read.message as unknown as Fact };
}

/** Reads a message of the control channel. Unknown fields are kept: the sealed part of an announcement is bound to them. */
export function readControl(bytes: Uint8Array): { readonly kind: "control"; readonly control: Control } | Unreadable {
  const read = readOwn(bytes, CONTROL, "control message");
  return read.kind === "unreadable" ? read : { kind: "control", control: read.message as unknown as Control };
}

/** Reads messages between our own programs. The compiler cannot see that the table's row for this type judged the data. */
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

/** An event as its reader receives it. This version may not know its type. */
export interface ReceivedEvent {
  readonly id: string;
  readonly source: string;
  readonly subject: string | undefined;
  /** Without the prefix. */
  readonly type: string;
  /** The event's number in the run's story; absent for events that belong to no run. */
  readonly sequence: number | undefined;
  readonly generation: number | undefined;
  readonly group: string | undefined;
  readonly tenant: string | undefined;
  readonly time: string | undefined;
  /** The traceparent of the run.requested, if it had one. */
  readonly traceparent: string | undefined;
  /** The correlation id of the message that requested the run, or of the command that this answers. */
  readonly correlationId: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * The same, with the data of its type: `if (event.type === "run.failed")` narrows it, and so does `isTerminal(event.type)`. A
 * later launcher may send other types and codes, so a `switch` over them needs a `default`.
 */
export type TypedEvent = {
  readonly [T in EventType]: Omit<ReceivedEvent, "type" | "data"> & {
    readonly type: T;
    readonly data: EventData<T> & WithoutRun<T>;
  };
}[EventType];

/** Lets a reader ask any event for `data.run`, also one that tells of a group. */
type WithoutRun<T extends EventType> = T extends RunEventType | `command.${string}` ? unknown : { readonly run?: undefined };

/**
 * The envelope of our events: the id contains the run's id, and extension attributes give the event's place in the run's story.
 */
export const EventEnvelope = Envelope.extend({
  id: word("id", 255),
  /** A text, since CloudEvents wants sequences that are ordered as text. */
  sequence: z
    .string()
    .regex(/^\d{10}$/, "A sequence is a text of ten digits.")
    .optional(),
  generation: z.int().min(1).optional(),
  group: z.string().max(200).optional(),
  tenant: z.string().max(63).optional(),
  traceparent: z.string().max(100).optional(),
  correlationid: z.string().max(255).optional().meta({
    description: "The broker's correlation id of the message that requested the run, or of the command that this answers.",
  }),
});

const WholeEvent = EventEnvelope.extend({ data: z.record(z.string(), z.unknown()) });

export function readEvent(bytes: Uint8Array): { readonly kind: "event"; readonly event: TypedEvent } | Unreadable {
  const parsed = parseJson(bytes, { ...MESSAGE, exactNumbers: false });
  if (parsed.kind === "unparsed") return { kind: "unreadable", problems: parsed.problems };
  const judged = judge(WholeEvent, parsed.value);
  const problems = join(parsed.problems, judged.kind === "invalid" ? judged.problems : []);
  if (judged.kind === "invalid" || problems.length > 0) return { kind: "unreadable", problems };
  const { id, source, subject, type, sequence, generation, group, tenant, time, data, ...rest } = judged.value;
  const place = {
    sequence: sequence === undefined ? undefined : Number(sequence),
    generation,
    group,
    tenant,
    traceparent: rest.traceparent,
  };
  const about = {
    id,
    source,
    subject: subject ?? undefined,
    time: time ?? undefined,
    correlationId: rest.correlationid,
    ...place,
  };
  const event: ReceivedEvent = { ...about, type: bare(type), data };
  // Data is not judged here, since a later launcher may add to it: the types are what this version knows.
  return { kind: "event", event: event as TypedEvent };
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
  /** Problems that still let us answer the sender. */
  readonly problems: readonly CommandProblem[];
}

function open(bytes: Uint8Array): Opened | Unreadable {
  const parsed = parseJson(bytes);
  if (parsed.kind === "unparsed") return { kind: "unreadable", problems: parsed.problems };
  const judged = judge(Envelope, parsed.value);
  const problems = join(parsed.problems, judged.kind === "invalid" ? judged.problems : []);
  const identity = judged.kind === "valid" ? judged : judge(Identity, parsed.value);
  // An id, source or type that is given twice does not count.
  const doubtful = parsed.problems.some(({ path }) => path === "/id" || path === "/source" || path === "/type");
  if (identity.kind === "invalid" || doubtful) return { kind: "unreadable", problems };
  const { id, source, type, data, traceparent } = identity.value;
  const trace = typeof traceparent === "string" && TRACEPARENT.test(traceparent) ? { traceparent } : {};
  return { kind: "opened", id, source, type, data, trace, problems };
}

/** Problems of the text come first, and replace the schema's problems at the same place. */
function join(text: readonly CommandProblem[], fields: readonly CommandProblem[]): readonly CommandProblem[] {
  if (text.length === 0) return fields;
  const told = new Set(text.map(({ path }) => path));
  return bounded([...text, ...fields.filter(({ path }) => !told.has(path))]);
}

const bare = (type: string): string => (type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type);
const knows = (table: object, type: string): boolean => type.startsWith(PREFIX) && Object.hasOwn(table, bare(type));

/** A text that may be told to its sender, though no message may have it as its id: one with a space, or in another script. */
const TOLD_ID = /^[^\p{Cc}\p{Cs}]{1,200}$/u;

function senderOf(bytes: Uint8Array): Pick<UnreadableCommand, "named"> {
  const found = namedIn(bytes);
  const id = found.id !== undefined && TOLD_ID.test(found.id) ? found.id : undefined;
  const source = Identity.shape.source.safeParse(found.source).data;
  const run = RunId.safeParse(found.run).data;
  return id === undefined && run === undefined ? {} : { named: { id, source, run } };
}

function judgeCommand(type: string, data: unknown): Judged<unknown> {
  if (!knows(COMMANDS, type)) return unknownType(type, Object.keys(COMMANDS), "command");
  if (bare(type) !== "run.requested") return judge(COMMANDS[bare(type) as CommandType], data, "/data");
  // If the data has "steps", only the pipeline form judges it: its author wants to read of the steps, not of a missing image.
  const has = (field: string): boolean => typeof data === "object" && data !== null && field in data;
  if (has("definition")) return judge(REQUESTED.invocation, data, "/data");
  const judged = judge(has("steps") ? REQUESTED.pipeline : REQUESTED.simple, data, "/data");
  if (judged.kind === "invalid") return judged;
  const structure = [...requestProblems(judged.value), ...secretValueProblems(judged.value)].map(([path, message]) =>
    problem(path, "Inconsistent", message),
  );
  const wrong = (structure.length > 0 ? structure : expressionProblems(judged.value, judged.value.run)).map((it) => ({
    ...it,
    path: `/data${it.path}`,
  }));
  return wrong.length > 0 ? { kind: "invalid", problems: bounded(wrong) } : judged;
}

function unknownType(type: string, known: readonly string[], what: string): Judged<never> {
  const names = known.map((name) => PREFIX + name);
  const meant = nearest(type, names) ?? nearest(PREFIX + type, names);
  const hint = meant === undefined ? `these are: ${names.join(", ")}.` : `did you mean "${meant}"?`;
  return { kind: "invalid", problems: [problem("/type", "UnknownType", `This is not the type of a ${what}; ${hint}`)] };
}

/** Has no cluster object of its own. What steps make of parameters is bounded where it is put in. */
function withoutContents(data: unknown): unknown {
  if (typeof data !== "object" || data === null || Array.isArray(data)) return data;
  const { parameters: _, secretValues: _values, files: _files, ...rest }: Readonly<Record<string, unknown>> = { ...data };
  return Array.isArray(rest["steps"]) ? { ...rest, steps: rest["steps"].map(withoutContents) } : rest;
}

/**
 * If the whole message is within the limit, so is its data: canonical JSON makes only numbers longer, and a request has few of
 * them.
 */
function tooLarge(bytes: Uint8Array, data: unknown): readonly CommandProblem[] {
  if (bytes.length <= DATA_BYTES_MAX) return [];
  const size = new TextEncoder().encode(canonical(withoutContents(data))).length;
  if (size <= DATA_BYTES_MAX) return [];
  return [
    problem(
      "/data",
      "TooLarge",
      `The request has ${size} bytes beside its parameters, secret values and files; at most ${DATA_BYTES_MAX} fit into a Kubernetes object. Put large content elsewhere.`,
    ),
  ];
}

function runOf(data: unknown, problems: readonly CommandProblem[]): RunId | undefined {
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

/** One event of a run's story; the envelope's identity and attributes follow from the event's place in the story. */
export interface StoryEvent extends StoryMark {
  readonly installation: Installation;
  readonly type: RunEventType;
  readonly traceparent?: string | undefined;
  readonly correlationId?: string | undefined;
  /** ISO 8601. */
  readonly time: string;
  readonly data: object;
}

export function writeEvent(event: StoryEvent): Uint8Array {
  const {
    installation,
    run,
    sequence,
    generation,
    group,
    tenant,
    type,
    traceparent,
    correlationId: correlationid,
    time,
    data,
  } = event;
  const source = `/longshore/${installation}/runs/${run}`;
  const place = { subject: run, sequence: digits(sequence), generation, group, tenant, traceparent, correlationid };
  return write({ id: eventId(installation, run, sequence), source, type, time, data, ...place });
}

/** The same event has the same id however often it is published. An id has at most 252 characters: AMQP allows 255. */
export function eventId(installation: Installation, run: RunId, sequence: number): string {
  return `${installation}/${run}/${digits(sequence)}`;
}

/** A message that belongs to no run's story: a refused command, or a group's health. */
export interface Notice {
  readonly installation: Installation;
  readonly tenant: TenantName;
  readonly group?: GroupName | undefined;
  readonly id: string;
  readonly type: Exclude<EventType, RunEventType>;
  readonly correlationId?: string | undefined;
  readonly time: string;
  readonly data: object;
}

export function writeNotice({ installation, correlationId: correlationid, ...rest }: Notice): Uint8Array {
  return write({ ...rest, source: `/longshore/${installation}`, correlationid });
}

/**
 * Returns "shop.prod-a.run.succeeded"; "-" stands for no group. A group that serves several namespaces ("prod/team-a") stays
 * one word: "prod_team-a". No name contains "_", so no two groups get the same key.
 */
export function routingKey(tenant: TenantName, group: GroupName | undefined, type: EventType): string {
  return `${tenant}.${group?.replaceAll("/", "_") ?? "-"}.${type}`;
}

const digits = (sequence: number): string => String(sequence).padStart(10, "0");

const encoder = new TextEncoder();

function write<M extends { readonly type: string; readonly data: object }>({ type, ...rest }: M): Uint8Array {
  const message = { specversion: "1.0", type: PREFIX + type, datacontenttype: "application/json", ...rest };
  const text = JSON.stringify(message);
  // A log's tail may contain characters that readers refuse and the ledger cannot store. The search may also match harmless
  // texts: cleaning does not change those.
  const odd = text.includes("\\u0000") || text.includes("\\ud");
  return encoder.encode(
    odd ? JSON.stringify(message, (_, value: unknown) => (typeof value === "string" ? usable(value) : value)) : text,
  );
}

const usable = (text: string): string => text.replaceAll("\0", "\ufffd").toWellFormed();
