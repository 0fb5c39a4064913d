import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GroupName, Installation, RunId } from "@longshore/contract/ids.ts";
import { Corrections } from "@longshore/contract/messages/command.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";
import t from "tap";
import manifest from "./package.json" with { type: "json" };
import { command, family, json, JSON_OPTION, type Surroundings, Usage } from "./command.ts";
import { COMMANDS, longshore } from "./main.ts";
import { plain } from "./screen/text.ts";
import { explain } from "./explain.ts";
import { groups } from "./commands/doctor/groups.ts";
import { commandOf } from "./checked-command.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { newRun, publish, unknownGroupsIn } from "./commands/publish.ts";
import { refuseWithoutFailure } from "./commands/runs/corrections.ts";
import { exitCodeOf } from "./following.ts";
import { noRuns } from "./status.ts";

const main = join(import.meta.dirname, "main.ts");

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs one `longshore` command as a process of its own, in a folder in which no Longshore runs. */
function started(cwd: string, args: readonly string[]): Promise<Ended> {
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

interface Case {
  readonly name: string;
  readonly args: readonly string[];
  readonly code: number;
  readonly says: RegExp;
}

const wrong: readonly Case[] = [
  { name: "a command that every object has", args: ["toString"], code: 64, says: /^there is no command "toString"/ },
  { name: "a misspelt command", args: ["run"], code: 64, says: /; did you mean runs\?\nlongshore --help/ },
  { name: "an option before the command", args: ["--json", "runs"], code: 64, says: /^there is no option "--json"; a command comes first/ },
  { name: "runs without a verb, which is the list", args: ["runs", "--most", "many"], code: 64, says: /--most is a number/ },
  { name: "an unknown verb", args: ["runs", "frob"], code: 64, says: /not "frob"/ },
  { name: "a verb without its run", args: ["runs", "show"], code: 64, says: /needs a run's id/ },
  { name: "a word too many", args: ["runs", "show", "a", "b"], code: 64, says: /takes no "b"/ },
  { name: "a misspelt filter, which would look like an empty list", args: ["runs", "list", "--state", "activ"], code: 64, says: /--state is one of accepted, [^]*failed/ },
  { name: "a text that is no number", args: ["runs", "list", "--most", "many"], code: 64, says: /--most is a number/ },
  { name: "giving up without saying it twice", args: ["runs", "abandon", "a"], code: 64, says: /as lost, whatever its Job does.*Say --yes/ },
  { name: "group without a verb, and an option of another one", args: ["group", "--timeout", "5s"], code: 64, says: /group list has no option --timeout/ },
  { name: "a pause of nothing", args: ["group", "pause"], code: 64, says: /needs a group's name/ },
  { name: "a drain for a text that is no time", args: ["group", "drain", "a", "--timeout", "soon"], code: 64, says: /a duration such as 90s/ },
  { name: "a time for a command that does not wait", args: ["group", "pause", "a", "--timeout", "5s"], code: 64, says: /takes no --timeout/ },
  { name: "saying yes to a command that gives nothing up", args: ["group", "drain", "a", "--yes"], code: 64, says: /takes no --yes/ },
  { name: "publish of nothing", args: ["publish"], code: 64, says: /needs --image, --definition or --file/ },
  { name: "an image beside a definition", args: ["publish", "--definition", "a", "--image", "b"], code: 64, says: /^--definition says what runs: --image cannot change that/ },
  { name: "a command beside a definition", args: ["publish", "--definition", "a", "--", "sh"], code: 64, says: /^--definition says what runs: it takes no command "sh"/ },
  { name: "a parameter of no definition", args: ["publish", "--image", "a", "-p", "x=1"], code: 64, says: /^-p gives a parameter of a definition/ },
  { name: "a letter without its value", args: ["publish", "--definition", "a", "-p"], code: 64, says: /^-p needs a value: -p NAME=VALUE/ },
  { name: "a definition in a folder in which nothing runs", args: ["publish", "--definition", "a"], code: 1, says: /no running Longshore in this folder/ },
  { name: "up with definitions that are not there", args: ["up", "--definitions", "nowhere"], code: 1, says: /nowhere: cannot be read/ },
  { name: "a variable without a value", args: ["publish", "--image", "a", "--env", "X"], code: 64, says: /write NAME=VALUE/ },
  { name: "an unknown option", args: ["doctor", "--frob"], code: 64, says: /^doctor has no option --frob\nlongshore doctor --help/ },
  { name: "a misspelt option", args: ["publish", "--image", "a", "--folow"], code: 64, says: /^publish has no option --folow; did you mean --follow\?/ },
  { name: "an option that other programs have", args: ["runs", "--limit", "0"], code: 64, says: /^runs has no option --limit; did you mean --most\?/ },
  { name: "the beginning of an option", args: ["publish", "--img", "a"], code: 64, says: /no option --img; did you mean --image\?/ },
  { name: "the beginning of an option, of all its letters", args: ["publish", "--fo"], code: 64, says: /no option --fo; did you mean --follow\?/ },
  { name: "an option of the program that is to be run", args: ["publish", "--image", "a", "sh", "-c", "true"], code: 64, says: /no option -c\. .*stands after --\n/ },
  { name: "an option of another verb", args: ["runs", "show", "a", "--state", "ended"], code: 64, says: /^runs show takes no --state; runs list can/ },
  { name: "an option without its value", args: ["publish", "--image"], code: 64, says: /^--image needs a value: --image IMAGE/ },
  { name: "an option whose value was left out", args: ["publish", "--run", "--follow"], code: 64, says: /^--run needs a value, and "--follow" looks like an option/ },
  { name: "a value for an option that takes none", args: ["publish", "--follow=yes"], code: 64, says: /^--follow takes no value/ },
  { name: "a misspelt verb", args: ["runs", "lst"], code: 64, says: /not "lst"; did you mean list\?\nlongshore runs --help/ },
  { name: "a shell that we do not know", args: ["completion", "fish"], code: 64, says: /no completion for "fish"; there is for bash and zsh/ },
  { name: "an option of a command that has none", args: ["demo", "--fast"], code: 64, says: /^demo has no option --fast/ },
  { name: "rbac without a name", args: ["rbac"], code: 64, says: /needs one group, or a namespace/ },
  { name: "rbac for a group, where no file names groups", args: ["rbac", "nosuch"], code: 64, says: /no groups file says what the group "nosuch" is.*--groups FILE.*longshore rbac --namespace nosuch/ },
  { name: "rbac for a group that the file does not have", args: ["rbac", "prod-b", "--groups", "groups.yaml"], code: 64, says: /has no group "prod-b" \(it has prod-a\); did you mean prod-a\?.*longshore rbac --namespace prod-b/ },
  { name: "an id that is none", args: ["publish", "--image", "a", "--run", "bad id!"], code: 64, says: /^--run 'bad id!': .*\nlongshore publish --help/ },
  { name: "a group that is none, and an image that is none", args: ["publish", "--image", "", "--group", "ok", "--group", "No Group"], code: 64, says: /^--image '': .*\n--group 'No Group': / },
  { name: "a variable with a name that no shell takes", args: ["publish", "--image", "a", "--env", "A B=CANARY"], code: 64, says: /^--env A B: (?!.*CANARY)/s },
  { name: "a restart from a step that no run has", args: ["runs", "restart", "a", "--from", "No Step"], code: 64, says: /^--from 'No Step': / },
  { name: "a restart that is to be followed, as it is anyway", args: ["runs", "restart", "a", "--follow"], code: 1, says: /no running Longshore in this folder/ },
  { name: "a correction of what no restart corrects", args: ["runs", "restart", "a", "--with", "image=b c"], code: 64, says: /^--with image: / },
  { name: "another run than the file's", args: ["publish", "--file", "named.yaml", "--run", "b"], code: 64, says: /^\S+named\.yaml has the run "a", and --run says "b"/ },
  { name: "an image beside a file", args: ["publish", "--file", "named.yaml", "--image", "b"], code: 64, says: /^--file holds the whole request: write what --image says into \S+named\.yaml/ },
  { name: "a command beside a file", args: ["publish", "--file", "named.yaml", "--", "sh"], code: 64, says: /^--file holds the whole request: write the command "sh" into \S+named\.yaml/ },
  { name: "a request that cannot be read", args: ["publish", "--file", "missing.yaml"], code: 1, says: /missing\.yaml cannot be read/ },
  { name: "a request that is no YAML", args: ["publish", "--file", "bad.yaml"], code: 1, says: /bad\.yaml is no YAML/ },
  { name: "a request that is a list", args: ["publish", "--file", "list.yaml"], code: 1, says: /holds no request/ },
  { name: "a request with a mistake beside its secret", args: ["publish", "--file", "secret.yaml"], code: 1, says: /^\S+secret\.yaml is no YAML: line 2, column 7: (?!.*CANARY)/s },
  { name: "a ledger whose password must be spelt otherwise", args: ["up", "--ledger", "postgres://u:CAN/ARY@host/db"], code: 64, says: /^--ledger is no URL(?!.*CAN)/s },
  { name: "up with a kubeconfig that is not there", args: ["up", "--kubeconfig", "missing.yaml"], code: 1, says: /missing\.yaml cannot be read: it does not exist\. .*--kubeconfig FILE/ },
  { name: "up with a kubeconfig that has no current context", args: ["up", "--kubeconfig", "none.yaml"], code: 1, says: /none\.yaml names no current context; it has gone\..*--context NAME/ },
  { name: "up with a context that is not there", args: ["up", "--kubeconfig", "gone.yaml", "--context", "prod"], code: 1, says: /gone\.yaml has no context "prod"; it has gone\. .*--context NAME/ },
  { name: "up with a cluster that does not answer", args: ["up", "--kubeconfig", "gone.yaml", "--namespace", "batch"], code: 1, says: /cluster of \S+gone\.yaml cannot be used\. .*https:\/\/127\.0\.0\.1:1 .*nothing listens.* Check the port/ },
  { name: "up with a namespace of no cluster", args: ["up", "--namespace", "batch"], code: 64, says: /--namespace is about a real cluster: .*--kubeconfig FILE/ },
  { name: "up with a context of no file", args: ["up", "--context", "foo"], code: 64, says: /--context is about a real cluster/ },
  { name: "up with a broker that is not there", args: ["up", "--data", "fresh", "--broker", "amqp://u:p@127.0.0.1:1/"], code: 1, says: /127\.0\.0\.1:1 refused the connection/ },
  { name: "up with its data in a file", args: ["up", "--data", "gone.yaml"], code: 1, says: /the data folder \S+gone\.yaml is a file; .*--data DIR/ },
  { name: "up with its data beneath a file", args: ["up", "--data", "gone.yaml/x"], code: 1, says: /lies in something that is no folder; .*--data DIR/ },
  { name: "up with its data where no folder can be", args: ["up", "--data", "/proc/x"], code: 1, says: /the data folder \/proc\/x .*; name another one: --data DIR/ },
  { name: "a question in a folder in which nothing runs", args: ["runs", "list"], code: 1, says: /no running Longshore in this folder/ },
  { name: "a doctor in a folder in which nothing runs", args: ["doctor"], code: 1, says: /no running Longshore in this folder/ },
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
  await writeFile(join(home, "named.yaml"), "run: a\nimage: busybox\n");
  await writeFile(join(home, "gone.yaml"), GONE);
  await writeFile(join(home, "none.yaml"), GONE.replace("current-context: gone", ""));
  await writeFile(join(home, "groups.yaml"), "groups: { prod-a: { cluster: { inCluster: true }, namespaces: [batch] } }\n");
  await writeFile(join(home, "secret.yaml"), "env:\n  pw: !CANARY!x y\n");

  const surroundings: Surroundings = { out: () => undefined, env: {}, cwd: home, signal: new AbortController().signal };
  for (const { name, args, code, says } of wrong) {
    const words = args.map((it) => (it.endsWith(".yaml") ? join(home, it) : it));
    const said = explain(await longshore(words, surroundings).catch((error: unknown) => error));
    t.match(said, { exitCode: code, text: says }, name);
  }
  t.same(await readdir(join(home, "fresh")), [], "no Postgres was started for a broker that is not there");
});

const pages = Object.values(COMMANDS).flatMap((it) => [it, ...Object.values(it.verbs)]);

const never = new AbortController().signal;

/** Runs a command in this process, and returns the text that it prints. */
async function printed(...args: readonly string[]): Promise<string> {
  let out = "";
  await longshore(args, { out: (text) => void (out += text), env: {}, cwd: tmpdir(), signal: never });
  return out;
}

t.test("the verbs of a family are named to a person alone, and not beneath JSON or in a pipe", async (t) => {
  const list = command({ name: "x list", summary: "", usage: [], options: { json: JSON_OPTION }, run: async () => 0 });
  const noted = async (args: readonly string[], columns: number | undefined) => {
    const notes: string[] = [];
    const screen = { columns, styled: false };
    const note = (text: string) => void notes.push(text);
    await family({ name: "x", summary: "", verbs: { list } }).run(args, {
      out: () => undefined,
      note,
      screen,
      env: {},
      cwd: "",
      signal: never,
    });
    return notes.length;
  };
  t.same([await noted([], 80), await noted(["--json"], 80), await noted([], undefined)], [1, 0, 0]);
});

t.test("Ctrl-C before the first output is answered with what was done until then", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-early-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  for (const [args, says] of [
    [["publish", "--image", "a"], ["stopped before it was published: nothing was sent."]],
    [["runs", "cancel", "a"], ["stopped before the cancel was sent: the run stays as it was."]],
    [["runs", "follow", "a"], []],
  ] as const) {
    const notes: string[] = [];
    const surroundings = { out: () => undefined, note: (text: string) => void notes.push(text), env: {}, cwd: home };
    await t.rejects(longshore(args, { ...surroundings, signal: AbortSignal.abort() }));
    t.same(notes, says, args.join(" "));
  }
});

t.test("an id that we make can be read out, and two of the same second differ", async (t) => {
  const at = Date.UTC(2030, 10, 30, 6, 7, 8);
  t.equal(newRun(at, Uint8Array.of(0, 31, 32, 200, 9)), "cli/1130-060708-0z089");
  t.not(newRun(at), newRun(at));
  t.ok(RunId.safeParse(newRun()).success);
});

t.test("a group that nobody has is told with those that there are, and with the one that was meant", async (t) => {
  const there = [{ name: GroupName.parse("pocket"), servedAtMs: systemClock.now() }];
  t.match(unknownGroupsIn(["poket"], there), /^No group is called poket; there is pocket\. Did you mean pocket\? The run waits/);
  t.match(unknownGroupsIn(["a", "b"], []), /^No group is called a or b; there is none\. The run waits/);
  for (const wanted of [undefined, [], ["pocket", "nope"]]) t.equal(unknownGroupsIn(wanted, there), undefined);
});

t.test("a filter that finds no run says so, and how many runs there are", async (t) => {
  t.equal(noRuns("waiting", 7, 9), "no runs are waiting; there are 7 runs in all: `longshore runs list`");
  t.match(noRuns("failed", 1, 9), /^no runs have failed; there is 1 run in all/);
  t.equal(noRuns("waiting", 0, 9), "no runs");
});

t.test("a restart of a run that succeeded is answered in one sentence, with the whole command", async (t) => {
  const record = (outcome: string) => ({ run: { id: "works/1", outcome } }) as never;
  const asked = { with: ["env.A=b c"], config: "x.yaml" };
  t.throws(() => refuseWithoutFailure(record("succeeded"), asked), {
    message:
      "every step of works/1 succeeded. To run them all again: `longshore runs restart works/1 --from start --with 'env.A=b c' --config x.yaml`",
  });
  refuseWithoutFailure(record("succeeded"), { from: "start" });
  refuseWithoutFailure(record("failed"), asked);
});

t.test("the help fits into 60 columns", async (t) => {
  let out = "";
  const screen = { columns: 60, styled: false };
  await longshore(["--help"], { out: (text) => void (out += text), screen, env: {}, cwd: tmpdir(), signal: never });
  for (const line of out.split("\n")) t.ok(line.length <= 60, line);
});

t.test("doctor warns of a groups file without a group", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-groups-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const groupsFile = join(home, "groups.yaml");
  await writeFile(groupsFile, "groups: {}\n");
  const found = await groups({ groupsFile, installation: Installation.parse("test") }, never);
  t.match(found, [{ part: "groups", state: "WARN", says: /no group, so every run waits/, todo: /deploy\/README\.md/ }]);
});

