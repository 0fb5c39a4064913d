/**
 * `longshore demo` as the README shows it: each line of its story says what really happened, it ends with 0, and it leaves
 * neither a file nor a process.
 *
 * The failure this prevents: a demo that a renamed setting has broken, which only people who try Longshore for the first time
 * would find.
 */
// runs at most 6 min
import { readdir } from "node:fs/promises";
import t from "tap";
import { demoStarted, emptyFolder, errorsIn, longshoreDemo } from "../harness/longshore.ts";
import { commandsIn } from "../harness/servers/processes.ts";

t.setTimeout(0); // the harness has its own bound

process.env["LONGSHORE_LEDGER_URL"] = "postgres://nobody:wrong@127.0.0.1:9/another"; // the demo must ignore this

await using folder = await emptyFolder();
const running = longshoreDemo(folder.path);
const seen = new Set<string>();
const looking = setInterval(() => void commandsIn(folder.path).then((all) => all.forEach((it) => seen.add(it))), 250);
const { code, out, err } = await running.finally(() => clearInterval(looking));
t.comment(out);

t.equal(code, 0, err);
for (const [what, line] of [
  ["what it starts", /^ {2}ledger {4}a Postgres of its own, ready after .*\n {2}broker .*\n {2}cluster .*\n {2}programs {2}launcher ×2 and watcher/m],
  ["a run's story", /^1 One message, one Job\n {4}accepted › launched › started › succeeded \{"greeting":"hi"\}/m],
  ["one run for six messages", /^ {4}1 run, 1 Job, 5 duplicates absorbed$/m],
  ["five steps on one volume", /^3 .*\n {4}stage-data ✓ run-workflow ✓ organize-output ✓ save-output ✓ record-output ✓ {4}.*\n {4}succeeded \{"record-output":\{"first":"barley"\}\}; 1 volume made, 0 left$/m],
  ["a stall and its diagnosis", /^ {4}stalled after .*: ImageNotFound, "The registry has no registry\.invalid\/demo\/nope:1\."$/m],
  // On a very busy machine a create may be claimed anew before its answer comes: then nobody knows whether anything ran.
  ["a failure of which nothing ran", /^ {4}failed after .*, (nothing ran: restart it, or publish it under a new id|started: unknown)$/m],
  ["a kill that cost nothing", /^ {4}launcher 2 adopted the Job after .*: succeeded, still 1 Job$/m],
  ["the sum", /^ {2}4 runs {2}8 Jobs {2}0 duplicate Jobs {2}0 unaccounted$/m],
  ["what the console shows of it", /^ {2}the console shows 4 runs: 1 failed, 3 succeeded$/m],
  ["the next step", /^ {2}Next: `npm start` /m],
] as const) // biome-ignore format: a table
  t.match(out, line, what);

t.same(await readdir(folder.path), [], "no file is left");
if (process.platform === "linux") {
  for (const part of ["launcher/main.ts", "watcher/main.ts", "postgres"])
    t.ok([...seen].some((it) => it.includes(part)), `${part} ran there`); // biome-ignore format: one call
  t.same(await commandsIn(folder.path), [], "no process is left");
}

await t.test("Ctrl-C in the middle ends it with a word, and leaves nothing either", async (t) => {
  await using tmp = await emptyFolder();
  await using running = demoStarted(tmp.path);
  await running.prints("1 One message, one Job");
  const stopped = await running.stop({ signals: 2 });
  t.same({ code: stopped.code, errors: errorsIn(stopped.err) }, { code: 130, errors: ["stopped; nothing is left behind."] });
  t.same(await readdir(tmp.path), [], "no file is left");
  if (process.platform === "linux") t.same(await commandsIn(tmp.path), [], "no process is left");
});
