/**
 * `longshore up` on its pocket, killed and stopped while runs run, and started again in the same folder.
 *
 * The failure this prevents: runs that are told as lost, or work that goes on unwatched, because the process that had started it
 * ended.
 */
// runs at most 6 min
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { emptyFolder, longshore, longshoreUp } from "../harness/longshore.ts";
import { commandsIn } from "../harness/servers/processes.ts";

t.setTimeout(0); // each wait of the harness has its own bound

process.env["LONGSHORE_PACE_TALLY"] = "2s"; // by default the tally looks only every two minutes
await using folder = await emptyFolder();
const file = (name: string): string => path.join(folder.path, name);

async function publish(run: string, script: string, more: object = {}): Promise<void> {
  await writeFile(file("request.json"), JSON.stringify({ image: "busybox", command: ["sh", "-c", script], ...more }));
  const { code, err } = await longshore(folder.path, "publish", "--run", run, "--file", file("request.json"));
  if (code !== 0) throw new Error(err);
}

/** A script that says that it runs, and goes on when the test lets it. */
const waiting = (name: string, then: string): string =>
  `echo ${name} begins; touch ${file(`${name}-runs`)}; until [ -e ${file(`${name}-may-end`)} ]; do sleep 0.1; done; ${then}`;

async function untilIsThere(name: string): Promise<void> {
  for (let tries = 0; tries < 600 && !existsSync(file(name)); tries++) await sleep(100);
  if (!existsSync(file(name))) throw new Error(`${name} did not come`);
}

/** Whether the Job with a deadline ends before the kill is up to the machine. */
const FOUND =
  /left by the last start: \d commands? still (runs and is|run and are) taken up \(.*runs-on.*\); \d commands ended meanwhile \(.*away/;

const follow = async (run: string) => await longshore(folder.path, "runs", "follow", run);

await t.test("after kill -9, what ended meanwhile is told as it ended, and what runs is followed to its end", async (t) => {
  const first = await longshoreUp(folder.path);
  await publish("ends-while-away", waiting("away", "echo it was alone; exit 0"));
  await publish("fails-while-away", waiting("fails", "echo it failed alone; exit 7"));
  await publish("runs-on", waiting("on", `echo $$$$ > ${file("on-pid")}; echo the end`));
  await publish("too-long", waiting("long", "exit 0"), { deadline: "5s" });
  for (const it of ["away", "fails", "on", "long"]) await untilIsThere(`${it}-runs`);
  await first.kill("SIGKILL");
  await writeFile(file("away-may-end"), "");
  await writeFile(file("fails-may-end"), "");
  await sleep(6_000); // longer than the deadline

  await using second = await longshoreUp(folder.path);
  t.match(await follow("ends-while-away"), { code: 0, out: /away begins\n {4}it was alone\n/ });
  t.match(await follow("fails-while-away"), {
    code: 1,
    out: /^(?=[^]*exit code 7)[^]*fails begins\n {4}it failed alone\n/,
  });
  t.match(await follow("too-long"), { code: 1, out: /DeadlineExceeded/ });
  await writeFile(file("on-may-end"), "");
  t.match(await follow("runs-on"), { code: 0, out: /on begins\n[\s\S]* {4}the end\n/ });
  const { out } = await longshore(folder.path, "runs", "list");
  t.notMatch(out, /LOST/);
  const { code, out: screen } = await second.stop();
  t.equal(code, 0);
  t.match(screen, FOUND);
  t.match(screen, /\n {2}stopped\n$/);
});

await t.test("a stop in order ends what runs, and the next start tells why", async (t) => {
  const first = await longshoreUp(folder.path);
  await publish("stopped", waiting("stopped", "exit 0"));
  await publish("stopped-retried", waiting("retried", "echo again"), { retries: { max: 1, on: ["infrastructure"] } });
  for (const it of ["stopped", "retried"]) await untilIsThere(`${it}-runs`);
  const { code, out } = await first.kill("SIGTERM");
  t.equal(code, 0);
  t.match(
    out,
    /stopped\. 2 commands still ran and are ended now: (stopped, stopped-retried|stopped-retried, stopped)\. .*LocalStop.*\n +npx longshore runs restart RUN/,
  );
  t.same(await commandsIn(folder.path), [], "no process is left");
  await writeFile(file("retried-may-end"), "");

  await using second = await longshoreUp(folder.path);
  await follow("stopped"); // on a slow machine before the end is told: what it printed then stands before the end
  const end = await follow("stopped");
  t.match(end, { code: 1, out: /failed +.*LocalStop.*\n {2}Longshore was stopped while this ran\.\n {2}Hint: .*runs restart/ });
  t.match(end.out, /\n {4}stopped begins\n {2}next:\n {4}npx longshore/, "with its output, and no word of a shell's");
  t.match(await follow("stopped-retried"), { code: 0, out: /LocalStop[\s\S]*succeeded/ });
  const { out: list } = await longshore(folder.path, "runs", "list");
  t.notMatch(list, /LOST/);
  t.equal((await second.stop()).code, 0);
  t.same(await commandsIn(folder.path), [], "no process is left");
});
