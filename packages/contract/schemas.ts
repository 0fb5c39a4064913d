/**
 * The messages as JSON Schema and AsyncAPI 3, made from the same zod values that judge messages.
 *
 * The failure this prevents: a description that drifts from the code. Readers in other languages get these files. A test fails
 * if the files differ from the code's output, so no change of the messages goes unseen.
 */
import { z } from "zod";
import { COMMANDS, type CommandType } from "./messages/command.ts";
import { DEFINITION_FORMS } from "./request/definition.ts";
import { CONTROL, type ControlType } from "./messages/control.ts";
import { Envelope } from "./messages/attributes.ts";
import { CONTENT_TYPE, DATA_BYTES_MAX, EventEnvelope, PREFIX } from "./messages/envelope.ts";
import { EVENTS, type EventType } from "./messages/event.ts";
import { FACTS, type FactType } from "./messages/fact.ts";
import { MESSAGE } from "./json.ts";

export type Json = Readonly<Record<string, unknown>>;

const WHEN_COMMANDS: Record<CommandType, string> = {
  "run.requested": "Runs something. The same run id with the same content has one effect; with other content it is refused.",
  "run.cancel": "Ends a run, also one that has not arrived yet.",
  "run.restart": "Starts an ended run again, as its next generation.",
  "run.free": "Gives up the volumes that a run kept when it ended, and its Jobs and pods with them.",
  "run.abandon": "Operators only: gives up a run of which nothing will be heard any more. Its Job may still run.",
  "group.pause": "Operators only: no Job is created in the group any more. What runs there goes on.",
  "group.resume": "Operators only: Jobs are created in the group again.",
};

const WHEN_FACTS: Record<FactType, string> = {
  "job.started": "A container of the Job runs.",
  "job.stalled": "The Job's pods cannot start or make no progress.",
  "job.resumed": "The Job's pods are no longer held up.",
  "job.progressed": "More of the Job's slices have ended; told at most ten times a Job.",
  "job.ended": "The Job is complete or failed, as its condition says.",
  "job.deleting": "Somebody began to delete the Job.",
  "job.deleted": "The Job is gone, by an authoritative look.",
  "group.watched": "A watcher's heartbeat: how fresh its view of the group is.",
  "definition.seen": "A Job or CronJob that is prepared for people to run: what it runs, and how it stands.",
  "definition.gone": "A prepared Job or CronJob was deleted, or lost its annotation.",
  "definitions.listed": "All prepared objects of one kind that a group has: others are gone.",
};

const WHEN_CONTROL: Record<ControlType, string> = {
  "groups.asked": "A watcher without a groups file asks which groups there are.",
  "group.announced": "A launcher says how a watcher reaches one group; its credential there is sealed.",
  "groups.announced": "A launcher says which groups it has; what it does not name, it does not have.",
  "log.asked": "A reader asks for what a Job's program prints, and goes on asking while somebody reads.",
  "log.offered": "A watcher of the Job's group can read it, or still does.",
  "log.piece": "The chosen watcher says what the program printed since the last piece; the text is sealed.",
};

export const WHEN_EVENTS: Record<EventType, string> = {
  "run.accepted": "The run was recorded; from now on it will be accounted for.",
  "run.restarted": "The run runs again, as its next generation.",
  "run.waiting": "No group can take it at present, or an earlier attempt may still run; told again when the reason changes.",
  "run.launched": "The Job exists in a group's cluster.",
  "run.started": "The first container runs.",
  "run.stalled": "Its pods cannot start or make no progress; the diagnosis says why.",
  "run.resumed": "Its pods are no longer held up.",
  "run.progressed": "More slices of a step have ended; told at most ten times an attempt.",
  "run.attempt.failed": "An attempt failed, and another will follow.",
  "run.step.succeeded": "A step of a pipeline succeeded.",
  "run.step.failed": "A step of a pipeline failed.",
  "run.step.skipped": "A step of a pipeline was not needed.",
  "run.cancelling": "A cancel was recorded; pods may still run.",
  "run.succeeded": "All that was needed succeeded. Nothing follows in this generation.",
  "run.failed": "It did not succeed. Nothing follows in this generation.",
  "run.cancelled": "It was cancelled and its pods are gone. Nothing follows in this generation.",
  "run.lost": "It is provably gone with an unknown outcome, or was abandoned. Nothing follows in this generation.",
  "command.refused": "A command could not be taken; its run's id is not used up.",
  "command.duplicate":
    "The command changed nothing, since it came before or its run exists already, and this is how the run stands. It goes to the command's reply_to alone.",
  "group.healthy": "The group can be used. Of one group's events, the one with the latest time counts.",
  "group.unhealthy": "The group cannot be used at present; the diagnosis says why. Told again when its code changes.",
  "group.paused": "An operator paused the group, or asked it to become empty: no Job is created there.",
  "group.resumed": "An operator lets Jobs be created in the group again.",
};

/** A JSON Schema cannot say this: it judges a value, and not the bytes that carry it. */
const SIZES = `A message has at most ${MESSAGE.bytesMax / 1024 ** 2} MiB, and its data, as JSON without spaces, at most ${DATA_BYTES_MAX / 1024} KiB beside the parameters, secret values and files of a request.`;

interface Kind {
  readonly name: "command" | "fact" | "event" | "control";
  readonly envelope: z.ZodType;
  readonly rows: Readonly<Record<string, z.ZodType>>;
  readonly when: Readonly<Record<string, string>>;
}

const KINDS: readonly Kind[] = [
  { name: "command", envelope: Envelope, rows: COMMANDS, when: WHEN_COMMANDS },
  { name: "event", envelope: EventEnvelope, rows: EVENTS, when: WHEN_EVENTS },
  { name: "fact", envelope: Envelope, rows: FACTS, when: WHEN_FACTS },
  { name: "control", envelope: Envelope, rows: CONTROL, when: WHEN_CONTROL },
];