t.test("finds the command and the verb, and says its help", async (t) => {
  for (const [args, says] of [
    [["--help"], /^longshore: .*Exit codes/s],
    [["runs", "--help"], /^longshore runs: .*longshore runs VERB --help/s],
    [["runs", "restart", "--help"], /^longshore runs restart: .*wait.*--from WHERE/s],
    [["help", "runs", "restart"], /^longshore runs restart: /],
    [["--version"], new RegExp(`^longshore ${manifest.version.replaceAll(".", "\\.")}\n$`)],
  ] as const)
    t.match(await printed(...args), says, args.join(" "));
  await t.rejects(
    printed("publish", "--image", "a", "--", "x", "--help"),
    /there is no running Longshore/,
    "it is for the program",
  );
});

t.test("the request in the help of publish is one, and the help of restart names each field that it corrects", async (t) => {
  const help = await printed("publish", "--help");
  const yaml = help.split("\n").filter((it) => it.startsWith("    ") && !it.startsWith("      -"));
  const request = readYaml(yaml.filter((it) => /^ {4}( {2})?[\w]+:/.test(it)).join("\n")).value;
  t.match(request, { run: "orders/8812/export", resources: { limits: { memory: "512Mi" } }, retries: { max: 3 } });
  t.match(commandOf("run.requested", request as never), { key: "run.requested" });
  const restart = await printed("runs", "restart", "--help");
  for (const field of Object.keys(Corrections.shape)) t.match(restart, new RegExp(`[ :]${field}[.,\\s]`), field);
});

