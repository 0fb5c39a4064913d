/** Bad messages of every kind: each is answered or quarantined, and the bad place is named. */
import fc from "fast-check";
import t from "tap";
import type { CommandType } from "./command.ts";
import {
  eventId,
  readCommand,
  readEvent,
  readFact,
  routingKey,
  writeCommand,
  writeEvent,
  writeFact,
  writeNotice,
} from "./envelope.ts";
import { EVENTS } from "./event.ts";
import { GroupName, Installation, RunId, TenantName } from "../ids.ts";
import type { Problem } from "../problems/problem.ts";

const good = {
  specversion: "1.0",
  id: "m1",
  source: "/shop/orders",
  type: "dev.longshore.run.cancel",
  data: { run: "orders/8812" },
};
const but = (changes: object): Uint8Array => bytes({ ...good, ...changes });
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const places = (problems: readonly Problem[]) => problems.map(({ path, code }) => [path, code]);

interface Case {
  readonly name: string;
  readonly message: Uint8Array;
  readonly want: "command" | "refused" | "unreadable";
  readonly problems?: readonly (readonly [path: string, code: string])[];
}

// biome-ignore format: a table is read down its columns
const cases: readonly Case[] = [
  { name: "a good message", message: but({}), want: "command" },
  { name: "extension attributes of others", message: but({ traceparent: "00-abc", partitionkey: "8812", subject: null }), want: "command" },
  { name: "a JSON content type with a charset", message: but({ datacontenttype: "application/json; charset=utf-8" }), want: "command" },

  { name: "nothing at all", message: new Uint8Array(), want: "unreadable", problems: [["", "Empty"]] },
  { name: "a list of messages", message: bytes([good]), want: "unreadable", problems: [["", "WrongType"]] },
  { name: "null", message: bytes("null"), want: "unreadable", problems: [["", "WrongType"]] },
  { name: "data without an envelope", message: bytes({ run: "a", image: "x" }), want: "unreadable",
    problems: [["/id", "Missing"], ["/source", "Missing"], ["/type", "Missing"], ["/specversion", "Missing"]] },
  { name: "no id", message: but({ id: undefined }), want: "unreadable", problems: [["/id", "Missing"]] },
  { name: "an empty id", message: but({ id: "" }), want: "unreadable", problems: [["/id", "OutOfRange"]] },
  { name: "an id of 300 characters", message: but({ id: "i".repeat(300) }), want: "unreadable", problems: [["/id", "OutOfRange"]] },
  { name: "an id with a NUL", message: but({ id: "a\0" }), want: "unreadable", problems: [["/id", "UnusableCharacter"]] },
  { name: "an id that only looks like another", message: but({ id: "m\u0430" }), want: "unreadable", problems: [["/id", "Invalid"]] },
  { name: "a number as its id", message: but({ id: 1 }), want: "unreadable", problems: [["/id", "WrongType"]] },
  { name: "two ids", message: bytes(JSON.stringify(good).replace("{", '{"id":"m0",')), want: "unreadable", problems: [["/id", "DuplicateKey"]] },
  { name: "no source", message: but({ source: undefined }), want: "unreadable", problems: [["/source", "Missing"]] },
  { name: "no type", message: but({ type: undefined }), want: "unreadable", problems: [["/type", "Missing"]] },

  { name: "no spec version", message: but({ specversion: undefined }), want: "refused", problems: [["/specversion", "Missing"]] },
  { name: "another spec version", message: but({ specversion: "0.3" }), want: "refused", problems: [["/specversion", "UnknownVersion"]] },
  { name: "an unknown type", message: but({ type: "dev.longshore.run.pause" }), want: "refused", problems: [["/type", "UnknownType"]] },
  { name: "a type without its prefix", message: but({ type: "run.cancel" }), want: "refused", problems: [["/type", "UnknownType"]] },
  { name: "a type that every object has", message: but({ type: "dev.longshore.constructor" }), want: "refused", problems: [["/type", "UnknownType"]] },
  { name: "an event among the commands", message: but({ type: "dev.longshore.run.succeeded" }), want: "refused", problems: [["/type", "UnknownType"]] },
  { name: "a time in words", message: but({ time: "yesterday" }), want: "refused", problems: [["/time", "Invalid"]] },
  { name: "data of another kind", message: but({ datacontenttype: "text/xml" }), want: "refused", problems: [["/datacontenttype", "Invalid"]] },
  { name: "data in base64", message: but({ data: undefined, data_base64: "e30=" }), want: "refused", problems: [["/data_base64", "WrongType"], ["/data", "Missing"]] },
  { name: "no data", message: but({ data: undefined }), want: "refused", problems: [["/data", "Missing"]] },
  { name: "data as a text of JSON", message: but({ data: JSON.stringify(good.data) }), want: "refused", problems: [["/data", "WrongType"]] },
  { name: "a run given twice", message: bytes(JSON.stringify(good).replace('"run":', '"run":"a","run":')), want: "refused", problems: [["/data/run", "DuplicateKey"]] },
  { name: "a field __proto__", message: bytes(JSON.stringify(good).replace('"run":', '"__proto__":{"run":"b"},"run":')), want: "refused", problems: [["/data/__proto__", "UnsafeKey"]] },
  { name: "a generation of 1e999", message: bytes(JSON.stringify(good).replace('"run":', '"generation":1e999,"run":')), want: "refused", problems: [["/data/generation", "NumberOutOfRange"]] },
  { name: "a generation of 0", message: but({ data: { run: "a", generation: 0 } }), want: "refused", problems: [["/data/generation", "OutOfRange"]] },
  { name: "an unknown field", message: but({ data: { run: "a", force: true } }), want: "refused", problems: [["/data/force", "UnknownField"]] },
  { name: "a restart from nowhere", message: but({ type: "dev.longshore.run.restart", data: { run: "a" } }), want: "refused", problems: [["/data/from", "Missing"]] },
  { name: "a restart that changes the command", message: but({ type: "dev.longshore.run.restart", data: { run: "a", from: "start", with: { command: ["rm"] } } }),
    want: "refused", problems: [["/data/with/command", "UnknownField"]] },
  { name: "a restart with an env name that no shell takes", message: but({ type: "dev.longshore.run.restart", data: { run: "a", from: "failed", with: { env: { "A B": "x" } } } }),
    want: "refused", problems: [["/data/with/env/A B", "Invalid"]] },
  { name: "many things wrong at once", message: but({ specversion: "2", time: 7, data: { reason: 1, by: "Ada" } }), want: "refused",
    problems: [["/specversion", "UnknownVersion"], ["/time", "WrongType"], ["/data/run", "Missing"], ["/data/reason", "WrongType"], ["/data/by", "UnknownField"]] },
];

