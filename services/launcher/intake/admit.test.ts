import type { Definition } from "@longshore/contract/request/definition.ts";
import { DefinitionName, GroupName, RunId } from "@longshore/contract/ids.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import t from "tap";
import { admit } from "./admit.ts";
import { commandOf, deliveryOf, RUN, type Stage, stage } from "../testing/stage.ts";

const request = { run: RUN, image: "busybox" } as const;
const say = (it: Stage, body: Uint8Array | string) => admit(it.parts)(deliveryOf(body));
const requested = commandOf("run.requested", request, "c1");
const with_ = (body: Uint8Array, change: (text: string) => string): string => change(Buffer.from(body).toString("utf8"));

interface Case {
  readonly name: string;
  /** Messages that were admitted before this one. */
  readonly before?: readonly Uint8Array[];
  readonly body: Uint8Array | string;
  /** The user that the broker vouches for. */
  readonly user?: string;
  readonly want: object;
  /** The run's events afterwards. */
  readonly events?: readonly string[];
  readonly refusals?: readonly string[];
  readonly counts: string;
}

const cases: readonly Case[] = [
  {
    name: "a request becomes a recorded run",
    body: requested,
    want: { kind: "recorded" },
    events: ["run.accepted"],
    counts: 'type="run.requested",outcome="recorded"} 1',
  },
  {
    name: "the same request again has no effect",
    before: [requested],
    body: commandOf("run.requested", request, "c2"),
    want: { kind: "recorded" },
    events: ["run.accepted"],
    counts: 'type="run.requested",outcome="duplicate"} 1',
  },
  {
    name: "the same id with other content is refused, and the run goes on",
    before: [requested],
    body: commandOf("run.requested", { ...request, image: "other" }, "c2"),
    want: { kind: "recorded" },
    events: ["run.accepted"],
    refusals: ["IdempotencyConflict"],
    counts: 'type="run.requested",outcome="refused"} 1',
  },
  {
    name: "a command of which only the sender can be read is refused, with every problem at once",
    body: with_(requested, (text) => text.replace('"image"', '"imagge"')),
    want: { kind: "recorded" },
    events: [],
    refusals: ["Missing", "UnknownField"],
    counts: 'type="invalid",outcome="refused"} 1',
  },
  {
    name: "a message that nobody can read goes to quarantine",
    body: "{",
    want: { kind: "unreadable", problems: [{}] },
    counts: 'type="unreadable",outcome="quarantined"} 1',
  },
  {
    name: "a message without its source goes to quarantine, and is refused to whoever waits for its run",
    body: with_(requested, (text) => text.replace('"source"', '"sorce"')),
    want: { kind: "unreadable", problems: [{ path: "/source" }] },
    refusals: ["Missing"],
    counts: 'type="unreadable",outcome="quarantined"} 1',
  },
  {
    name: "a request without an envelope goes to quarantine, and is refused to whoever waits for its run",
    body: JSON.stringify(request),
    want: { kind: "unreadable" },
    refusals: ["Missing", "Missing", "Missing", "Missing"],
    counts: 'type="unreadable",outcome="quarantined"} 1',
  },
  {
    name: "a message that is too large to read goes to quarantine, and is refused to its sender",
    body: with_(requested, (text) => `${text}${" ".repeat(2 ** 20)}`),
    want: { kind: "unreadable" },
    refusals: ["TooLarge"],
    counts: 'type="unreadable",outcome="quarantined"} 1',
  },
  {
    name: "a cancel that comes before its request is kept for it",
    body: commandOf("run.cancel", { run: RUN }, "c2"),
    want: { kind: "recorded" },
    events: [],
    counts: 'type="run.cancel",outcome="recorded"} 1',
  },
  {
    name: "a cancel of a waiting run ends it",
    before: [requested],
    body: commandOf("run.cancel", { run: RUN, reason: "not needed" }, "c2"),
    want: { kind: "recorded" },
    events: ["run.accepted", "run.cancelling", "run.cancelled"],
    counts: 'type="run.cancel",outcome="recorded"} 1',
  },
  {
    name: "a restart of an unknown run is refused",
    body: commandOf("run.restart", { run: RUN, from: "failed" }, "c2"),
    want: { kind: "recorded" },
    refusals: ["RunUnknown"],
    counts: 'type="run.restart",outcome="refused"} 1',
  },
  {
    name: "an operator gives a run up: it is lost at once",
    before: [requested],
    body: commandOf("run.abandon", { run: RUN, reason: "the cluster is gone", actor: { name: "Kim" } }, "c2"),
    user: "ops",
    want: { kind: "recorded" },
    events: ["run.accepted", "run.lost"],
    counts: 'type="run.abandon",outcome="recorded"} 1',
  },
  {
    name: "nobody else may give a run up, and nothing happens to it",
    before: [requested],
    body: commandOf("run.abandon", { run: RUN }, "c2"),
    user: "shop",
    want: { kind: "recorded" },
    events: ["run.accepted"],
    refusals: ["PolicyRefused"],
    counts: 'type="run.abandon",outcome="refused"} 1',
  },
  {
    name: "a sender without a user that the broker vouches for is no operator",
    before: [requested],
    body: commandOf("run.abandon", { run: RUN, actor: { name: "ops" } }, "c2"),
    want: { kind: "recorded" },
    events: ["run.accepted"],
    refusals: ["PolicyRefused"],
    counts: 'type="run.abandon",outcome="refused"} 1',
  },
  {
    name: "a sender who is no operator does not learn which runs there are",
    body: commandOf("run.abandon", { run: RunId.parse("unknown") }, "c2"),
    user: "shop",
    want: { kind: "recorded" },
    refusals: ["PolicyRefused"],
    counts: 'type="run.abandon",outcome="refused"} 1',
  },
  {
    name: "a run that nobody knows cannot be given up",
    body: commandOf("run.abandon", { run: RUN }, "c2"),
    user: "ops",
    want: { kind: "recorded" },
    refusals: ["RunUnknown"],
    counts: 'type="run.abandon",outcome="refused"} 1',
  },
];

