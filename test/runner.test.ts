/** The runner must report every failure: a test run that hides one is worse than none. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { borrow, LENDER } from "./harness/lending/borrow.ts";
import type { LentServer } from "./harness/lending/servers.ts";
import { boundMs, findTests, tierOf } from "./runner/find.ts";
import { leftovers, MARK } from "./runner/leftovers.ts";
import { borrowsOf, openLender } from "./runner/lender.ts";
import { type Machine, missing, NEEDS, needsOf } from "./runner/needs.ts";
import { prepare } from "./runner/prepare.ts";
import { type FileResult, runFile } from "./runner/run-file.ts";

const root = resolve(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "longshore-runner-"));
t.teardown(() => rmSync(folder, { recursive: true }));

const ONE_PASSES = 'console.log("ok 1 - one\\n1..1");';
/** A process in a group of its own that would stay for an hour; its parent waits until it runs. */
const ORPHAN = `
import { spawn } from "node:child_process";
const child = spawn(process.execPath, ["-e", "console.log('up'); setInterval(() => {}, 3_600_000)"], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
await new Promise((up) => child.stdout.once("data", up));
child.stdout.destroy(); child.unref();`;

let files = 0;
async function run(
  text: string,
  { bound = 60_000, signal = new AbortController().signal, onPass = () => {} } = {},
): Promise<FileResult> {
  const path = join(folder, `${++files}.test.mjs`);
  writeFileSync(path, text);
  return await runFile(path, { cwd: folder, boundMs: bound, leaveMs: 300, env: process.env, signal, onPass });
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly bound?: number;
  readonly passed: number;
  readonly failures: readonly RegExp[];
}

const cases: readonly Case[] = [
  { name: "passes what passes", text: ONE_PASSES, passed: 1, failures: [] },
  {
    name: "fails a failed assertion, with its difference",
    text: 'console.log("not ok 1 - sums\\n  ---\\n  diff: |\\n    -1\\n    +2\\n  ...\\n1..1"); process.exitCode = 1;',
    passed: 0,
    failures: [/^sums: -1\n\+2$/],
  },
  {
    name: "counts leaves, not the lines that close subtests",
    text: 'console.log("# Subtest: a\\n    ok 1 - x\\n    ok 2 - y\\n    1..2\\nok 1 - a\\n1..1");',
    passed: 2,
    failures: [],
  },
  { name: "fails a file that asserts nothing", text: "", passed: 0, failures: [/asserted nothing/] },
  {
    name: "fails a file that crashes after its assertions",
    text: `${ONE_PASSES} process.exit(3);`,
    passed: 1,
    failures: [/exited with 3/],
  },
  {
    name: "fails a file that is killed",
    text: `${ONE_PASSES} process.kill(process.pid, "SIGKILL"); setInterval(() => {}, 9999);`,
    passed: 1,
    failures: [/was ended by SIGKILL/],
  },
  {
    name: "fails a file whose plan is not kept",
    text: 'console.log("ok 1 - one\\n1..2");',
    passed: 1,
    failures: [/TAP is wrong/],
  },
  {
    name: "shows a crashed file's output",
    text: 'console.error("last words"); process.exit(1);',
    passed: 0,
    failures: [/exited with 1\nlast words/, /asserted nothing/],
  },
  {
    name: "ends a file that exceeds its bound, and does not call it passed",
    text: `${ONE_PASSES} setInterval(() => {}, 9999);`,
    bound: 500,
    passed: 1,
    failures: [/took longer than 0\.5 s and was ended/],
  },
  {
    name: "fails a file that leaves a process behind",
    text: `${ORPHAN} ${ONE_PASSES}`,
    passed: 1,
    failures: [/left processes behind:\n {2}\d+ .*setInterval/],
  },
];

for (const { name, text, bound, passed, failures } of cases) {
  t.test(name, async (t) => {
    const result = await run(text, bound === undefined ? {} : { bound });
    const said = result.failures.map((it) => (it.name === "the file itself" ? it.detail : `${it.name}: ${it.detail}`));
    t.equal(result.passed, passed);
    if (failures.length === 0) t.same(said, []);
    for (const want of failures)
      t.ok(
        said.some((it) => want.test(it)),
        `${want} in ${JSON.stringify(said)}`,
      );
  });
}

