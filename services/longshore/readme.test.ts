/**
 * What the README pipes into another program, run as it is written there.
 *
 * The bug this prevents: `npm run` says on standard output which script it runs, and kubectl is given that for YAML.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { parseAllDocuments } from "yaml";

const root = join(import.meta.dirname, "../..");
const readme = await readFile(join(root, "README.md"), "utf8");
const piped = readme.split("\n").filter((line) => /^(npm|npx) .*(\||>)/.test(line));

t.test("the README's rbac line gives kubectl YAML, and nothing else", async (t) => {
  const line = piped.find((it) => / rbac .*\| kubectl apply/.test(it));
  if (line === undefined) throw new Error("the README pipes no rbac to kubectl any more");
  // npm and its scripts are to find the Node that runs this test.
  const { PATH = "", ...others } = process.env;
  const env = { ...others, PATH: [dirname(process.execPath), PATH].join(delimiter) };
  const { stdout } = await promisify(execFile)("sh", ["-c", line.slice(0, line.indexOf("|"))], { cwd: root, env });
  const documents = parseAllDocuments(stdout);
  t.ok(documents.length > 1, "several documents");
  for (const document of documents) {
    t.same(document.errors, []);
    t.match(document.toJS(), { apiVersion: String, kind: /^(ServiceAccount|Role|RoleBinding)$/, metadata: { name: String } });
  }
});

t.test("whatever else the README pipes from npm, npm itself is silent", async (t) => {
  t.not(piped.length, 0);
  for (const line of piped.filter((it) => it.startsWith("npm "))) t.match(line, /^npm run (-s|--silent) /, line);
});
