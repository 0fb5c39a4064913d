/** A program as a process: its exit code, and the lines that it prints with it. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import t from "tap";

const here = (file: string) => JSON.stringify(resolve(import.meta.dirname, file));
const HEAD = `
import { z } from "zod";
import { programSettings, runProgram } from ${here("program.ts")};
import { together } from ${here("loop.ts")};
import { failpoints } from ${here("failpoint.ts")};
import { ConfigProblems } from ${here("config/config.ts")};
const Schema = z.strictObject({ ...programSettings, installation: z.string(), failpoint: z.string().optional() });
const aborted = (signal: AbortSignal) => new Promise<void>((done) => { signal.addEventListener("abort", () => done()); setInterval(() => {}, 60_000); });
`;

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the text as a program. Sends the signals one after the other, each after one more line of output. */
function program(
  body: string,
  { env = {}, args = [], signals = [] }: { env?: Record<string, string>; args?: string[]; signals?: NodeJS.Signals[] } = {},
): Promise<Ended> {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", HEAD + body, "--", ...args], {
    cwd: import.meta.dirname,
    env: { ...process.env, LONGSHORE_INSTALLATION: "test", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  const toSend = [...signals];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    const next = toSend.shift();
    if (next) child.kill(next);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((done) => child.on("close", (code, signal) => done({ code, signal, stdout, stderr })));
}

interface Case {
  readonly name: string;
  readonly body: string;
  readonly env?: Record<string, string>;
  readonly args?: string[];
  readonly signals?: NodeJS.Signals[];
  readonly code: number | null;
  readonly says?: RegExp;
}

const stopsInOrder = `await runProgram("launcher", Schema, async (_config, _log, signal) => {
  console.log("up"); await aborted(signal); console.log("rested"); return { kind: "stopped" };
});`;
const neverStops = `await runProgram("launcher", Schema, async (_config, _log, signal) => {
  console.log("up"); await aborted(signal); console.log("stopping"); return await new Promise(() => {});
}, { graceMs: Number(process.env.GRACE), samePressMs: 0 });`;

/** Stops when it has received the three signals of one press of Ctrl-C, and prints each of them. */
const onePress = `process.on("SIGINT", () => console.log("SIGINT"));
await runProgram("launcher", Schema, async (_config, _log, signal) => {
  let signals = 0;
  const all = new Promise((done) => process.on("SIGINT", () => { if (++signals === 3) done(); }));
  console.log("up"); await aborted(signal); await all; console.log("rested"); return { kind: "stopped" };
}, { samePressMs: 60_000 });`;

const mendable = `class Refused extends Error { code = "AuthRejected"; }
await runProgram("x", Schema, (_c, _l, s) => together(s, {
  admit: async () => { throw new Refused("postgres://ada:s3cret@h rejected the password"); },
}), { forPerson: (it) => (it instanceof Refused ? it : undefined) });`;

const cases: readonly Case[] = [
  {
    name: "SIGTERM lets the work come to rest and exits 0",
    body: stopsInOrder,
    signals: ["SIGTERM"],
    code: 0,
    says: /up\nrested\n/,
  },
  {
    name: "SIGINT too, and the log ends with it",
    body: stopsInOrder,
    signals: ["SIGINT"],
    code: 0,
    says: /"msg":"stopped"\}\n$/,
  },
  {
    name: "the second signal ends it at once",
    body: neverStops,
    env: { GRACE: "60000" },
    signals: ["SIGTERM", "SIGTERM"],
    code: 143,
  },
  {
    name: "what does not stop in time is ended, and said",
    body: neverStops,
    env: { GRACE: "1" },
    signals: ["SIGTERM"],
    code: 3,
    says: /did not stop in time/,
  },
  {
    name: "one press of Ctrl-C that arrives three times is one signal",
    body: onePress,
    signals: ["SIGINT", "SIGINT", "SIGINT"],
    code: 0,
    says: /rested/,
  },
  {
    name: "finished work decides the exit code",
    body: `await runProgram("x", Schema, async () => ({ kind: "finished", exitCode: 7 }));`,
    code: 7,
  },
  {
    name: "wrong settings exit 1, all of them said, without a stack",
    body: stopsInOrder,
    env: { LONGSHORE_INSTALLATIO: "x", LONGSHORE_LOG_LEVEL: "loud" },
    code: 1,
    says: /^launcher: the configuration has 2 problems:\n.*LONGSHORE_INSTALLATION\?\n.*LONGSHORE_LOG_LEVEL: log\.level: [^\n]*\n$/s,
  },
  {
    name: "a wrong file that the settings name exits 1 too",
    body: `await runProgram("x", Schema, async () => { throw new ConfigProblems(["groups.yaml:3: groups.a: is missing"]); });`,
    code: 1,
    says: /^x: the configuration has a problem:\n  groups\.yaml:3: groups\.a: is missing\n$/,
  },
  {
    name: "an unknown argument exits 1 with the usage",
    body: stopsInOrder,
    args: ["--confg", "x"],
    code: 1,
    says: /usage: launcher \[--config FILE\]/,
  },
  {
    name: "--help says each setting's type, default and variable, and needs none of them",
    body: stopsInOrder,
    args: ["--help"],
    env: { LONGSHORE_INSTALLATION: "", LONGSHORE_NO_SETTING: "x" },
    code: 0,
    says: /log\.level {2}LONGSHORE_LOG_LEVEL\n +debug \| info \| .*; default info\n.*installation {2}LONGSHORE_INSTALLATION\n +text; required\n/s,
  },
  {
    name: "work that throws exits 2 and is logged",
    body: `await runProgram("x", Schema, async () => { throw new Error("bang"); });`,
    code: 2,
    says: /"msg":"failed"/,
  },
  {
    name: "what a person has to mend exits 1, with a line of its sentence and code, and no stack, though a loop wraps it",
    body: mendable,
    code: 1,
    says: /^\{"level":"error",[^\n]*"code":"AuthRejected","error":"postgres:\/\/\[redacted\]@h rejected the password","msg":"ended, [^\n]*"\}\n$/,
  },
  {
    name: "in a terminal it is a sentence",
    body: mendable,
    env: { LONGSHORE_LOG_FORMAT: "text" },
    code: 1,
    says: /^x: postgres:\/\/\[redacted\]@h rejected the password\n$/,
  },
  {
    name: "a bug beside it is told with its stack, and exits 2",
    body: mendable.replace("together(s, {", 'together(s, { other: async () => { throw new TypeError("bang"); },'),
    code: 2,
    says: /"msg":"failed"/,
  },
  {
    name: "an exception that nothing caught exits 2",
    body: `await runProgram("x", Schema, async (_c, _l, signal) => { setImmediate(() => { throw new Error("bang"); }); await aborted(signal); return { kind: "stopped" }; });`,
    code: 2,
    says: /nothing caught.*/,
  },
  {
    name: "a rejection that nothing awaited exits 2",
    body: `await runProgram("x", Schema, async (_c, _l, signal) => { void Promise.reject(new Error("bang")); await aborted(signal); return { kind: "stopped" }; });`,
    code: 2,
    says: /nothing awaited/,
  },
];

for (const { name, body, code, says, ...options } of cases) {
  t.test(name, async (t) => {
    const ended = await program(body, options);
    t.equal(ended.code, code, ended.stderr);
    if (says) t.match(ended.stdout + ended.stderr, says);
  });
}

t.test("a failpoint kills at the pass that was asked for, and not a line later", async (t) => {
  const body = `await runProgram("x", Schema, async (config) => {
    const failpoint = failpoints(config.failpoint, ["afterCreate", "beforeAck"]);
    for (let pass = 1; pass < 5; pass++) { console.log("before " + pass); await failpoint("beforeAck"); console.log("after " + pass); }
    return { kind: "finished", exitCode: 0 };
  });`;
  const killed = await program(body, { env: { LONGSHORE_FAILPOINT: "beforeAck:kill:2" } });
  t.equal(killed.signal, "SIGKILL");
  t.equal(killed.stdout, "before 1\nafter 1\nbefore 2\n");
  const refused = await program(body, { env: { LONGSHORE_FAILPOINT: "beforeAkc:kill" } });
  t.equal(refused.code, 2);
  t.match(refused.stderr, "no code has the name");
  t.equal((await program(body)).code, 0, "without one, nothing happens");
});
