/** A command that is printed can be pasted where it is printed. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { calledAs, typeable } from "./called-as.ts";
import { longshore } from "./main.ts";
import { paragraph, pasted } from "./screen/rows.ts";

const home = await mkdtemp(join(tmpdir(), "called-as-"));
t.teardown(() => rm(home, { recursive: true }));
await writeFile(join(home, "longshore"), "");

t.equal(calledAs({ PATH: `/nowhere:${home}` }), "longshore", "the shell finds it");
t.equal(calledAs({ PATH: "/nowhere:" }), "npx longshore", "the shell does not find it");
t.equal(calledAs({ PATH: home, npm_command: "exec" }), "npx longshore", "npx finds it, and the shell may not");

for (const [text, want] of [
  ["`longshore up` runs; `longshore runs show a`.", "`npx longshore up` runs; `npx longshore runs show a`."],
  ["write longshore rbac --namespace x", "write npx longshore rbac --namespace x"],
  ["longshore runs --help says what there is.", "npx longshore runs --help says what there is."],
  ["npx longshore runs show a", "npx longshore runs show a"],
  ["longshore runs: list and show runs.", "longshore runs: list and show runs."],
  ["longshore runs list: show the newest runs.", "longshore runs list: show the newest runs."],
  ["longshore up. What you name", "longshore up. What you name"],
  ["longshore demo --help says what there is.", "npx longshore demo --help says what there is."],
] as const)
  t.equal(typeable(text, "npx longshore"), want, text);

t.test("a screen says it in hints, commands and help, and folds by what is printed", async (t) => {
  const screen = { columns: 30, styled: false, program: "npx longshore" };
  t.same(paragraph("See `longshore runs show a`.", {}, screen), ["See", "`npx longshore runs show a`."]);
  t.equal(pasted("longshore runs show a", 2, screen), "  npx longshore runs show a");
  let out = "";
  const signal = new AbortController().signal;
  const surroundings = { screen: { ...screen, columns: 100 }, env: {}, cwd: home, signal };
  await longshore(["runs", "restart", "--help"], { ...surroundings, out: (text) => void (out += text) });
  t.match(out, /^ {2}npx longshore runs restart RUN/m);
  t.match(out, /^ {2}npx longshore runs restart orders/m);
  await longshore(["--help"], { ...surroundings, out: (text) => void (out += text) });
  t.notMatch(out, /^ {2}longshore/m);
});