t.test("the processes of an ended file are ended too, in any process group", async (t) => {
  const stop = new AbortController();
  const result = await run(`${ORPHAN} ${ONE_PASSES} setInterval(() => {}, 9999);`, {
    signal: stop.signal,
    onPass: () => stop.abort(),
  });
  t.match(result.failures[0]?.detail, /was ended by SIGKILL/);
  t.notMatch(result.failures.map((it) => it.detail).join(), /left processes/);
});

t.test("a server that bears no mark ends with the file that held its leash, also when the file is killed", async (t) => {
  const stop = new AbortController();
  const pidFile = join(folder, "server.pid");
  const leash = join(root, "packages/ledger/embedded-postgres.ts");
  const text = `
    import { spawn } from "node:child_process";
    import { writeFileSync } from "node:fs";
    import { leash } from ${JSON.stringify(leash)};
    const server = spawn(process.execPath, ["-e", "setInterval(() => {}, 3_600_000)"], { detached: true, stdio: "ignore", env: {} });
    leash(server.pid, "INT");
    writeFileSync(${JSON.stringify(pidFile)}, String(server.pid));
    ${ONE_PASSES}
    setInterval(() => {}, 9999);`;
  await run(text, { signal: stop.signal, onPass: () => stop.abort() });
  const pid = Number(readFileSync(pidFile, "utf8"));
  const isThere = (): boolean => existsSync(`/proc/${pid}/exe`); // a process that nobody has reaped yet has no program any more
  for (let looks = 0; isThere() && looks < 200; looks++) await sleep(50);
  t.notOk(isThere(), `the server ${pid} has ended`);
});