t.test("as a process it ends with the code that it deserves, and errors go to standard error", async (t) => {
  t.match(await started(tmpdir(), ["--help"]), { code: 0, out: /^longshore: /, err: /^$/ });
  t.match(await started(tmpdir(), ["runs", "list"]), { code: 1, out: /^$/, err: /^longshore: there is no running Longshore/ });
});

t.test("each page names its own options, and those that wait for a run's end say so", async (t) => {
  for (const { name, help: helpIn, options } of pages) {
    const help = helpIn();
    t.ok(help.startsWith(`longshore ${name}: `), name);
    t.same(
      [...help.matchAll(/^ {2}--(\S+)/gm)].map(([, it]) => it),
      Object.keys(options),
      name,
    );
    for (const line of help.split("\n")) t.ok(line.length <= 100, `${name}: ${line}`);
    const narrow = helpIn({ columns: 60, styled: false }).split("\n");
    const ways = narrow.slice(
      0,
      narrow.findIndex((it, index) => it === "" && narrow[index - 1]?.startsWith("  ") === true),
    );
    for (const line of ways) t.ok(line.length <= 60, `${name}: ${line}`);
    for (const line of narrow)
      t.ok(line.length <= 60 || line.startsWith("  longshore") || line.startsWith("  kubectl"), `${name}: ${line}`);
  }
  for (const name of ["restart", "cancel"] as const)
    t.match(COMMANDS["runs"]?.verbs[name]?.help(), /waits? until|wait for its end/);
});

