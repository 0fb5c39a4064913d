/**
 * README.md and the contract's README.md, which an application's author reads first.
 *
 * The failure this prevents: an example that our own reader refuses, and a word that is used pages before it is explained.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { judgeDefinition } from "./request/definition.ts";
import { judgeParameters, NO_PARAMETERS } from "./request/parameters.ts";
import { diagnose, withoutBlanks } from "./messages/diagnosis.ts";
import { readCommand, readEvent, writeEvent } from "./messages/envelope.ts";
import { EVENTS } from "./messages/event.ts";
import { GroupName, Installation, TenantName } from "./ids.ts";
import { tables } from "./tables.ts";

const page = (path: string): string => readFileSync(join(import.meta.dirname, path), "utf8");
const PAGES = { "README.md": page("../../README.md"), "packages/contract/README.md": page("README.md") };
const messages = page("README.md");

for (const type of ["run.requested", "run.cancel", "run.restart"] as const)
  t.test(`the example of ${type} is taken`, async (t) => {
    const [, example = ""] = new RegExp(`<!-- message: ${type} -->\n\`\`\`json\n([^\`]*)\`\`\``).exec(messages) ?? [];
    t.match(readCommand(new TextEncoder().encode(example)), { kind: "command", command: { type } });
  });

t.test("the example of a definition is taken, and the example of its request fits it", async (t) => {
  const [, yaml = ""] = /<!-- definition -->\n```yaml\n([\s\S]*?)```/.exec(messages) ?? [];
  const judged = judgeDefinition(parse(yaml));
  const [, example = ""] = /<!-- message: run\.requested of a definition -->\n```json\n([^`]*)```/.exec(messages) ?? [];
  const read = readCommand(new TextEncoder().encode(example));
  if (judged.kind === "invalid" || read.kind !== "command") return void t.fail(JSON.stringify([judged, read]));
  const { definition, parameters } = read.command.data as { definition: string; parameters: object };
  t.equal(definition, judged.value.name);
  const given = judgeParameters(judged.value.parameters ?? NO_PARAMETERS, parameters, "");
  t.same(given, { kind: "valid", value: { month: "2030-01", format: "csv" } });
});

t.test("the example of run.failed is what the launcher writes", async (t) => {
  const [, example = ""] = /<!-- message: run\.failed -->\n```json\n([\s\S]*?)\n```/.exec(messages) ?? [];
  const read = readEvent(new TextEncoder().encode(example));
  if (read.kind !== "event" || read.event.type !== "run.failed") return void t.fail("it is no run.failed");
  const { sequence = 0, generation = 0, time = "" } = read.event;
  const data = EVENTS["run.failed"].strict().parse(read.event.data);
  const { run, job } = data;
  const mark = { tenant: TenantName.parse(read.event.tenant), group: GroupName.parse(read.event.group), sequence, generation };
  const installation = Installation.parse("main");
  const written = writeEvent({ ...mark, installation, run, type: "run.failed", time, data });
  t.same(JSON.parse(new TextDecoder().decode(written)), JSON.parse(example));
  const { code, sentence, evidence } = data.diagnosis;
  t.same(data.diagnosis, withoutBlanks(diagnose(code, sentence, evidence), { run, job: job?.name, namespace: job?.namespace }));
});

/** Questions of readers who wrote an application from these pages alone. */
const ANSWERS: Readonly<Record<string, RegExp>> = {
  "what must run before an application": /The launcher declares the exchanges, so start it once\s+before your applications/,
  "by what a repeated cancel or restart is recognised": /A cancel or a restart is recognised by its message's `id` and `source`/,
  "how to restart only once": /name the `generation` that is meant/,
  "whether a second cancel changes the grace": /a second one cannot change the `grace`/,
  "what a broker's confirm says": /A broker's confirm says only that the broker has the message/,
  "how an answer finds its command":
    /`data.command` in it is the `id` of the\s+command's message, and the answer carries that message's `correlation_id` back/,
  "where outputs and diagnosis are later":
    /a queue that was bound in time has them, and so has\s+`longshore runs show RUN --json`/,
  "what an alert looks at": /A wait that a person must end has a `diagnosis`.*`NoGroup`.*\s+an alert looks at `diagnosis` alone/s,
  "whose blame counts": /An event's own `blame` goes before\s+the table's/,
  "how to run again what never started": /nothing ran, so that it is safe to\s+restart it, or to publish it under a new id/,
  "how the example's queue is removed": /channel\.queue_delete\("shop"\)/,
};
for (const [question, answer] of Object.entries(ANSWERS))
  t.test(`the contract says ${question}`, async (t) => t.match(messages, answer));

t.test("no page calls it safe to publish again, or a message taken that only the broker has", async (t) => {
  const client = page("../client/README.md");
  for (const [name, text] of Object.entries({ ...PAGES, "packages/client/README.md": client })) {
    t.notMatch(text, /safe to\s+publish again/, name);
    t.notMatch(text, /["`]taken:/, name);
  }
});

t.test("the table of waits names what a person mends", async (t) => {
  t.match(tables().get("waiting"), /\| `NoGroup` .*\| its request or the groups +\|/);
  t.match(tables().get("waiting"), /\| `Forbidden` .*\| the group +\|/);
  t.match(tables().get("waiting"), /\| `Throttled` .*\| nothing +\|/);
});

for (const [name, text] of Object.entries(PAGES))
  t.test(`${name} explains "group" before it uses the word`, async (t) => {
    const first = /^.*\bgroups?\b.*$/im.exec(text)?.[0];
    t.match(first, /^(- )?A \*\*group\*\* is where Jobs go/);
  });

t.test(
  "README.md says what its Python needs that a plain `npm start` does not have, and how a program gets a secret",
  async (t) => {
    const [before = ""] = PAGES["README.md"].split("<!-- upstream example: publish -->");
    t.match(before, /npm start -- --broker amqp:\/\//);
    const deploy = page("../../deploy/README.md");
    const [, target = ""] = /\(deploy\/README\.md#([\w-]+)\)/.exec(PAGES["README.md"].slice(before.length)) ?? [];
    const heading = deploy
      .split("\n")
      .find((line) => line.startsWith("## ") && line.slice(3).toLowerCase().replaceAll(" ", "-") === target);
    t.ok(heading, `deploy/README.md has the chapter "${target}"`);
    t.match(PAGES["README.md"], /\[name a secret\s+instead\]/);
    t.match(deploy, /env: \{ PASSWORD: \{ secret: app-db, key: password \} \}/);
  },
);