t.test("a process is found by its mark alone", async (t) => {
  const child = spawn(process.execPath, ["-e", "console.log('up'); setInterval(() => {}, 9999)"], {
    env: { ...process.env, [MARK]: "mine" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise((done) => child.once("exit", done));
  await new Promise((up) => child.stdout.once("data", up));
  t.same(
    leftovers("mine").map((it) => it.pid),
    [child.pid],
  );
  t.same(leftovers("another's"), []);
  child.kill("SIGKILL");
  await ended;
});

t.test("skips are counted apart, with their reason", async (t) => {
  const result = await run('console.log("ok 1 - later # SKIP no server\\nok 2 - now\\n1..2");');
  t.same([result.passed, result.skipped], [1, ["later: no server"]]);
});

t.test("every test file stands in one tier", async (t) => {
  t.equal(tierOf("packages/runtime/loop.test.ts", ""), "unit");
  t.equal(tierOf("test/tidy.test.ts", ""), "unit");
  t.equal(tierOf("test/chaos/kill.test.ts", ""), "chaos");
  t.equal(tierOf("test/integration/rabbitmq.test.ts", ""), "integration");
  t.equal(tierOf("test/simulation/bugs.test.ts", ""), "simulation");
  t.equal(tierOf("packages/ledger/open.test.ts", "/** x */\n// runs with integration\n"), "integration");
  t.throws(() => tierOf("packages/ledger/open.test.ts", "// runs with databases\n"), /the tiers are unit/);
  t.equal(boundMs("// runs at most 12 min\n"), 720_000);
  t.ok(findTests(root).some((it) => it.path === "test/runner.test.ts"));
  t.notOk(findTests(root).some((it) => it.path.includes("node_modules")));
});

t.test("a file that cannot run here says what it would take, and as root on Debian every file can", (t) => {
  const bare: Machine = { rootOnDebian: false, linux: false, go: false, docker: false, cached: [], kubernetesNamed: false };
  t.same(needsOf("a.test.ts", "/** x */\n// needs rabbitmq, kubernetes\n"), ["rabbitmq", "kubernetes"]);
  t.throws(() => needsOf("a.test.ts", "// needs luck\n"), /a\.test\.ts says that it needs "luck"/);
  for (const need of NEEDS) {
    t.match(missing(need, bare), /Debian|install Go/, need);
    t.equal(missing(need, { ...bare, rootOnDebian: true, linux: true, go: true }), undefined, need);
  }
  t.equal(missing("rabbitmq", { ...bare, docker: true }), undefined);
  t.equal(missing("kubernetes", { ...bare, cached: ["kubernetes-1.34.4"] }), undefined);
  t.match(missing("kubernetes", { ...bare, cached: ["kubernetes-1.34.4.lock", "kubernetes-1.34.4.making-1"] }), /install Go/);
  const unsaid = findTests(root).filter(({ tier, needs }) => tier === "kube" && needs.length === 0);
  t.same(
    unsaid.map((it) => it.path),
    [],
    "each file of the slowest tier says what it needs",
  );
  t.end();
});

t.test(
  "needs of tests are made one after the other; one that cannot be made holds nothing up, and one that no test has is not made",
  async (t) => {
    const place = mkdtempSync(join(tmpdir(), "longshore-prepare-"));
    t.teardown(() => rmSync(place, { recursive: true }));
    mkdirSync(join(place, "test/harness/builds"), { recursive: true });
    const script = `require("fs").appendFileSync("${place}/made", process.argv[2] + " "); process.exit(process.argv[2] === "nats" ? 1 : 0);`;
    writeFileSync(join(place, "test/harness/builds/prepare.ts"), script);
    const preparing = prepare(new Set(["kubernetes", "nats"] as const), place, new AbortController().signal);
    t.ok(preparing.isReady(["node"]), "nobody wanted that");
    t.notOk(preparing.isReady(["nats"]));
    t.notOk(preparing.isReady(["node", "kubernetes"]));
    await preparing.before(["nats", "kubernetes"]);
    t.ok(preparing.isReady(["nats", "kubernetes"]));
    t.equal(readFileSync(join(place, "made"), "utf8"), "nats kubernetes ");
  },
);

t.test("the command ends with its sum, and exits 1 if a word names no test", async (t) => {
  const child = spawn(process.execPath, ["test/run.ts", "no-such-test"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const code = await new Promise((done) => child.once("close", done));
  t.equal(code, 1);
  t.match(said, /no test file for no-such-test; the tiers are unit, /);
  t.equal(said.trimEnd().split("\n").at(-1), "0 passed, 0 failed");
});

t.test("a test file says what it borrows in its call", async (t) => {
  const text = `
    await using rabbit = await rabbitmq({ version: "4.0", shared: true, say });
    await using cloud = await kubernetes({ nodes: "simulated", clusters: 2, shared: true });
    await using own = await kubernetes({ nodes: "none" });`;
  t.same(borrowsOf(text), ["rabbitmq 4.0", "kubernetes simulated"]);
  t.same(borrowsOf("const { cluster } = await lentPlane(t);"), ["kubernetes none"], "a helper of the harness borrows for it");
  const asking = findTests(root).filter(({ path }) => /shared: true|lentPlane\(/.test(readFileSync(join(root, path), "utf8")));
  t.ok(asking.length > 5);
  for (const { path, borrows } of asking) t.ok(borrows.length > 0, path);
});

t.test("a lent server starts when a file asks for it, and ends when no file that is left borrows it", async (t) => {
  const story: string[] = [];
  const start = async (what: string): Promise<LentServer> => {
    story.push(`start ${what}`);
    if (story.length === 1) throw new Error("no room");
    return {
      lend: (borrower) => Promise.resolve(`${what} for ${borrower}`),
      takeBack: async (borrower) => void story.push(`back ${borrower}`),
      [Symbol.asyncDispose]: async () => void story.push(`end ${what}`),
    };
  };
  const one = { borrows: ["rabbitmq 4.0"] };
  const other = { borrows: ["rabbitmq 4.0", "kubernetes none"] };
  await using lender = await openLender([one, other], start);
  t.teardown(() => delete process.env[LENDER]);

  process.env[LENDER] = `${lender.address.split(" ")[0]} guessed`;
  await t.rejects(borrow("rabbitmq 4.0"), /gave no rabbitmq 4.0/, "nobody borrows who does not know the word");
  process.env[LENDER] = lender.address;
  await t.rejects(borrow("rabbitmq 4.0"), /no room/, "and a file is told why there is no server");
  const [first, second] = await Promise.all([borrow<string>("rabbitmq 4.0"), borrow<string>("rabbitmq 4.0")]);
  t.equal(first.given, `rabbitmq 4.0 for ${first.borrower}`);
  t.not(first.borrower, second.borrower);
  await borrow("kubernetes none 1.34 0");
  await first[Symbol.asyncDispose]();
  for (let tries = 0; story.length < 4 && tries < 500; tries++) await sleep(10);
  await lender.over(one.borrows);
  const started = ["start rabbitmq 4.0", "start rabbitmq 4.0", "start kubernetes none 1.34 0"];
  t.same(story, [...started, `back ${first.borrower}`], "a server stays while a file that is left borrows it");
  await lender.over(other.borrows);
  t.same(story.slice(4).toSorted(), ["end kubernetes none 1.34 0", "end rabbitmq 4.0"]);
});