for (const { name, before = [], body, user, want, events, refusals = [], counts } of cases) {
  t.test(name, async (t) => {
    const it = await stage(t);
    for (const earlier of before) await say(it, earlier);
    t.match(await admit(it.parts)({ ...deliveryOf(body), user }), want);
    if (events !== undefined) t.same(it.events(), events);
    const problems = [...it.model.tables.notices.values()].flatMap(({ notice }) => problemsIn(notice.data));
    t.same(
      problems.map(({ code }) => code),
      refusals,
      "refusals that will be told",
    );
    for (const { message } of problems) t.match(message, /^["A-Z].*[.?]$/, "a full sentence");
    t.ok((await it.parts.metrics.text()).includes(`longshore_commands_total{${counts}`), counts);
  });
}

const problemsIn = (data: object): readonly CommandProblem[] =>
  "problems" in data && Array.isArray(data.problems) ? data.problems : [];

t.test("an outage of the ledger is the receiver's matter: nothing is said to be recorded", async (t) => {
  const it = await stage(t);
  await it.parts.ledger[Symbol.asyncDispose]();
  await t.rejects(say(it, requested), /closed/);
});

t.test("a refusal keeps the queue to which it may be sent, too", async (t) => {
  const it = await stage(t);
  const delivery = deliveryOf(commandOf("run.restart", { run: RunId.parse("unknown"), from: "failed" }));
  await admit(it.parts)({ ...delivery, replyTo: "answers" });
  t.match([...it.model.tables.notices.values()], [{ notice: { replyTo: "answers" } }]);
});

t.test("a sender whose message has an id that none may have is told so by that id, in its reply queue, too", async (t) => {
  const it = await stage(t);
  const body = with_(requested, (text) => text.replace('"c1"', '"nul id/1"'));
  await admit(it.parts)({ ...deliveryOf(body), replyTo: "shop" });
  const problems = [{ path: "/id", message: "A message's id is plain ASCII without spaces." }];
  t.match([...it.model.tables.notices.values()], [{ notice: { replyTo: "shop", data: { command: "nul id/1", problems } } }]);
});

t.test("two messages without an id are two refusals, and the same one again is none", async (t) => {
  const it = await stage(t);
  const nameless = (image: string) => JSON.stringify({ run: RUN, image });
  for (const image of ["a", "b", "a"]) await say(it, nameless(image));
  const refusals = [...it.model.tables.notices.values()].map(({ notice }) => notice.data);
  t.equal(refusals.length, 2);
  t.match(refusals, [{ run: RUN, command: /^[0-9a-f]{64}$/ }, { run: RUN }]);
});

t.test("a sender that names a reply queue is told there that its request came before", async (t) => {
  const it = await stage(t);
  const again = (id: string, replyTo?: string) =>
    admit(it.parts)({ ...deliveryOf(commandOf("run.requested", request, id)), replyTo });
  await again("c1", "answers");
  t.equal(it.model.tables.notices.size, 0, "the first is no duplicate");
  await again("c2");
  t.equal(it.model.tables.notices.size, 0, "nobody asked to be told");
  await again("c3", "answers");
  const data = { run: RUN, command: "c3", state: "active" };
  t.match([...it.model.tables.notices.values()], [{ notice: { type: "command.duplicate", replyTo: "answers", data } }]);
});

for (const { name, correlationId, want } of [
  { name: "an answer carries its command's correlation id back", correlationId: "order 7", want: "order 7" },
  { name: "no answer carries one that not every broker takes: too long", correlationId: "7".repeat(256), want: undefined },
  { name: "no answer carries one that not every broker takes: two lines", correlationId: "7\r\nx: y", want: undefined },
])
  t.test(name, async (t) => {
    const it = await stage(t);
    for (const id of ["c1", "c2"]) {
      const delivery = deliveryOf(commandOf("run.requested", request, id));
      await admit(it.parts)({ ...delivery, replyTo: "answers", correlationId });
    }
    t.same(
      [...it.model.tables.notices.values()].map(({ notice }) => notice.correlationId),
      [want],
    );
    t.equal(it.model.tables.runs.get(RUN)?.record.run.plan.correlationId, want);
    const unreadable = { ...deliveryOf(JSON.stringify({ run: RUN })), correlationId };
    await admit(it.parts)(unreadable);
    t.equal([...it.model.tables.notices.values()].at(-1)?.notice.correlationId, want, "of a message that cannot be read, too");
  });

t.test("the person behind a command is named if an operator says so, and not otherwise", async (t) => {
  const it = await stage(t);
  const actor = { name: "Kim" };
  await admit(it.parts)({ ...deliveryOf(commandOf("run.requested", { ...request, actor }, "c1")), user: "shop" });
  await admit(it.parts)({ ...deliveryOf(commandOf("run.abandon", { run: RUN, actor }, "c2")), user: "ops" });
  const [{ story = [] } = {}] = it.model.tables.runs.values();
  t.notHas(story[0]?.data, { actor });
  t.has(story.at(-1)?.data, { actor });
});

const pausing = (id: string, group: string) =>
  commandOf("group.pause", { group: GroupName.parse(group), drain: true, actor: { name: "Kim" } }, id);
const asOps = (it: Stage, body: Uint8Array) => admit(it.parts)({ ...deliveryOf(body), user: "ops" });
const groupOf = ({ model, cluster }: Stage) => model.tables.groups.get(cluster.name);

t.test("an operator pauses a group and resumes it, each once, however often the broker brings the command", async (t) => {
  const it = await stage(t);
  const { name } = it.cluster;
  for (let times = 0; times < 2; times++) t.same(await asOps(it, pausing("p1", name)), { kind: "recorded" });
  t.match(groupOf(it), { paused: true, pause: { actor: { name: "Kim" }, drain: true } });
  await asOps(it, commandOf("group.resume", { group: name }, "p2"));
  await asOps(it, pausing("p1", name));
  t.match(groupOf(it), { paused: false, pause: undefined }, "a late delivery undoes nothing");
  const told = [...it.model.tables.notices.values()].map(({ notice }) => notice.type);
  t.same(told.filter((type) => /paused|resumed/.test(type)), ["group.paused", "group.resumed"]); // biome-ignore format: one line
  const counted = await it.parts.metrics.text();
  t.match(counted, /longshore_commands_total\{type="group.pause",outcome="recorded"\} 1\n/);
  t.match(counted, /longshore_commands_total\{type="group.pause",outcome="duplicate"\} 2\n/);
});

// biome-ignore format: a table
for (const [name, user, group, code, says] of [
  ["nobody else pauses a group", "shop", undefined, "PolicyRefused", /`operators`/],
  ["a group that nobody knows is not paused, and the known ones are named", "ops", "nowhere", "GroupUnknown", /^No group is named "nowhere"; there is prod-a\.$/],
] as const)
  t.test(name, async (t) => {
    const it = await stage(t);
    const body = pausing("p1", group ?? it.cluster.name);
    t.same(await admit(it.parts)({ ...deliveryOf(body), user, replyTo: "answers" }), { kind: "recorded" });
    t.match([...it.model.tables.notices.values()], [{ notice: { type: "command.refused", replyTo: "answers", data: { command: "p1", problems: [{ code, message: says }] } } }]);
    t.equal(groupOf(it)?.paused, false);
    t.match(await it.parts.metrics.text(), /longshore_commands_total\{type="(group.pause|invalid)",outcome="refused"\} 1\n/);
  });

t.test("a run keeps the trace of the first message that requested it: another trace is no other content", async (t) => {
  const it = await stage(t);
  const traced = (trace: string) =>
    with_(commandOf("run.requested", request, `of-${trace}`), (text) =>
      text.replace("{", `{"traceparent":"00-${trace.repeat(32)}-00f067aa0ba902b7-01",`),
    );
  await say(it, traced("a"));
  await say(it, traced("b"));
  t.equal(it.model.tables.runs.get(RUN)?.record.run.plan.traceparent, `00-${"a".repeat(32)}-00f067aa0ba902b7-01`);
  t.same(it.events(), ["run.accepted"]);
});

// ── Definitions ──────────────────────────────────────────────────────────────────────────────────────────────────────

const EXPORT = DefinitionName.parse("export");
const body = {
  name: EXPORT,
  image: "export:1",
  owner: { name: "Shop", contact: "#shop" },
  parameters: {
    type: "object",
    required: ["month"],
    properties: { month: { type: "string" }, rows: { type: "integer", default: 10 } },
  },
} satisfies Definition;
const asked = (parameters: Record<string, unknown>, id = "c1") =>
  commandOf("run.requested", { run: RUN, definition: EXPORT, parameters }, id);
const put = (it: Stage, change: object = {}) =>
  it.parts.ledger.putDefinitions([{ digest: JSON.stringify(change), body: { ...body, ...change } }]);
const refusals = (it: Stage) => [...it.model.tables.notices.values()].map(({ notice }) => notice.data);

t.test("a run of a definition keeps the body as it was, with the defaults filled in, and says who can mend it", async (t) => {
  const it = await stage(t);
  await put(it);
  await say(it, asked({ month: "1" }));
  await put(it, { image: "export:2" });
  await it.parts.definitions.refresh();
  const { request, record } = it.model.tables.runs.get(RUN) ?? {};
  t.match(request, { image: "export:1", parameters: { month: "1", rows: 10 } });
  t.match(record?.run.plan.definition, { name: "export", owner: { name: "Shop" } });
  await say(it, commandOf("run.abandon", { run: RUN }, "c9"));
  t.match(it.model.tables.runs.get(RUN)?.story[0]?.data, { definition: "export" });
});

t.test("the same request is a duplicate, whatever became of its definition; other parameters are other content", async (t) => {
  const it = await stage(t);
  await put(it);
  await say(it, asked({ month: "1" }));
  await it.parts.ledger.putDefinitions([]);
  await it.parts.definitions.refresh();
  await say(it, asked({ month: "1" }, "c2"));
  t.same(it.events(), ["run.accepted"]);
  t.equal(it.model.tables.notices.size, 0);
  await say(it, asked({ month: "2" }, "c3"));
  t.match(refusals(it), [{ problems: [{ code: "IdempotencyConflict" }] }]);
});

t.test("a request for a definition that is not there, or with wrong parameters, is refused, and its id is free", async (t) => {
  const it = await stage(t);
  await put(it);
  await it.parts.definitions.refresh();
  await say(it, commandOf("run.requested", { run: RUN, definition: DefinitionName.parse("exprot") }, "c1"));
  await say(it, asked({ rows: "x" }, "c2"));
  t.match(refusals(it), [
    { problems: [{ path: "/data/definition", code: "DefinitionUnknown", message: /did you mean "export"\?/ }] },
    {
      problems: [
        { path: "/data/parameters/month", code: "Missing" },
        { path: "/data/parameters/rows", code: "WrongType" },
      ],
    },
  ]);
  await say(it, asked({ month: "1" }, "c3"));
  t.same(it.events(), ["run.accepted"]);
});

t.test("a failed run of a definition tells its owner", async (t) => {
  const it = await stage(t);
  await put(it, { waitFor: "1m" });
  await say(it, asked({ month: "1" }));
  await it.parts.ledger.setGroup(it.cluster.name, { paused: true });
  await it.place();
  await it.clock.sleep(120_000);
  await it.place();
  t.match(it.model.tables.runs.get(RUN)?.story.at(-1), {
    type: "run.failed",
    data: { definition: "export", owner: { contact: "#shop" } },
  });
});
