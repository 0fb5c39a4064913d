/**
 * Runs the lines of the operators' pages that pipe into another program, as they are printed.
 *
 * The bug this prevents: `npm run` prints the name of its script on standard output, and kubectl reads that as YAML.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { ANNOTATIONS, HOLD, LABELS } from "@longshore/domain/run/marks.ts";
import t from "tap";
import { parseAllDocuments } from "yaml";

const root = join(import.meta.dirname, "../..");
const pages = await Promise.all(["README.md", "deploy/README.md"].map((page) => readFile(join(root, page), "utf8")));
const piped = pages
  .flatMap((page) => page.split("\n").map((line) => line.trim()))
  .filter((line) => /^(npm|npx) .*(\||>)/.test(line));

async function printed(line: string): Promise<string> {
  // npm and its scripts must find the Node that runs this test.
  const { PATH = "", ...others } = process.env;
  const env = { ...others, PATH: [dirname(process.execPath), PATH].join(delimiter) };
  return (await promisify(execFile)("sh", ["-c", line], { cwd: root, env })).stdout;
}

t.test("npx finds longshore, as README says", async (t) => {
  t.match(pages[0], /`npx longshore …`/);
  t.match(await printed("npx --no -- longshore --version"), /^longshore \d+\.\d+\.\d+\n$/);
});

t.test("every mark that is written on objects of a cluster is explained where upstream looks", async (t) => {
  const page = await readFile(join(root, "packages/contract/README.md"), "utf8");
  for (const mark of [...Object.values(LABELS), ...Object.values(ANNOTATIONS), HOLD]) t.ok(page.includes(`\`${mark}\``), mark);
});

t.test("the rbac line for operators gives kubectl YAML, and nothing else", async (t) => {
  const line = piped.find((it) => / rbac .*\| kubectl apply/.test(it));
  if (line === undefined) throw new Error("no page pipes rbac to kubectl any more");
  // Turns the example's group on, as the file's first comment says.
  const example = await readFile(join(root, "config/groups.yaml"), "utf8");
  const folder = await mkdtemp(join(tmpdir(), "longshore-readme-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const groups = join(folder, "groups.yaml");
  await writeFile(groups, example.replace("groups: {}", "groups:").replaceAll(/^#( {2})/gm, "$1"));
  const stdout = await printed(line.slice(0, line.indexOf("|")).replace("config/groups.yaml", groups));
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
