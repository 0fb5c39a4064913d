/** The published schemas are the files that the code makes, and other people's validators judge by them as we do. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import t from "tap";
import { BAD_REQUESTS } from "./testing/bad-requests.ts";
import { COMMANDS } from "./messages/command.ts";
import { CONTROL } from "./messages/control.ts";
import { DATA_BYTES_MAX, writeCommand, writeControl, writeEvent, writeFact, writeNotice } from "./messages/envelope.ts";
import { EVENTS } from "./messages/event.ts";
import { FACTS } from "./messages/fact.ts";
import { GroupName, Installation, RunId, TenantName } from "./ids.ts";
import { MESSAGE } from "./json.ts";
import { FOLDER, README } from "./write-schemas.ts";
import { printed, published } from "./schemas.ts";
import { tables, withTables } from "./tables.ts";

const files = published();
const read = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

t.test("the published files are those that the code makes", async (t) => {
  t.same(readdirSync(FOLDER).toSorted(), [...files.keys()].toSorted(), "run `npm run contracts` and read the difference");
  for (const [name, content] of files)
    t.equal(
      readFileSync(join(FOLDER, name), "utf8"),
      `${printed(content)}\n`,
      `${name}: the wire changed. If that is meant, run \`npm run contracts\``,
    );
});

t.test("README.md's tables are those that the code makes, and every field in them is explained", async (t) => {
  const page = readFileSync(README, "utf8");
  t.equal(page, withTables(page), "run `npm run contracts` and read the difference");
  // Not every event has data of its own, so only this table may have empty cells at its end.
  for (const [name, text] of tables()) if (name !== "events") t.notMatch(text, /\|\s*\|$/m, `${name}: a field without a meaning`);
});

t.test("every message that there is has a schema", async (t) => {
  for (const [kind, rows] of Object.entries({ command: COMMANDS, fact: FACTS, event: EVENTS, control: CONTROL }))
    for (const type of Object.keys(rows)) t.ok(files.has(`${kind}.${type}.schema.json`), type);
});

t.test("whoever reads the published contract or a README learns how large a command may be", async (t) => {
  const [whole, data] = [`${MESSAGE.bytesMax / 1024 ** 2} MiB`, `${DATA_BYTES_MAX / 1024} KiB`];
  const pages = ["../../README.md", "README.md"].map(
    (page) => [page, readFileSync(join(import.meta.dirname, page), "utf8")] as const,
  );
  const schemas = ["asyncapi.json", ...Object.keys(COMMANDS).map((type) => `command.${type}.schema.json`)];
  const texts = [...pages, ...schemas.map((name) => [name, printed(files.get(name))] as const)];
  for (const [name, text] of texts) t.ok(text.includes(whole) && text.includes(data), `${name}: ${whole}, ${data}`);
});

/** Strict mode: otherwise ajv ignores a keyword or a format that it does not know. */
const ajv = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true, formats: { "date-time": true } });
const judge = (file: string, message: unknown): boolean => ajv.validate(files.get(`${file}.schema.json`) ?? false, message);

const requested = (data: unknown) => ({
  specversion: "1.0",
  id: "m1",
  source: "/shop",
  type: "dev.longshore.run.requested",
  data,
});

t.test("the published schema refuses what we refuse", async (t) => {
  for (const { name, data, beyondSchema = false, want } of BAD_REQUESTS) {
    const beyond = beyondSchema || want.every(([, code]) => code === "UnusableCharacter");
    if (!beyond) t.notOk(judge("command.run.requested", requested(data)), name);
  }
});

t.test("a rule that is marked as beyond JSON Schema is", async (t) => {
  for (const { name, data, beyondSchema = false } of BAD_REQUESTS)
    if (beyondSchema) t.ok(judge("command.run.requested", requested(data)), `${name}: the mark can go`);
});