for (const { name, message, want, problems = [] } of cases)
  t.test(`reads ${name} as ${want}`, async (t) => {
    const read = readCommand(message);
    t.equal(read.kind, want);
    t.same(read.kind === "command" ? [] : places(read.problems), problems);
  });

t.test("a refusal names the sender to answer, and the run only if it is certain", async (t) => {
  t.match(readCommand(but({ data: { run: "orders/8812", x: 1 } })), {
    id: "m1",
    source: "/shop/orders",
    type: "run.cancel",
    run: "orders/8812",
  });
  t.match(readCommand(but({ data: { run: "no good" } })), { kind: "refused", run: undefined });
  t.match(readCommand(bytes(JSON.stringify(good).replace('"run":', '"run":"a","run":'))), { kind: "refused", run: undefined });
});

const named = (message: Uint8Array): unknown => {
  const read = readCommand(message);
  return read.kind === "unreadable" ? read.named : read.kind;
};
const large = "x".repeat(1024 * 1024);

// biome-ignore format: a table is read down its columns
for (const { name, message, want } of [
  { name: "no source", message: but({ source: undefined }), want: { id: "m1", source: undefined, run: "orders/8812" } },
  { name: "no id", message: but({ id: undefined }), want: { id: undefined, source: "/shop/orders", run: "orders/8812" } },
  { name: "no envelope", message: bytes({ image: "x", run: "a" }), want: { id: undefined, source: undefined, run: "a" } },
  { name: "more than is read", message: but({ data: { run: "a", env: { X: large } } }), want: { id: "m1", source: "/shop/orders", run: "a" } },
  { name: "a run behind more than is looked at", message: bytes({ id: "m1", image: large, data: { run: "a" } }), want: { id: "m1", source: undefined, run: undefined } },
  { name: "a text that was cut off", message: but({}).subarray(0, -2), want: { id: "m1", source: "/shop/orders", run: "orders/8812" } },
  { name: "a byte order mark", message: bytes(`\ufeff${JSON.stringify(good)}`), want: { id: "m1", source: "/shop/orders", run: "orders/8812" } },
  { name: "two ids, of which none counts", message: bytes(JSON.stringify(good).replace("{", '{"id":"m0",')), want: { id: undefined, source: "/shop/orders", run: "orders/8812" } },
  { name: "three ids, of which none counts", message: bytes(JSON.stringify(good).replace("{", '{"id":"m0","\\u0069d":"m2",')), want: { id: undefined, source: "/shop/orders", run: "orders/8812" } },
  { name: "ids of other things", message: bytes({ list: [{ id: "a", run: "b", data: { run: "c" } }], data: { id: "d", more: { run: "e" } }, value: "id" }), want: undefined },
  { name: "an id that no message may have, and a run that is none", message: bytes({ id: "nul id/1", data: { run: "nul id" } }), want: { id: "nul id/1", source: undefined, run: undefined } },
  { name: "an id that could not be written down, and a run that is none", message: bytes({ id: "a\0b", data: { run: "no good" } }), want: undefined },
  { name: "an id without end, and no run", message: bytes({ id: "a".repeat(201) }), want: undefined },
  { name: "an id that is a number", message: but({ id: 1, data: {} }), want: undefined },
  { name: "what is no JSON", message: bytes('hello "id":"m1"'), want: undefined },
  { name: "a list of messages", message: bytes([good]), want: undefined },
  { name: "brackets without end", message: bytes("[".repeat(100_000)), want: undefined },
  { name: "a quote without end", message: bytes(`{"id":"${large}`), want: undefined },
])
  t.test(`whoever is named by ${name} can be told`, async (t) => t.same(named(message), want));

