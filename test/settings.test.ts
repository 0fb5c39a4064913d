/**
 * Each setting of the programs can be given as a variable, and is in the example file.
 *
 * The bug this prevents: a setting that only its author knows of, or that a deployment without files cannot give.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { brokerOf } from "@longshore/broker/settings.ts";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import { settingsHelp } from "@longshore/runtime/config/settings-help.ts";
import { environmentName, leaves } from "@longshore/runtime/config/shape.ts";
import { RecorderConfig } from "@longshore/recorder/config.ts";
import { WatcherConfig } from "@longshore/watcher/config.ts";
import t from "tap";
import { parse } from "yaml";
import { z } from "zod";

const PROGRAMS = { launcher: LauncherConfig, watcher: WatcherConfig, recorder: RecorderConfig, console: ConsoleConfig };
/** Whole lists of rules, which only a file can hold. */
const IN_FILES_ALONE = ["access", "sinks"];

const folder = mkdtempSync(join(tmpdir(), "longshore-settings-"));
process.once("exit", () => rmSync(folder, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

type Json = Readonly<Record<string, unknown>>;
const isJson = (it: unknown): it is Json => typeof it === "object" && it !== null && !Array.isArray(it);

/** Returns the path of each setting in a schema. Reads the JSON Schema, not the code that is tested here. */
function places({ properties }: Json, path: readonly string[] = []): string[] {
  if (!isJson(properties)) return [path.join(".")];
  return Object.entries(properties).flatMap(([name, inner]) => (isJson(inner) ? places(inner, [...path, name]) : []));
}

/** The examples are put in use as the file advises. */
const withExamples = (text: string): string => text.replace("sinks: {}", "sinks:").replaceAll(/^#(?= {2}\S| {4,})/gm, "");

for (const [name, schema] of Object.entries(PROGRAMS)) {
  const all = places(z.toJSONSchema(schema, { io: "input" }));

  t.test(`each setting of the ${name} has a variable`, async (t) => {
    t.ok(all.length > 8, all.join(" "));
    const want = all.filter((it) => !IN_FILES_ALONE.includes(it));
    t.same(leaves(schema).map(({ path }) => path.join(".")).toSorted(), want.toSorted()); // biome-ignore format: one call
  });

  t.test(`config/${name}.yaml shows each setting of the ${name}, and no other`, async (t) => {
    const text = withExamples(readFileSync(resolve(import.meta.dirname, `../config/${name}.yaml`), "utf8"));
    const shown = (document: string): Json => z.record(z.string(), z.unknown()).parse(parse(document));
    const whole = shown(text.replaceAll(/^( *)# ( *[a-zA-Z]+:( |$))/gm, "$1$2"));
    const at = (path: string): unknown => path.split(".").reduce<unknown>((it, key) => (isJson(it) ? it[key] : undefined), whole);
    const isFile = (path: string): boolean => new RegExp(`\\b${path.split(".").at(-1)}\\b`).test(text) && path.endsWith("File");
    for (const path of all.filter((it) => it !== "failpoint")) t.ok(at(path) !== undefined || isFile(path), path); // failpoints are for tests alone
    const { error } = schema.safeParse(whole);
    t.same(
      (error?.issues ?? []).filter(({ code }) => code === "unrecognized_keys"),
      [],
    );
  });
}

const LEAST = {
  LONGSHORE_INSTALLATION: "prod",
  LONGSHORE_BROKER_URL: "amqp://localhost",
  LONGSHORE_LEDGER_URL: "postgres://localhost",
  LONGSHORE_LEDGER_KEY_FILE: file("key", "0123456789abcdef0123456789abcdef"),
  LONGSHORE_GROUPS_FILE: file("groups.yaml", "groups: {}\n"),
};

function read(env: Readonly<Record<string, string>>) {
  try {
    return readConfig(LauncherConfig, { env: { ...LEAST, ...env } });
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems;
    throw error;
  }
}

t.test("--help tells each setting of the launcher, and the default that it tells is the one that counts", async (t) => {
  const help = settingsHelp(LauncherConfig);
  const entries = [...help.matchAll(/^ {2}(\S+) {2}(\S+)\n {6}(.+); (.+)$/gm)];
  t.same(entries.map(([, path = ""]) => path).toSorted(), places(z.toJSONSchema(LauncherConfig, { io: "input" })).toSorted());
  const usual = JSON.stringify(read({})); // it shows secrets as [redacted]
  let tried = 0;
  for (const [, path = "", variable = "", , said = ""] of entries) {
    t.equal(variable, environmentName(path.split(".")));
    const [, text] = /^default (?!none)(.*)$/.exec(said) ?? [];
    if (text === undefined) continue;
    t.equal(JSON.stringify(read({ [variable]: text })), usual, `${variable}=${text}`);
    tried++;
  }
  t.ok(tried > 25, `${tried} settings have a default`);
  for (const line of [
    "file; required",
    "duration; default 24h",
    "1 to 1000; default 128",
    "true | false; default true",
    "secret text; required, or broker.urlFile",
  ])
    t.match(help, `      ${line}\n`);
});

t.test("a launcher needs no file: lists and maps are variables, too", async (t) => {
  const config = read({
    LONGSHORE_OPERATORS: "ann, bob",
    LONGSHORE_DEFAULTS_RETRIES_ON: "never-started,failure",
    LONGSHORE_DEFAULTS_GIVE_UP_AFTER: "ImageNotFound=90s, ConfigMissing=5m",
    LONGSHORE_BROKER_NAMES_COMMANDS: "team.commands",
  });
  t.match(config, {
    operators: ["ann", "bob"],
    defaults: { retries: { on: ["never-started", "failure"] }, giveUpAfter: { ImageNotFound: 90_000, ConfigMissing: 300_000 } },
  });
  t.match(read({ LONGSHORE_OPERATORS: "everyone" }), { operators: "everyone" });
  t.match(read({ LONGSHORE_OPERATORS: "" }), { operators: [] });
  if ("broker" in config) t.match(brokerOf(config).names, { commands: "team.commands", facts: "longshore.facts" });
  else t.fail(config.join("\n"));
});

const wrong = [
  { name: "a code that is none", env: { LONGSHORE_DEFAULTS_GIVE_UP_AFTER: "ImageNotFond=2m" }, says: /^LONGSHORE_DEFAULTS_GIVE_UP_AFTER: defaults\.giveUpAfter\.ImageNotFond: no such setting; did you mean "ImageNotFound"\?$/ },
  { name: "a code that nobody can have meant", env: { LONGSHORE_DEFAULTS_GIVE_UP_AFTER: "x=2m" }, says: /^LONGSHORE_DEFAULTS_GIVE_UP_AFTER: defaults\.giveUpAfter\.x: no such setting; known here: AuthRejected, / },
  { name: "a code without its duration", env: { LONGSHORE_DEFAULTS_GIVE_UP_AFTER: "ImageNotFound" }, says: /^LONGSHORE_DEFAULTS_GIVE_UP_AFTER: defaults\.giveUpAfter\.ImageNotFound: is missing$/ },
  { name: "a cause that is none", env: { LONGSHORE_DEFAULTS_RETRIES_ON: "failures" }, says: /^LONGSHORE_DEFAULTS_RETRIES_ON: defaults\.retries\.on\.0: / },
  { name: "a queue's name that no broker takes", env: { LONGSHORE_BROKER_NAMES_FACTS: "our facts" }, says: /^LONGSHORE_BROKER_NAMES_FACTS: broker\.names\.facts: a name at the broker has/ },
  { name: "one name for two", env: { LONGSHORE_BROKER_NAMES_FACTS: "longshore.commands" }, says: /broker\.names\.facts: "longshore\.commands" is the name of commands as well/ },
] as const; // biome-ignore format: a table
for (const { name, env, says } of wrong)
  t.test(`a variable is judged as the file is: ${name}`, async (t) => {
    const problems = read(env);
    t.ok(Array.isArray(problems) && problems.some((it: string) => says.test(it)), JSON.stringify(problems));
  });
