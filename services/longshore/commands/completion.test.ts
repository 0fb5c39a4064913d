/** The shell completes what the commands declare. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { json } from "../command.ts";
import { COMMANDS, longshore } from "../main.ts";
import { STATUS_WORDS } from "../status.ts";

const pages = Object.values(COMMANDS).flatMap((it) => [it, ...Object.values(it.verbs)]);

async function printed(...args: readonly string[]): Promise<string> {
  let text = "";
  const surroundings = { env: {}, cwd: import.meta.dirname, signal: new AbortController().signal };
  await longshore(args, { ...surroundings, out: (it) => void (text += it) });
  return text;
}

const completed = (...words: readonly string[]): Promise<readonly string[]> => completedIn("longshore() { false; }", ...words);

async function completedIn(before: string, ...words: readonly string[]): Promise<readonly string[]> {
  const script = await printed("completion", "bash");
  const typed = `COMP_WORDS=(longshore "$@"); COMP_CWORD=$#; _longshore; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const args = ["--norc", "-c", `${script}\n${before}\n${typed}`, "longshore", ...words];
  const { stdout } = await promisify(execFile)("bash", args, { cwd: join(import.meta.dirname, "..") });
  return stdout.split("\n").filter((it) => it !== "");
}

t.test("bash completes what is declared", async (t) => {
  t.same(await completed(""), [...Object.keys(COMMANDS), "--help", "--version"]);
  t.same(await completed("gr"), ["group"]);
  for (const { name, verbs, options } of pages) {
    const offers = [...Object.keys(verbs), ...Object.keys(options).map((it) => `--${it}`), "--help"];
    t.same(
      (await completed(...name.split(" "), "")).filter((it) => it !== "bash" && it !== "zsh"),
      offers,
      name,
    );
  }
  for (const [list, names] of [
    ["runs list", ["orders/1", "orders/2"]],
    ["group list", ["prod-a"]],
  ] as const) {
    const [family = "", field] = [list.split(" ")[0], list === "runs list" ? "run" : "name"];
    const verb = family === "runs" ? "show" : "pause";
    const printed = json({ [family]: [...names, "a:b"].map((name) => ({ [field]: name, state: "x" })) });
    const asked = `longshore() { [ "$1 $2 $3" = "${list} --json" ] && cat <<'END'\n${printed}END\n}`;
    t.same(await completedIn(asked, family, verb, names[0].slice(0, 2)), names, "names that the running Longshore knows");
  }
  t.same(await completed("runs", "list", "--state", ""), STATUS_WORDS);
  t.same(await completed("runs", "list", "--state", "=", "f"), ["failed"], "bash takes = for a word of its own");
  t.same(await completed("runs", "--config", "list", "c"), ["cancel"], "the value of an option is no verb");
  t.same(await completed("publish", "--file", "comp"), [], "a file's name is completed by the shell");
  t.same(await completed("publish", "--file", "command.t"), ["command.ts"]);
  t.same(await completed("up", "--data", "comm"), ["commands"]);
});
