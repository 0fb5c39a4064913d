/** Durations and quantities as numbers. */
import fc from "fast-check";
import t from "tap";
import { DIAGNOSES, diagnose } from "./messages/diagnosis.ts";
import { readCommand } from "./messages/envelope.ts";
import { Bytes, Duration, durationMs, durationText, Quantity, quantity } from "./units.ts";

// biome-ignore format: a table
const durations = [["0s", 0], ["500ms", 500], ["90s", 90_000], ["15m", 900_000], ["24h", 86_400_000], ["366d", 31_622_400_000]] as const;
for (const [text, ms] of durations)
  t.test(`${text} is ${ms} ms`, async (t) => {
    t.equal(durationMs(text), ms);
    t.ok(Duration.safeParse(text).success);
  });

for (const text of ["", "15", "m", "1.5h", "-1s", " 1s", "1s ", "1w", "1S", "367d", "9999999999s", "１５m"])
  t.test(`${JSON.stringify(text)} is no duration`, async (t) => {
    t.equal(durationMs(text), undefined);
    t.notOk(Duration.safeParse(text).success);
  });

// biome-ignore format: a table
const quantities = [["0", 0], ["500m", 0.5], ["1.5", 1.5], ["2k", 2000], ["1Ki", 1024], ["1Gi", 2 ** 30], ["1.5Mi", 1.5 * 2 ** 20], ["7Ei", 7 * 2 ** 60]] as const;
for (const [text, value] of quantities)
  t.test(`${text} is ${value}`, async (t) => {
    t.equal(quantity(text), value);
    t.ok(Quantity.safeParse(text).success);
  });

for (const text of ["", "Gi", "-1", "+1", "1GB", "1,5", "0x10", "1 Gi", "8Ei", "9999999999999999", "Infinity", "NaN"])
  t.test(`${JSON.stringify(text)} is no quantity`, async (t) => {
    t.equal(quantity(text), undefined);
    t.notOk(Quantity.safeParse(text).success);
  });

t.test("no text makes the parsers throw, and every text that the schema accepts is a number", async (t) => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^\d{1,20}(\.\d{1,10})?[a-zA-Z]{0,2}$/));
  fc.assert(fc.property(texts, (text) => Duration.safeParse(text).success === (durationMs(text) !== undefined)));
  fc.assert(fc.property(texts, (text) => Quantity.safeParse(text).success === (quantity(text) !== undefined)));
  t.pass("200 texts");
});

t.test("every diagnosis has a hint that is a sentence, and says whether to try again", async (t) => {
  for (const [code, { hint, retry }] of Object.entries(DIAGNOSES)) {
    t.match(hint, /^[A-Z`].*\.$/, code);
    const made = diagnose(code as keyof typeof DIAGNOSES, "It happened.", ["seen"]);
    t.match(made, { code, hint, retryable: retry !== "never", evidence: ["seen"] });
  }
});

for (const [ms, text] of [
  [90 * 60_000, "90m"],
  [86_400_000, "1d"],
  [6 * 3_600_000, "6h"],
  [1500, "1500ms"],
  [0, "0d"],
] as const)
  t.test(`${ms} ms is written as ${text}`, async (t) => {
    t.equal(durationText(ms), text);
    t.equal(durationMs(text), ms, "and read as the same");
  });

t.test("a number in the place of a duration or a quantity is told the unit that it lacks", async (t) => {
  t.match(Duration.safeParse(30).error?.issues[0]?.message, '"30s"');
  t.match(Quantity.safeParse(512).error?.issues[0]?.message, '"512Mi"');
  const asked = { specversion: "1.0", id: "1", source: "/a", type: "dev.longshore.run.requested" };
  const data = { run: "a", image: "b", deadline: 30, resources: { limits: { memory: 512, cpu: 1 } } };
  const read = readCommand(Buffer.from(JSON.stringify({ ...asked, data })));
  const said = read.kind === "command" ? [] : read.problems.map(({ path, message }) => `${path} ${message}`);
  t.match(said.join("\n"), /\/data\/deadline A duration is a text with its unit, such as "30s"/);
  t.match(said.join("\n"), /\/data\/resources\/limits\/memory A quantity is a text, .*"512Mi"/);
});

for (const [text, meant] of [
  ["512", "512Mi"],
  ["1000000", "1000000Mi"],
  ["512m", "512Mi"],
] as const)
  t.test(`${text} as a size is told that Kubernetes reads it as bytes`, async (t) => {
    t.match(Bytes.safeParse(text).error?.issues[0]?.message, `"${text}" is less than 1 MiB; did you mean "${meant}"?`);
  });

for (const text of ["0", "1048576", "134217728", "64Ki", "1k", "512Mi"])
  t.test(`${text} is a size`, async (t) => void t.equal(Bytes.parse(text), text));