t.test("reads the commands that it writes", async (t) => {
  const data = { run: "a", from: "failed", with: { image: "x:2" }, actor: { name: "Ada" } } as const;
  t.same(readCommand(writeCommand({ id: "m1", source: "/shop", type: "run.restart", data })), {
    kind: "command",
    command: { type: "run.restart", id: "m1", source: "/shop", data },
  });
});

const about = {
  installation: "main", group: "gpu", namespace: "jobs", name: "a-main-1", uid: "u1", resourceVersion: "12", proof: "p", run: "a", step: "main", attempt: 1,
}; // biome-ignore format: one thing

t.test("reads the facts that it writes, and ignores what a newer watcher adds", async (t) => {
  const fact = { id: "f1", source: "/longshore/main/watchers/w1", type: "job.resumed" } as const;
  t.same(readFact(writeFact({ ...fact, data: { about } })), { kind: "fact", fact: { ...fact, data: { about } } });
  const newer = {
    ...fact,
    specversion: "1.0",
    type: "dev.longshore.job.resumed",
    data: { about: { ...about, zone: "b" }, since: 3 },
  };
  t.same(readFact(bytes(newer)), { kind: "fact", fact: { ...fact, data: { about } } });
});

t.test("a fact that is of no known type, or says too little, is unreadable", async (t) => {
  const fact = { id: "f1", source: "/w", specversion: "1.0", type: "dev.longshore.job.ended" };
  const { occupant: _, ...partial } = { ...about, uid: undefined, occupant: true };
  const wants = [
    [{ ...fact, type: "dev.longshore.job.vanished", data: {} }, [["/type", "UnknownType"]]],
    [{ ...fact, data: { about: partial, condition: "Perhaps", evidence: { started: "yes", exitCode: 0.5 } } },
      [["/data/about/uid", "Missing"], ["/data/condition", "Invalid"], ["/data/evidence/exitCode", "WrongType"]]],
    [fact, [["/data", "Missing"]]],
  ] as const; // biome-ignore format: a table
  for (const [message, want] of wants) {
    const read = readFact(bytes(message));
    t.same(read.kind === "fact" ? [] : places(read.problems), want);
  }
});

t.test("a log's tail with NULs and halves of characters still arrives", async (t) => {
  const log = { state: "complete", lines: 1, tail: "a\0b \ud83d! \\u0000 \\ud83d \ud83d\ude00" } as const;
  const data = { about, condition: "Failed", evidence: { started: "yes", log } } as const;
  t.match(readFact(writeFact({ id: "f1", source: "/w", type: "job.ended", data })), {
    kind: "fact",
    fact: { data: { evidence: { log: { tail: "a\ufffdb \ufffd! \\u0000 \\ud83d \ud83d\ude00" } } } },
  });
});

const installation = Installation.parse("main");
const tenant = TenantName.parse("shop");
const run = RunId.parse("orders/8812");
const group = GroupName.parse("prod/team-a");
const time = "2030-01-31T12:00:00.000Z";

t.test("an event stands in its place of the story", async (t) => {
  const data = EVENTS["run.accepted"].parse({ run, steps: ["main"] });
  const written = writeEvent({ installation, tenant, run, group, sequence: 7, generation: 2, type: "run.accepted", time, data });
  t.same(JSON.parse(new TextDecoder().decode(written)), {
    specversion: "1.0",
    id: "main/orders/8812/0000000007",
    source: "/longshore/main/runs/orders/8812",
    subject: "orders/8812",
    type: "dev.longshore.run.accepted",
    datacontenttype: "application/json",
    time,
    sequence: "0000000007",
    generation: 2,
    group: "prod/team-a",
    tenant: "shop",
    data,
  });
  t.match(readEvent(written), {
    kind: "event",
    event: { type: "run.accepted", sequence: 7, generation: 2, tenant: "shop", subject: run, data },
  });
});