t.test("the exit codes are those that help and README name", async (t) => {
  const codes = [...(await printed("--help")).matchAll(/^ {2}(\d+) {2,}/gm)].map(([, code]) => Number(code));
  const reached = [
    0,
    explain(new Failure("refuse", "A", "")).exitCode,
    explain("bug").exitCode,
    explain(new Usage("")).exitCode,
    exitCodeOf("stopped"),
  ];
  t.same(
    codes,
    reached.toSorted((a, b) => a - b),
  );
  const readme = await readFile(join(import.meta.dirname, "../../README.md"), "utf8");
  const row = /exit codes?:? [^.]*\./i.exec(readme)?.[0] ?? "";
  t.same(
    [...row.matchAll(/\b\d+\b/g)].map(([it]) => Number(it)),
    codes,
  );
});

t.test("a reader that goes away, as head does, ends a command without a word", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-pipe-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const { LONGSHORE_CONFIG: _, ...env } = process.env;
  const args = [main, "up", "--ledger", "postgres://u@127.0.0.1:1/x"];
  const child = spawn(process.execPath, args, { cwd: home, env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
  child.stdout.destroy();
  const err: Buffer[] = [];
  child.stderr.on("data", (bytes: Buffer) => err.push(bytes));
  const code = await new Promise((done) => child.on("close", done));
  const said = Buffer.concat(err)
    .toString()
    .replaceAll(/^.* …\n/gm, ""); // on a busy machine, what is waited for
  t.same({ code, said }, { code: 130, said: "" });
});

t.test("a file is looked for where npm was called, and not where npm starts its scripts", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-npm-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const from = join(home, "sub");
  await mkdir(from);
  await writeFile(join(from, "request.yaml"), "- a\n");
  const said = async (cwd: string) => {
    const env = { INIT_CWD: from, npm_package_json: join(home, "package.json") };
    const surroundings = { out: () => undefined, env, cwd, signal: new AbortController().signal };
    return explain(await publish.run(["--file", "request.yaml"], surroundings).catch((error: unknown) => error)).text;
  };
  t.match(await said(home), /holds no request/);
  t.match(await said(tmpdir()), /cannot be read/, "a script that went elsewhere itself means that folder");
});

t.test("JSON holds nothing that a terminal obeys", async (t) => {
  const text = json({ run: "a\u001b[2J\u009b31m\u007f" });
  t.equal(plain(text), text);
  t.same(JSON.parse(text), { run: "a\u001b[2J\u009b31m\u007f" });
});

t.test(
  "help says first that LONGSHORE_CONFIG names the settings, where a command falls back to this folder's Longshore",
  async (t) => {
    for (const args of [["group", "drain"], ["runs", "list"], ["rbac"]])
      t.match(
        (await printed(...args, "--help")).replaceAll(/\s+/g, " "),
        /LONGSHORE_CONFIG, else (of )?the (Longshore|one)/,
        args.join(" "),
      );
  },
);
