/** `npm run cluster`: the commands that it prints work, and nothing of it is left, even if it is killed. */
// needs kubernetes
// runs at most 12 min
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import t from "tap";

t.setTimeout(0); // each wait has its own bound

const PROGRAM = path.join(import.meta.dirname, "../../cluster.ts");
const folder = await fs.mkdtemp(path.join(tmpdir(), "longshore-command-"));
t.teardown(() => fs.rm(folder, { recursive: true, force: true }));
const env = { ...process.env, TMPDIR: folder, XDG_STATE_HOME: path.join(folder, "state") };

/** Runs the program to its end; `said` is its stderr. */
async function cluster(...args: readonly string[]): Promise<{ readonly code: number; readonly said: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env, stdio: ["ignore", "ignore", "pipe"], timeout: 120_000 });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code: code ?? -1, said };
}

async function up() {
  const child = spawn(process.execPath, [PROGRAM, "up"], { env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  for await (const line of createInterface({ input: child.stderr })) {
    said += `${line}\n`;
    if (line.includes("longshore -- publish")) break;
  }
  child.stderr.resume();
  const kubeconfig = /KUBECONFIG=(.+)/.exec(said)?.[1] ?? "";
  const kubectl = /alias kubectl=(.+)/.exec(said)?.[1] ?? "";
  return { child, said, kubeconfig, kubectl };
}

const temporary = async (): Promise<readonly string[]> => (await fs.readdir(folder)).filter((it) => it !== "state");

for (const { name, signal } of [
  { name: "down ends it", signal: undefined },
  { name: "Ctrl-C ends it", signal: "SIGINT" },
  { name: "down removes the files that a killed cluster left", signal: "SIGKILL" },
] as const) {
  await t.test(`its kubeconfig and kubectl work until ${name}, and then nothing is left`, async (t) => {
    const { child, said, kubeconfig, kubectl } = await up();
    t.teardown(() => child.kill("SIGKILL"));
    const nodes = await promisify(execFile)(kubectl, ["--kubeconfig", kubeconfig, "get", "nodes", "-o", "name"], {
      timeout: 60_000,
    });
    t.match(nodes.stdout, /node\/simulated-0/, said);
    if (signal === undefined) t.match(await cluster("up"), { code: 1, said: /is up already.*cluster -- down/ });

    const gone = once(child, "exit");
    if (signal !== undefined) child.kill(signal);
    if (signal !== undefined) await gone;
    t.match(await cluster("down"), { code: 0, said: signal === "SIGINT" ? /no cluster is up/ : /the cluster is down/ });
    await gone;
    t.same(await temporary(), []);
  });
}

await t.test("a wrong command line is answered with the usage", async (t) => {
  t.match(await cluster("sideways"), { code: 2, said: /usage: npm run cluster/ });
  t.match(await cluster("up", "--version", "0.9"), { code: 2, said: /--version/ });
});