/**
 * Describes the message as it is sent, before defaults and brands (`io: "input"`). The result has neither `$schema` nor an id
 * at its root, so that it can be embedded in another schema.
 */
function schemaOf(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", target: "draft-7" });
  return rest;
}

/** The dialect that AsyncAPI 3 takes by default and every validator knows. */
const DIALECT = "http://json-schema.org/draft-07/schema#";

/** Returns the schema of a whole message: its envelope, with its type and its data. */
function messageSchema({ name, envelope, rows, when }: Kind, type: string): Json {
  const data = rows[type];
  if (data === undefined) throw new Error(`no schema is known for ${type}`);
  const { properties, required, ...open } = schemaOf(envelope) as { properties: Json; required: readonly string[] };
  return {
    $schema: DIALECT,
    title: PREFIX + type,
    description: name === "command" ? `${when[type]} ${SIZES}` : when[type],
    ...open,
    properties: { ...properties, type: { const: PREFIX + type }, data: schemaOf(data) },
    required: [...required, "data"],
  };
}

function asyncApi(): Json {
  const messages = KINDS.flatMap((kind) =>
    Object.keys(kind.rows).map((type) => [
      type,
      { title: type, summary: kind.when[type], contentType: CONTENT_TYPE, payload: { $ref: `./${fileOf(kind, type)}` } },
    ]),
  );
  const refs = (which: Kind["name"]): Json =>
    Object.fromEntries(
      KINDS.filter(({ name }) => name === which).flatMap(({ rows }) =>
        Object.keys(rows).map((type) => [type, { $ref: `#/components/messages/${type}` }]),
      ),
    );
  const { "command.duplicate": _, ...eventsOfAll } = refs("event");
  const operation = (action: "send" | "receive", channel: string, summary: string): Json => ({
    action,
    channel: { $ref: `#/channels/${channel}` },
    summary,
  });
  return {
    asyncapi: "3.0.0",
    info: {
      title: "Longshore",
      version: "1.0.0",
      description: "Publish a message, get a Kubernetes Job on whichever cluster can take it, and get every outcome back.",
      license: { name: "Apache-2.0" },
    },
    defaultContentType: CONTENT_TYPE,
    channels: {
      commands: {
        address: "longshore.commands",
        description: `A topic exchange; any routing key. ${SIZES}`,
        messages: refs("command"),
      },
      replies: {
        address: null,
        description: "The queue (on NATS: the subject) that a command names in its reply_to. Refusals go to `events` as well.",
        messages: {
          "command.refused": { $ref: "#/components/messages/command.refused" },
          "command.duplicate": { $ref: "#/components/messages/command.duplicate" },
        },
      },
      events: {
        address: "longshore.events",
        description:
          "A topic exchange. The routing key is <tenant>.<group or ->.<type without its prefix>, such as default.prod-a.run.succeeded; " +
          'a "/" in a group\'s name becomes "_". Events of one run are in order of `sequence`, without gaps; each may come more than once.',
        messages: eventsOfAll,
      },
      facts: { address: "longshore.facts", description: "Between watcher and launcher.", messages: refs("fact") },
      control: {
        address: "longshore.control",
        description:
          "A topic exchange between our own programs; nothing is kept. The routing key is <installation>.<type without its prefix>; to a reader of a log, with .<reader> behind it.",
        messages: refs("control"),
      },
    },
    operations: {
      takeCommands: operation("receive", "commands", "The launcher takes commands from upstream."),
      tellEvents: operation("send", "events", "The launcher tells upstream the story of each run."),
      answerCommands: operation("send", "replies", "The launcher answers the sender of a command."),
      observeFacts: operation("receive", "facts", "The launcher takes what watchers saw."),
      announceGroups: operation("send", "control", "The launcher says which groups there are, and watchers ask for it."),
      readLogs: operation("send", "control", "The console asks for what a program prints, and a watcher sends it."),
    },
    components: { messages: Object.fromEntries(messages) },
  };
}

const fileOf = ({ name }: Kind, type: string): string => `${name}.${type}.schema.json`;

/** File name → content of everything that `npm run contracts` publishes. */
export function published(): ReadonlyMap<string, Json> {
  const files = new Map<string, Json>([
    ["envelope.schema.json", { $schema: DIALECT, title: "The envelope of commands and facts", ...schemaOf(Envelope) }],
    ["asyncapi.json", asyncApi()],
    [
      "definition.schema.json",
      { $schema: DIALECT, title: "A definition", ...schemaOf(z.union(Object.values(DEFINITION_FORMS))) },
    ],
  ]);
  for (const kind of KINDS) for (const type of Object.keys(kind.rows)) files.set(fileOf(kind, type), messageSchema(kind, type));
  return files;
}

const WIDTH = 130;

/** Returns JSON as our formatter prints it: if a list fits on one line, it stands on one line. */
export function printed(value: unknown, indent = "", taken = 0): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    const flat = value.map((entry) => (typeof entry === "object" && entry !== null ? undefined : JSON.stringify(entry)));
    const line = `[${flat.join(", ")}]`;
    if (!flat.includes(undefined) && taken + line.length + 1 <= WIDTH) return line;
    return `[\n${value.map((entry) => deeper + printed(entry, deeper, deeper.length)).join(",\n")}\n${indent}]`;
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  if (members.length === 0) return "{}";
  const lines = members.map(([name, member]) => {
    const start = `${deeper}${JSON.stringify(name)}: `;
    return start + printed(member, deeper, start.length);
  });
  return `{\n${lines.join(",\n")}\n${indent}}`;
}