const installation = Installation.parse("main");
const tenant = TenantName.parse("shop");
const run = RunId.parse("orders/8812");
const time = "2030-01-31T12:00:00.000Z";
const place = { installation, tenant, run, sequence: 1, generation: 1, group: GroupName.parse("gpu"), time };
const about = {
  installation: "main",
  group: "gpu",
  namespace: "jobs",
  name: "a-main-1",
  uid: "u1",
  resourceVersion: "12",
  proof: "p",
  run,
  step: "main",
  attempt: 1,
};
const id = "m1";
const source = "/shop";
const reader = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const sealed = { key: "00000001", nonce: "AAAA", box: "AAAA" };

// biome-ignore format: a table
const written: readonly (readonly [file: string, bytes: Uint8Array])[] = [
  ["command.run.requested", writeCommand({ id, source, type: "run.requested", data: { run, image: "x", env: { A: "b", N: { field: "spec.nodeName" } }, deadline: "5m" } })],
  ["command.run.requested", writeCommand({ id, source, type: "run.requested", data: { run, steps: [{ name: "a", image: "x" }], notBefore: time } })],
  ["command.run.cancel", writeCommand({ id, source, type: "run.cancel", data: { run, reason: "too late", grace: "30s" }, time })],
  ["command.run.restart", writeCommand({ id, source, type: "run.restart", data: { run, from: "load", with: { image: "x:2" } } })],
  ["fact.job.resumed", writeFact({ id, source, type: "job.resumed", data: { about } })],
  ["fact.job.ended", writeFact({ id, source, type: "job.ended", data: { about, condition: "Complete", evidence: { started: "yes", exitCode: 0 } } })],
  ["control.groups.asked", writeControl({ id, source, type: "groups.asked", data: { installation: "main", watcher: "w" } })],
  ["control.group.announced", writeControl({ id, source, type: "group.announced", data: { installation: "main", launcher: "l", group: "gpu", version: 1, namespace: "jobs", cluster: { server: "https://a", verify: true }, sealed } })],
  ["control.groups.announced", writeControl({ id, source, type: "groups.announced", data: { installation: "main", launcher: "l", at: time, againSeconds: 30, groups: [{ group: "gpu", version: 1 }], sealed } })],
  ["control.log.asked", writeControl({ id, source, type: "log.asked", data: { installation: "main", reader, at: time, group: "gpu", job: "u", tailLines: 1_000, watcher: "w", sealed } })],
  ["control.log.offered", writeControl({ id, source, type: "log.offered", data: { installation: "main", reader, watcher: "w", sealed } })],
  ["control.log.piece", writeControl({ id, source, type: "log.piece", data: { installation: "main", reader, watcher: "w", number: 1, sealed } })],
  ["event.run.accepted", writeEvent({ ...place, type: "run.accepted", data: { run, steps: ["main"] } })],
  ["event.run.succeeded", writeEvent({ ...place, type: "run.succeeded", data: { run, outputs: { rows: 3 }, seconds: { running: 1.5 } } })],
  ["event.command.refused", writeNotice({ installation, tenant, id, type: "command.refused", time, data: { command: "m1", problems: [] } })],
  ["event.command.duplicate", writeNotice({ installation, tenant, id, type: "command.duplicate", time, data: { run, command: "m1", state: "ended", outcome: "failed" } })],
];

for (const [file, bytes] of written)
  t.test(`the published schema of ${file} takes what we write`, async (t) => {
    t.ok(judge(file, read(bytes)), ajv.errorsText());
    const others = [...files.keys()].filter((name) => name.startsWith("event.") && name !== `${file}.schema.json`);
    t.notOk(
      others.some((name) => ajv.validate(files.get(name) ?? false, read(bytes))),
      "and no other event's does",
    );
  });

t.test("every reference of the AsyncAPI document leads somewhere", async (t) => {
  const document = files.get("asyncapi.json");
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref ?? "");
  t.ok(refs.length > 0);
  for (const ref of refs) {
    const local = ref.startsWith("#/")
      ? ref.slice(2).split("/").reduce<unknown>(member, document)
      : files.get(ref.replace("./", ""));
    t.ok(local, ref);
  }
});

function member(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null ? (of as Record<string, unknown>)[name] : undefined;
}
