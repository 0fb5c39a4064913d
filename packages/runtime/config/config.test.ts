/**
 * Settings from a file and the environment: which one wins, which values are refused, and that all mistakes are told at once.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import t from "tap";
import { z } from "zod";
import { ConfigProblems, readConfig, withoutSettings } from "./config.ts";
import { oneSecret, readableFile, secretFile, secretOf, secretSetting } from "./secret-settings.ts";

const Schema = z.strictObject({
  installation: z.string(),
  broker: z.strictObject({ url: z.string(), ...secretSetting("password") }).check(oneSecret("password", "optional")),
  ledger: z.strictObject({ ...secretSetting("url"), keyFile: secretFile().optional() }).check(oneSecret("url")),
  groupsFile: readableFile().optional(),
  lanes: z.number().int().min(1).default(8),
  verbose: z.boolean().default(false),
  tenants: z.record(z.string(), z.strictObject({ activeMax: z.number() })).default({}),
});

const sound = `
installation: prod
broker: { url: "amqp://localhost" }
ledger: { urlFile: ledger-url }
`;

function folder(t: { teardown(end: () => void): void }, files: Readonly<Record<string, string>>) {
  const path = mkdtempSync(join(tmpdir(), "longshore-config-"));
  t.teardown(() => rmSync(path, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return (name: string) => join(path, name);
}

function problemsOf(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems;
    throw error;
  }
  return [];
}

t.test("reads a file: defaults filled in, paths from the file's folder, secrets read, the value frozen", async (t) => {
  const at = folder(t, { "launcher.yaml": sound, "ledger-url": "postgres://u:p@host/db\n", key: "k" });
  const config = readConfig(Schema, { file: at("launcher.yaml"), env: {} });
  t.equal(config.installation, "prod");
  t.equal(config.lanes, 8);
  t.equal(secretOf(config.ledger, "url")?.reveal(), "postgres://u:p@host/db", "without the line end of the file");
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.broker) && Object.isFrozen(config.tenants));
  for (const printed of [JSON.stringify(config), inspect(config), String(secretOf(config.ledger, "url"))]) {
    t.notMatch(printed, "postgres:", "a secret does not print");
    t.match(printed, "[redacted]");
  }
});

t.test("the environment wins over the file, and may set what the file leaves out", async (t) => {
  const at = folder(t, { "launcher.yaml": sound, "ledger-url": "x" });
  const env = {
    LONGSHORE_BROKER_URL: "amqp://other",
    LONGSHORE_BROKER_PASSWORD: "pw",
    LONGSHORE_LANES: "3",
    LONGSHORE_VERBOSE: "true",
    LONGSHORE_SERVICE_PORT: "80",
  };
  const config = readConfig(Schema, { file: at("launcher.yaml"), env });
  t.equal(config.broker.url, "amqp://other");
  t.equal(secretOf(config.broker, "password")?.reveal(), "pw");
  t.equal(config.lanes, 3);
  t.equal(config.verbose, true);
});

const others: Readonly<Record<string, string>> = {
  // Kubernetes sets these variables in every pod of a namespace that has a Service "longshore", and a Service
  // "longshore-launcher" whose port has a name.
  LONGSHORE_SERVICE_HOST: "10.0.0.1",
  LONGSHORE_PORT: "tcp://10.0.0.1:9090",
  LONGSHORE_LAUNCHER_SERVICE_HOST: "10.0.0.2",
  LONGSHORE_LAUNCHER_SERVICE_PORT: "9090",
  LONGSHORE_LAUNCHER_SERVICE_PORT_HEALTH: "9090",
  LONGSHORE_LAUNCHER_PORT: "tcp://10.0.0.2:9090",
  LONGSHORE_LAUNCHER_PORT_9090_TCP: "tcp://10.0.0.2:9090",
  LONGSHORE_LAUNCHER_PORT_9090_TCP_PROTO: "tcp",
  LONGSHORE_LAUNCHER_PORT_9090_TCP_PORT: "9090",
  LONGSHORE_LAUNCHER_PORT_9090_TCP_ADDR: "10.0.0.2",
  LONGSHORE_CONFIG: "launcher.yaml",
  LONGSHORE_RUN: "a",
  LONGSHORE_STEP: "main",
  LONGSHORE_ATTEMPT: "1",
  LONGSHORE_TEST_RUN: "a test of ours",
  OTHER_VERBOSE: "1",
};
const least = { LONGSHORE_INSTALLATION: "x", LONGSHORE_BROKER_URL: "y", LONGSHORE_LEDGER_URL: "z" };

t.test("variables that Kubernetes or a run of ours has put there are no settings, and refuse nothing", async (t) => {
  t.same(problemsOf(() => readConfig(Schema, { env: { ...least, ...others } })), []); // biome-ignore format: one call
  t.same(withoutSettings({ ...least, ...others, LONGSHORE_VERBOSE: "true" }), others);
});

t.test("any other variable with our prefix refuses the start and is named, without its value", async (t) => {
  const env = { ...least, LONGSHORE_LANE: "3", LONGSHORE_BROKER_PORT: "5672", LONGSHORE_SECRET_OF_MINE: "CANARY" };
  const problems = problemsOf(() => readConfig(Schema, { env }));
  t.same(problems, [
    "LONGSHORE_LANE: no such setting; did you mean LONGSHORE_LANES?",
    "LONGSHORE_BROKER_PORT: no such setting; correct the variable's name, or unset it",
    "LONGSHORE_SECRET_OF_MINE: no such setting; correct the variable's name, or unset it",
  ]);
  const beside = [z.strictObject({ lane: z.number(), broker: z.strictObject({ port: z.number() }) })];
  const left = problemsOf(() => readConfig(Schema, { env, beside }));
  t.match(left, [/^LONGSHORE_SECRET_OF_MINE/], "what another program in this process has is known");
  t.equal(left.length, 1);
});

t.test("needs no file", async (t) => {
  const env = { LONGSHORE_INSTALLATION: "x", LONGSHORE_BROKER_URL: "y", LONGSHORE_LEDGER_URL: "z" };
  t.equal(readConfig(Schema, { env }).installation, "x");
});

t.test("says everything that is wrong at once, with its line and what was meant", async (t) => {
  const text = `
instalation: prod
broker:
  urll: amqp://localhost
  password: pw
  passwordFile: nowhere
ledger: {}
groupsFile: groups.yaml
lanes: many
tenants:
  shop: { activeMax: 3, actveMax: 4 }
`;
  const at = folder(t, { "launcher.yaml": text });
  const file = at("launcher.yaml");
  const problems = problemsOf(() => readConfig(Schema, { file, env: { LONGSHORE_VERBOS: "1", LONGSHORE_VERBOSE: "perhaps" } }));
  const wanted = [
    "LONGSHORE_VERBOS: no such setting; did you mean LONGSHORE_VERBOSE?",
    "LONGSHORE_VERBOSE: verbose: Invalid input: expected boolean, received string",
    `${file}:2: instalation: no such setting; did you mean "installation"?`,
    `${file}:4: broker.urll: no such setting; did you mean "url"?`,
    `${file}:5: broker.password: give password or passwordFile, not both`,
    `${file}:6: broker.passwordFile: cannot be read (ENOENT: no such file or directory, open '${at("nowhere")}')`,
    `${file}:7: ledger.url: is missing; give url or urlFile`,
    `${file}:8: groupsFile: cannot be read (ENOENT`,
    `${file}:9: lanes: Invalid input: expected number, received string`,
    `${file}:11: tenants.shop.actveMax: no such setting; did you mean "activeMax"?`,
  ];
  for (const want of wanted)
    t.ok(
      problems.some((it) => it.startsWith(want)),
      want,
    );
  t.equal(problems.length, wanted.length, problems.join("\n"));
});

const misspelt: readonly { readonly name: string; readonly text: string; readonly env?: Readonly<Record<string, string>> }[] = [
  { name: "a key", text: sound.replace("installation", "instalation") },
  { name: "a key that holds others", text: sound.replace("broker", "brokr") },
  { name: "a key that may stand in place of another", text: sound.replace("urlFile", "urlFil") },
  { name: "a variable", text: sound.replace("installation: prod", ""), env: { LONGSHORE_INSTALATION: "prod" } },
  {
    name: "a variable of a part that is not in the file",
    text: sound.replace(/broker.*/, ""),
    env: { LONGSHORE_BROKER_URLL: "x" },
  },
];
for (const { name, text, env = {} } of misspelt)
  t.test(`of ${name} that is misspelt, it is not said besides that the meant one is missing`, async (t) => {
    const at = folder(t, { "launcher.yaml": text, "ledger-url": "x" });
    t.match(problemsOf(() => readConfig(Schema, { file: at("launcher.yaml"), env })), [/did you mean/]); // biome-ignore format: one call
  });

