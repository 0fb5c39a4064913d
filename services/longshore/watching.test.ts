/** A person who stops watching, or is stopped, reads what goes on and how to watch on. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Installation, RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { GOES_ON, watch } from "./watching.ts";
import { writeRunning } from "./which-longshore.ts";

const run = RunId.parse("a");
const refused = new Failure("retry", "LedgerUnreachable", "The ledger refused the connection.");
const lost = async (): Promise<never> => {
  throw refused;
};

const cwd = await mkdtemp(join(tmpdir(), "longshore-watching-"));
t.teardown(() => rm(cwd, { recursive: true, force: true }));

function surroundings(env: Readonly<Record<string, string>> = {}) {
  const stop = new AbortController();
  const noted: string[] = [];
  const note = (...lines: readonly string[]) => void noted.push(...lines);
  return { stop, noted, out: () => undefined, note, env, cwd, signal: stop.signal };
}

t.test("Ctrl-C is answered with what goes on, and the commands for it", async (t) => {
  const it = surroundings();
  t.equal(await watch({ run, config: "x.yaml", onStop: () => GOES_ON }, async () => "stopped", it), "stopped");
  t.same(it.noted, [
    "stopped watching; the run goes on:",
    "longshore runs follow a --config x.yaml",
    "longshore runs cancel a --config x.yaml",
  ]);
});

t.test("Ctrl-C in the middle of a query is no failure", async (t) => {
  const it = surroundings();
  it.stop.abort();
  t.equal(await watch({ run, config: undefined, onStop: () => GOES_ON }, lost, it), "stopped");
  t.match(it.noted[0], /the run goes on/);
});

t.test("if the Longshore of this folder was stopped, that is said, and how to start and to follow on", async (t) => {
  const watching = { run, config: undefined, onStop: () => GOES_ON };
  await t.rejects(watch(watching, lost, surroundings()), {
    code: "Stopped",
    message: /was stopped.*`npm start`.*`longshore runs follow a`/,
  });
});

t.test("if it was killed, it is not told as stopped, and what goes on is told", async (t) => {
  const gone = { brokerUrl: "postgres://b", ledgerUrl: "postgres://l", groupsFile: "groups.yaml", pid: 2 ** 22 + 1 };
  await using _ = await writeRunning(join(cwd, ".longshore"), { ...gone, installation: Installation.parse("local") });
  await t.rejects(watch({ run, config: undefined, onStop: () => GOES_ON }, lost, surroundings()), {
    message: /does not answer any more \(killed\?\)\. .*commands of pocket runs go on\..*`longshore runs follow a`/,
  });
});

t.test("if it still runs, or is another one, the ledger's sentence stays, with how to follow on", async (t) => {
  const watching = { run, config: undefined, onStop: () => GOES_ON };
  const want = { code: "LedgerUnreachable", message: /^The ledger refused the connection\.\n.*`longshore runs follow a/ };
  await t.rejects(watch({ ...watching, config: "x.yaml" }, lost, surroundings()), want);
  await t.rejects(watch(watching, lost, surroundings({ LONGSHORE_CONFIG: "x.yaml" })), want);
  const urls = { brokerUrl: "postgres://b", ledgerUrl: "postgres://l", groupsFile: "groups.yaml" };
  await using _ = await writeRunning(join(cwd, ".longshore"), {
    ...urls,
    pid: process.ppid,
    installation: Installation.parse("local"),
  });
  await t.rejects(watch(watching, lost, surroundings()), want);
});

t.test("an end is an end, and a problem that does not pass is told as it is", async (t) => {
  const it = surroundings();
  t.equal(await watch({ run, config: undefined, onStop: () => GOES_ON }, async () => "run.failed", it), "run.failed");
  t.same(it.noted, []);
  const login = new Failure("halt", "LedgerLogin", "The ledger refuses the password.");
  const work = async (): Promise<never> => {
    throw login;
  };
  await t.rejects(watch({ run, config: undefined, onStop: () => GOES_ON }, work, it), login);
});