const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
for (const { name, traceparent, want } of [
  { name: "a trace is read", traceparent: TRACE, want: TRACE },
  { name: "so is one of a later version", traceparent: TRACE.replace("00-", "cc-"), want: TRACE.replace("00-", "cc-") },
  { name: "a text that is no trace is left out", traceparent: "00-abc", want: undefined },
  { name: "so is the version that is none", traceparent: TRACE.replace("00-", "ff-"), want: undefined },
  { name: "so is a trace of nothing", traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, want: undefined },
  { name: "so is a number", traceparent: 7, want: undefined },
])
  t.test(`${name}, and refuses no command`, async (t) => {
    const read = readCommand(but({ traceparent }));
    t.equal(read.kind === "command" ? read.command.traceparent : read.kind, want);
  });

t.test("an event carries the trace of its run", async (t) => {
  const data = EVENTS["run.accepted"].parse({ run, steps: [] });
  const written = writeEvent({
    installation,
    tenant,
    run,
    sequence: 1,
    generation: 1,
    group,
    type: "run.accepted",
    traceparent: TRACE,
    time,
    data,
  });
  t.match(readEvent(written), { kind: "event", event: { traceparent: TRACE } });
});

t.test("an event of a type that a reader does not know yet is still an event", async (t) => {
  const read = readEvent(
    bytes({ specversion: "1.0", id: "x", source: "/l", type: "dev.longshore.run.paused", data: { bytes: 1e21 } }),
  );
  t.match(read, { kind: "event", event: { type: "run.paused", sequence: undefined, group: undefined, data: { bytes: 1e21 } } });
});

t.test("an event with a sequence that is not ten digits is unreadable", async (t) => {
  for (const sequence of [7, "7", "00000000007"]) {
    const read = readEvent(
      bytes({ specversion: "1.0", id: "x", source: "/l", type: "dev.longshore.run.lost", data: {}, sequence }),
    );
    t.equal(read.kind === "unreadable" && read.problems[0]?.path, "/sequence");
  }
});

t.test("a refusal is read as an event of no run's story", async (t) => {
  const id = "refusal-1";
  const data = EVENTS["command.refused"].parse({ command: "m1", problems: [] });
  const read = readEvent(writeNotice({ installation, tenant, id, type: "command.refused", time, data }));
  t.match(read, { kind: "event", event: { id, type: "command.refused", sequence: undefined, tenant: "shop" } });
});

t.test("no id of ours is longer than AMQP's short text", async (t) => {
  const longest = Installation.parse("i".repeat(40));
  t.ok(eventId(longest, RunId.parse("r".repeat(200)), 2 ** 31).length <= 255);
});

t.test("a routing key has one word for the tenant and one for the group", async (t) => {
  t.equal(routingKey(tenant, GroupName.parse("prod-a"), "run.succeeded"), "shop.prod-a.run.succeeded");
  t.equal(routingKey(tenant, group, "run.failed"), "shop.prod_team-a.run.failed");
  t.equal(routingKey(tenant, undefined, "command.refused"), "shop.-.command.refused");
});

t.test("reads any bytes as one of its kinds, and never throws", async (t) => {
  const type = fc.constantFrom<CommandType>("run.requested", "run.cancel", "run.restart").map((it) => `dev.longshore.${it}`);
  const data = fc.oneof(
    fc.jsonValue(),
    fc.record({ run: fc.string(), image: fc.jsonValue(), steps: fc.jsonValue(), env: fc.jsonValue() }, { requiredKeys: [] }),
  );
  const messages = fc.record({
    specversion: fc.constantFrom("1.0", "2"),
    id: fc.string(),
    source: fc.string(),
    type: fc.oneof(type, fc.string()),
    data,
  });
  const spoilt = fc.tuple(messages, fc.nat(), fc.nat(255)).map(([message, at, byte]) => {
    const whole = bytes(message);
    whole[at % whole.length] = byte;
    return whole;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), messages.map(bytes), spoilt), (message) => {
      const commands = readCommand(message);
      const rest = [readFact(message), readEvent(message)];
      const silent = [commands, ...rest].some(
        (read) => (read.kind === "refused" || read.kind === "unreadable") && read.problems.length === 0,
      );
      return ["command", "refused", "unreadable"].includes(commands.kind) && !silent;
    }),
    { numRuns: 2000 },
  );
  t.pass("2,000 messages");
});
