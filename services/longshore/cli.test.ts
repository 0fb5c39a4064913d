import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "@longshore/contract/problem.ts";
import t from "tap";
import { type Command, type Surroundings, Usage } from "./command.ts";
import { demo } from "./commands/demo.ts";
import { doctor } from "./commands/doctor.ts";
import { explain } from "./explain.ts";
import { group } from "./commands/group.ts";
import { publish } from "./commands/publish.ts";
import { rbac } from "./commands/rbac.ts";
import { runs } from "./commands/runs.ts";
import { up } from "./commands/up.ts";

const main = join(import.meta.dirname, "main.ts");

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs one `longshore` command in a folder in which no Longshore runs. */
function longshore(cwd: string, args: readonly string[]): Promise<Ended> {
  return new Promise((done, failed) => {
    const { LONGSHORE_CONFIG: _, ...env } = process.env;
    const child = spawn(process.execPath, [main, ...args], { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (bytes: Buffer) => out.push(bytes));
    child.stderr.on("data", (bytes: Buffer) => err.push(bytes));
    child.on("error", failed);
    child.on("close", (code) => done({ code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }));
  });
}

const COMMANDS: Readonly<Record<string, Command>> = { up, demo, publish, runs, group, doctor, rbac };

interface Case {
  readonly name: string;
  readonly args: readonly string[];
  readonly code: number;
  readonly says: RegExp;
}

const wrong: readonly Case[] = [
  { name: "runs without a verb", args: ["runs"], code: 64, says: /runs needs one of list, show/ },
  { name: "an unknown verb", args: ["runs", "frob"], code: 64, says: /not "frob"/ },
  { name: "a verb without its run", args: ["runs", "show"], code: 64, says: /needs a run's id/ },
  { name: "a word too many", args: ["runs", "show", "a", "b"], code: 64, says: /takes no "b"/ },
  { name: "a misspelt filter, which would look like an empty list", args: ["runs", "list", "--state", "activ"], code: 64, says: /--state is one of active/ },
  { name: "a text that is no number", args: ["runs", "list", "--most", "many"], code: 64, says: /--most is a number/ },
  { name: "giving up without saying it twice", args: ["runs", "abandon", "a"], code: 64, says: /as lost, whatever its Job does.*Say --yes/ },
  { name: "group without a verb", args: ["group"], code: 64, says: /group needs one of list, pause, resume, drain, accept/ },
  { name: "a pause of nothing", args: ["group", "pause"], code: 64, says: /needs a group's name/ },
  { name: "a drain for a text that is no time", args: ["group", "drain", "a", "--timeout", "soon"], code: 64, says: /a duration such as 90s/ },
  { name: "a time for a command that does not wait", args: ["group", "pause", "a", "--timeout", "5s"], code: 64, says: /takes no --timeout/ },
  { name: "saying yes to a command that gives nothing up", args: ["group", "drain", "a", "--yes"], code: 64, says: /takes no --yes/ },
  { name: "publish of nothing", args: ["publish"], code: 64, says: /needs --image or --file/ },
  { name: "a variable without a value", args: ["publish", "--image", "a", "--env", "X"], code: 64, says: /write NAME=VALUE/ },
  { name: "an unknown option", args: ["doctor", "--frob"], code: 64, says: /Unknown option '--frob'/ },
  { name: "an option of a command that has none", args: ["demo", "--fast"], code: 64, says: /Unknown option '--fast'/ },
  { name: "rbac without a name", args: ["rbac"], code: 64, says: /needs one group or namespace/ },
  { name: "a request that cannot be read", args: ["publish", "--file", "missing.yaml"], code: 1, says: /missing\.yaml cannot be read/ },
  { name: "a request that is no YAML", args: ["publish", "--file", "bad.yaml"], code: 1, says: /bad\.yaml is no YAML/ },
  { name: "a request that is a list", args: ["publish", "--file", "list.yaml"], code: 1, says: /holds no request/ },
  { name: "a request with a mistake beside its secret", args: ["publish", "--file", "secret.yaml"], code: 1, says: /^\S+secret\.yaml is no YAML: line 2, column 7: (?!.*CANARY)/s },
  { name: "a ledger whose password must be spelt otherwise", args: ["up", "--ledger", "postgres://u:CAN/ARY@host/db"], code: 64, says: /^--ledger is no URL(?!.*CAN)/s },
  { name: "up with a kubeconfig that is not there", args: ["up", "--kubeconfig", "missing.yaml"], code: 1, says: /missing\.yaml cannot be read: it does not exist\. .*--kubeconfig FILE/ },
  { name: "up with a context that is not there", args: ["up", "--kubeconfig", "gone.yaml", "--context", "prod"], code: 1, says: /gone\.yaml has no context "prod"; it has gone\. .*--context NAME/ },
  { name: "up with a cluster that does not answer", args: ["up", "--kubeconfig", "gone.yaml", "--namespace", "batch"], code: 1, says: /cluster of \S+gone\.yaml cannot be used\. .*https:\/\/127\.0\.0\.1:1 .*nothing listens.* Check the port/ },
  { name: "a question in a folder in which nothing runs", args: ["runs", "list"], code: 1, says: /no Longshore runs from this folder/ },
  { name: "a doctor in a folder in which nothing runs", args: ["doctor"], code: 1, says: /no Longshore runs from this folder/ },
]; // biome-ignore format: a table is read down its columns

const GONE = `
current-context: gone
contexts: [{ name: gone, context: { cluster: gone, user: ada } }]
clusters: [{ name: gone, cluster: { server: "https://127.0.0.1:1" } }]
users: [{ name: ada, user: { token: secret } }]
`;

t.test("a wrong command line, or a file that cannot be read, is told in a sentence", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-cli-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  await writeFile(join(home, "bad.yaml"), "a: [");
  await writeFile(join(home, "list.yaml"), "- a\n");
  await writeFile(join(home, "gone.yaml"), GONE);
  await writeFile(join(home, "secret.yaml"), "env:\n  pw: !CANARY!x y\n");

  const surroundings: Surroundings = { out: () => undefined, env: {}, cwd: home, signal: new AbortController().signal };
  for (const { name, args, code, says } of wrong) {
    const [command = "", ...rest] = args.map((it) => (it.endsWith(".yaml") ? join(home, it) : it));
    const said = explain(await COMMANDS[command]?.run(rest, surroundings).catch((error: unknown) => error));
    t.match(said, { exitCode: code, text: says }, name);
  }
});

t.test("main.ts finds the command, says its help, and ends with the code that it deserves", async (t) => {
  const starts = [["--help"], ...Object.keys(COMMANDS).map((name) => [name, "--help"]), ["toString"], ["runs", "list"]];
  const ended = await Promise.all(starts.map((args) => longshore(tmpdir(), args)));
  for (const [n, { code, out, err }] of ended.entries()) {
    const args = starts[n] ?? [];
    if (args.includes("--help")) t.match({ code, err, out }, { code: 0, err: "", out: /^longshore/ }, args.join(" "));
    else
      t.match(
        { code, err, out },
        { code: args.length === 1 ? 64 : 1, err: /^longshore: (there is no command "toString"|no Longshore runs)/, out: "" },
      );
  }
});

t.test("rbac prints objects that can be applied, and never a wildcard", async (t) => {
  let out = "";
  const signal = new AbortController().signal;
  t.equal(await rbac.run(["batch"], { out: (text) => void (out += text), env: {}, cwd: "", signal }), 0);
  t.match(out, /kind: Role\n/);
  t.notMatch(out, /\*/);
});

t.test("rbac gives the watcher of a group that is polled no right to watch, and others have it", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-rbac-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const group = (more: string) => `{ cluster: { server: "https://a:6443" }, namespaces: [x, y]${more} }`;
  await writeFile(join(home, "groups.yaml"), `groups: { a: ${group(", poll: 10s")}, b: ${group("")} }\n`);
  const printed = async (name: string) => {
    let out = "";
    const surroundings = { out: (text: string) => void (out += text), env: {}, cwd: home, signal: new AbortController().signal };
    await rbac.run([name, "--groups", "groups.yaml", "--role", "watcher"], surroundings);
    return out;
  };
  for (const name of ["a", "a/x"]) t.notMatch(await printed(name), /- watch\n/, name);
  for (const name of ["b", "b/x"]) t.match(await printed(name), /- list\n[^-]*- watch\n/, name);
});

const login = new Failure("halt", "LedgerLogin", "The ledger refuses the password.");
const broken = new Failure("halt", "BrokerLogin", "The broker refuses the password.");

for (const { name, error, want } of [
  { name: "a wrong command line", error: new Usage("so not"), want: { exitCode: 64, text: /^so not\n/ } },
  { name: "a failure", error: login, want: { exitCode: 1, text: /^The ledger refuses the password\.$/ } },
  { name: "a failure that ended a loop", error: new Error("the loop failed", { cause: login }), want: { exitCode: 1, text: /^The ledger refuses/ } },
  {
    name: "the same failure of two loops, said once",
    error: new AggregateError([new Error("a", { cause: login }), new Error("b", { cause: login })]),
    want: { exitCode: 1, text: /^The ledger refuses the password\.$/ },
  },
  { name: "two failures", error: new AggregateError([login, new Error("b", { cause: broken })]), want: { exitCode: 1, text: /ledger.*\n.*broker/ } },
  { name: "a bug", error: new TypeError("x is not a function"), want: { exitCode: 2, text: /this is a bug/ } },
  { name: "a bug beside a failure", error: new AggregateError([login, new TypeError("x")]), want: { exitCode: 2, text: /this is a bug/ } },
  { name: "something that is no error", error: "thrown", want: { exitCode: 2, text: /thrown/ } },
])
  t.match(explain(error), want, `explains ${name}`); // biome-ignore format: a table is read down its columns