t.test("a misspelt key does not hide that another is missing", async (t) => {
  const at = folder(t, { "launcher.yaml": "instalation: x\nledger: { url: x }\n" });
  t.same(problemsOf(() => readConfig(Schema, { file: at("launcher.yaml"), env: {} })).length, 2);
});

t.test("the known settings that a person is told of are not those of tests", async (t) => {
  const at = folder(t, { "launcher.yaml": "zzzzzzzz: 1\n" });
  const schema = z.strictObject({ lanes: z.number().optional(), failpoint: z.string().meta({ isForTests: true }).optional() });
  t.match(problemsOf(() => readConfig(schema, { file: at("launcher.yaml"), env: {} })), [/known here: lanes$/]); // biome-ignore format: one call
});

/** A short text whose value grows without bound: each line holds the line before it ten times. */
function bomb(lines: number): string {
  const levels = Array.from({ length: lines }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(10).fill(`*a${n}`).join(", ")}]`);
  return ["a0: &a0 x", ...levels, ""].join("\n");
}

const unreadable: readonly { readonly name: string; readonly text?: string; readonly want: RegExp }[] = [
  { name: "a file that is not there", want: /config\.yaml: cannot be read \(ENOENT.*--config FILE/ },
  { name: "a file that is not YAML", text: "a: [1", want: /config\.yaml:1:6: not YAML: .*bracket/ },
  { name: "a key that stands twice", text: "lanes: 1\nlanes: 2\n", want: /config\.yaml:2:1: not YAML: .*unique/ },
  { name: "a list where settings should be", text: "- a\n", want: /has to hold a map of settings/ },
  {
    name: "aliases that repeat each other ten thousand times",
    text: bomb(4),
    want: /config\.yaml:1:1: not YAML: its aliases .* repeat too much/,
  },
];
for (const { name, text, want } of unreadable) {
  t.test(`refuses ${name}`, async (t) => {
    const at = folder(t, text === undefined ? {} : { "config.yaml": text });
    const problems = problemsOf(() => readConfig(Schema, { file: at("config.yaml"), env: {} }));
    t.match(problems[0], want);
    t.notMatch(problems.join("\n"), "is missing", "nobody knows");
  });
}

const besideSecret: readonly { readonly name: string; readonly text: string }[] = [
  { name: "an indentation that slips below it", text: "broker:\n    password: CANARY\n  url: x\n" },
  { name: "a bracket that is not closed after it", text: "broker: { password: CANARY\n" },
  { name: "a quote within it", text: "broker:\n  password: 'it's-CANARY'\n" },
  { name: "one that begins as an alias does", text: "broker:\n  password: *CANARY\n" },
  { name: "one that begins as a tag does", text: "broker:\n  password: !x!CANARY pw\n" },
  { name: "one that begins as a block does", text: "broker:\n  password: |CANARY\n" },
  { name: "one with a backslash in double quotes", text: 'broker:\n  password: "\\CANARY"\n' },
  { name: "one that begins as a directive does", text: "%CANARY\nbroker: {}\n" },
  { name: "a bracket before it", text: "broker: x\n}CANARY\n" },
  { name: "no blank before it", text: "broker: { password:CANARY }\n" },
  { name: "a comma within it", text: "broker: { password: pw,CANARY }\n" },
  { name: "the secret where a map should be", text: "broker: CANARY\n" },
  { name: "it twice", text: "broker:\n  password: CANARY\n  password: CANARY\n" },
];
for (const { name, text } of besideSecret) {
  t.test(`a mistake beside a secret is told by its line, and not with the secret: ${name}`, async (t) => {
    const at = folder(t, { "config.yaml": text });
    const problems = problemsOf(() => readConfig(Schema, { file: at("config.yaml"), env: {} }));
    t.ok(
      problems.some((it) => /config\.yaml:\d/.test(it)),
      problems.join("\n"),
    );
    t.notMatch(problems.join("\n"), /C?ANARY/);
  });
}

t.test("refuses an empty secret", async (t) => {
  const at = folder(t, { "launcher.yaml": sound, "ledger-url": "\n" });
  const [problem] = problemsOf(() => readConfig(Schema, { file: at("launcher.yaml"), env: {} }));
  t.match(problem, /launcher\.yaml:4: ledger\.urlFile: .*ledger-url is empty/);
});
