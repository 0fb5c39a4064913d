/**
 * Lines of the operators' pages that pipe into another program, run as they are printed.
 *
 * The bug this prevents: `npm run` prints the name of its script on standard output, and kubectl reads that as YAML.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { parseAllDocuments } from "yaml";

const root = join(import.meta.dirname, "../..");
const pages = await Promise.all(["README.md", "deploy/README.md"].map((page) => readFile(join(root, page), "utf8")));
const piped = pages
  .flatMap((page) => page.split("\n").map((line) => line.trim()))
  .filter((line) => /^(npm|npx) .*(\||>)/.test(line));

t.test("the rbac line for operators gives kubectl YAML, and nothing else", async (t) => {
  const line = piped.find((it) => / rbac .*\| kubectl apply/.test(it));
  if (line === undefined) throw new Error("no page pipes rbac to kubectl any more");
  // npm and its scripts must find the Node that runs this test.
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

t.test("if a page pipes from npm, npm itself is silent", async (t) => {
  t.not(piped.length, 0);
  for (const line of piped.filter((it) => it.startsWith("npm "))) t.match(line, /^npm run (-s|--silent) /, line);
});
