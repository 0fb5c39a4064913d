/**
 * What a person sees in a real terminal of 60, 80 and 120 columns, and what a pipe gets.
 *
 * The failures this prevents: columns that a long id pushes apart, an id that cannot be copied, a job's output that the terminal
 * obeys, and escape sequences in a file.
 */
// runs at most 10 min
import { stripVTControlCharacters } from "node:util";
import { widthOf } from "@longshore/cli/screen/text.ts";
import t from "tap";
import { emptyFolder, inTerminal, longshore, longshoreInTerminal, longshoreUp } from "../harness/longshore.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const LONG = `orders/${"2026-eu-west-1/".repeat(10)}export`;
/** Commands are never folded. */
const COMMAND = /^ +(npm|npx|longshore|kubectl|docker) /;

await using folder = await emptyFolder();
if (process.platform !== "linux") {
  t.pass("a terminal for tests is made by `script` of Linux");
  t.end();
} else await inTerminals();

async function inTerminals(): Promise<void> {
  await t.test("up, in a terminal: its screen fits, and it says for what it waits and what was refused", async (t) => {
    await using own = await emptyFolder();
    await using up = inTerminal(own.path, 60, ["up"]);
    await up.prints("Ctrl-C stops it.");
    await longshore(own.path, "publish", "--image", "busybox", "--run", "fails", "--follow", "--", "sh", "-c", "exit 3");
    await longshore(own.path, "publish", "--image", "another", "--run", "fails");
    await up.prints("REFUSED");
    const { out } = await up.stop();
    fits(t, out, 60);
    t.notMatch(out, / info /, "only what fails or is refused");
    t.equal(stripVTControlCharacters(out).split("ExitCode").length, 2, `told once: ${out}`);
    t.match(stripVTControlCharacters(out), /REFUSED {2}fails from .*\r?\n {11}.+/);
    t.match(stripVTControlCharacters(out), /ledger {4}a Postgres of its own, ready after/);
  });

  await using _up = await longshoreUp(folder.path);
  const publish = (...args: readonly string[]) => longshore(folder.path, "publish", "--image", "busybox", "--follow", ...args);
  await publish("--run", "short", "--", "sh", "-c", 'printf \'{"title":"漢字"}\' > /dev/termination-log');
  await publish("--run", LONG, "--", "sh", "-c", String.raw`printf '\033[2Jboom \033[31mred\n'; exit 3`);

  const asked = [["runs", "list"], ["runs", "show", LONG], ["runs", "follow", LONG], ["group", "list"], ["doctor"]];
  for (const columns of [60, 80, 120])
    for (const args of asked)
      await t.test(`${args.join(" ").slice(0, 30)} at ${columns} columns`, async (t) => {
        const { out } = await longshoreInTerminal(folder.path, columns, args);
        fits(t, out, columns);
        t.match(stripVTControlCharacters(out), /^ *(STATE|PART|#) .*[A-Z]/m, "a header");
        const [, ...sequences] = out.split("\u001b");
        t.ok(sequences.length > 0, "colours");
        for (const it of sequences) t.match(it, /^\[[\d;]+m/, "no sequence but those of colours");
        t.notOk(out.includes("\u009b"));
        if (args[0] === "runs" && args[1] !== "list") t.ok(out.includes(LONG), "the whole id");
        if (args[1] === "list" && args[0] === "runs") await copied(t, columns, stripVTControlCharacters(out));
      });

  await t.test("without colours where they are not wanted, and in a pipe one line for each row", async (t) => {
    for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
      const { out } = await longshoreInTerminal(folder.path, 80, ["runs", "show", LONG], env);
      t.notOk(out.includes("\u001b"), JSON.stringify(env));
    }
    for (const args of asked) {
      const { out } = await longshore(folder.path, ...args);
      t.notOk(out.includes("\u001b"), args.join(" "));
    }
    process.env["FORCE_COLOR"] = "1";
    const forced = await longshore(folder.path, "runs", "list");
    delete process.env["FORCE_COLOR"];
    t.ok(forced.out.includes("\u001b[32mSUCCEEDED\u001b[39m          short"), "a person may want colours in a pipe");
    const { out } = await longshore(folder.path, "runs", "list");
    const [head, first, second, ...more] = out.trimEnd().split("\n");
    t.same([head?.split(/ +/), more], [["STATE", "RUN", "GROUP", "ACCEPTED", "TOOK"], []]);
    t.match(first, new RegExp(`^FAILED ExitCode 3 +${LONG} +pocket +\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\dZ +\\d`));
    t.match(second, /^SUCCEEDED +short +pocket +\S+ \S+Z +\d/);
  });
}

/** The short form of an id, copied from the list, names the run; and each row is one line. */
async function copied(
  t: { match(it: string, pattern: string | RegExp, name: string): void },
  columns: number,
  list: string,
): Promise<void> {
  const [, short = ""] = /^FAILED ExitCode 3 +(\S+…\S+) .* s$/m.exec(list.replaceAll("\r", "")) ?? [];
  const { out } = await longshoreInTerminal(folder.path, columns, ["runs", "show", short]);
  t.match(stripVTControlCharacters(out), LONG, `${short} is ${LONG}`);
}

/** No line is wider than the terminal, but for commands and for a word that has no room in any line: a person copies them whole. */
function fits(t: { ok(it: boolean, name: string): void }, out: string, columns: number): void {
  for (const line of stripVTControlCharacters(out).split(/[\r\n]+/)) {
    const last = line.split(" ").at(-1) ?? "";
    t.ok(widthOf(line) <= columns || COMMAND.test(line) || widthOf(last) + 8 > columns, line);
  }
}
