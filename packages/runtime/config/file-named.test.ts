/** Where a named file is found, by the user's folder and by whether npm started the program. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { fileNamed } from "./file-named.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "longshore-named-")));
t.teardown(() => rmSync(root, { recursive: true }));
const within = join(root, "within");
mkdirSync(within);
for (const path of ["root.yaml", "both.yaml", "within/both.yaml", "within/mine.yaml"]) writeFileSync(join(root, path), "");
const byNpm = { INIT_CWD: within, npm_package_json: join(root, "package.json") };

const cases = [
  { name: "without npm it counts from where the program runs", file: "both.yaml", env: {}, want: "both.yaml" },
  { name: "through npm it counts from where the person stands", file: "both.yaml", env: byNpm, want: "within/both.yaml" },
  { name: "what is not there is looked for in the checkout", file: "root.yaml", env: byNpm, want: "root.yaml" },
  { name: "what is nowhere is told as the person wrote it", file: "no.yaml", env: byNpm, want: "within/no.yaml" },
  { name: "an absolute path stays", file: join(root, "root.yaml"), env: byNpm, want: "root.yaml" },
  { name: "npm's variables of another program count for nothing", file: "both.yaml", env: { ...byNpm, npm_package_json: "/elsewhere/package.json" }, want: "both.yaml" },
]; // biome-ignore format: a table
for (const { name, file, env, want } of cases)
  t.test(name, async (t) => {
    t.equal(fileNamed(file, env, root), join(root, want));
  });
