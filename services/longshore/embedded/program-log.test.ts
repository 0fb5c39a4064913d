/** The lines that the programs inside `up` write beside its screen. */
import t from "tap";
import { PIPE } from "../screen/screen.ts";
import { programLog } from "./program-log.ts";

function logOf(name: "launcher" | "watcher", columns?: number) {
  const lines: string[] = [];
  const screen = { ...PIPE, columns };
  return { lines, log: programLog(name, { level: "warn", format: "auto" }, { write: (text) => lines.push(text), screen }) };
}

t.test("the watcher leaves the failures of runs to the launcher, and tells all else", async (t) => {
  const { log, lines } = logOf("watcher");
  const told = log.child({ group: "pocket" });
  told.warn("attempt.failed", { run: "a" });
  told.warn("a fact could not be published yet", { run: "a" });
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] ?? ""), { msg: "a fact could not be published yet", group: "pocket", run: "a" });
  const launcher = logOf("launcher");
  launcher.log.warn("attempt.failed");
  t.equal(launcher.lines.length, 1);
});

t.test("in a terminal a line is folded at its words, beneath its time", async (t) => {
  const { log, lines } = logOf("launcher", 60);
  log.warn("run.failed", { run: "a", sentence: "The program ended with exit code 3, after it had run for 2 seconds." });
  const [first = "", ...more] = lines.join("").trimEnd().split("\n");
  t.match(first, /^\d\d:\d\d:\d\d\.\d{3}Z warn {2}launcher {2}run\.failed {2}run=a$/);
  t.same(more, [
    `${" ".repeat(14)}sentence="The program ended with exit code 3,`,
    `${" ".repeat(14)}after it had run for 2 seconds."`,
  ]);
});
