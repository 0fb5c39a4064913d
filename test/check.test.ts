/**
 * No check reads what `npm start` and Compose keep in the checkout.
 *
 * The bug this prevents: `npm run check` beside a running `npm start` prints the ledger's URL with its password, since the
 * formatter shows each file that is not formatted.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import t from "tap";
import { CHECKS } from "./check.ts";
import { findTests } from "./runner/find.ts";
import { readTree } from "./tidy/source.ts";

const root = resolve(import.meta.dirname, "..");
const CANARY = "hunter2-canary";

/** A checkout of sound files in which Longshore was started: in its root, in a folder below, with --data, and by Compose. */
const made = mkdtempSync(join(tmpdir(), "longshore-check-"));
t.teardown(() => rmSync(made, { recursive: true }));
const SETTINGS = ["package.json", "biome.json", ".oxlintrc.json", "tsconfig.json", "tsconfig.base.json"];
for (const name of SETTINGS) cpSync(join(root, name), join(made, name));
symlinkSync(join(root, "node_modules"), join(made, "node_modules"));
function put(path: string, text: string): void {
  mkdirSync(join(made, dirname(path)), { recursive: true });
  writeFileSync(join(made, path), text);
}
for (const part of ["packages", "services", "test"]) put(`${part}/a/sound.ts`, "export const sound = 1;\n");
const KEPT = [".longshore", "packages/a/.longshore", "mine", "config/secrets", "config/examples/a/secrets"];
const URL = `{"ledgerUrl":    "postgres://longshore:${CANARY}@127.0.0.1/longshore"}`;
for (const folder of KEPT) {
  put(`${folder}/running.json`, URL);
  put(`${folder}/pocket/objects.test.ts`, `debugger; var url =   '${CANARY}'; export const it: number = "${CANARY}"`);
}

/** Tidy works on its own checkout only, so it is left out: the next test looks at the files that tidy would read. */
for (const name of Object.keys(CHECKS).filter((it) => it !== "tidy" && !it.startsWith("types of ")))
  t.test(`${name}: neither reads nor prints it`, async (t) => {
    const [program = "", ...args] = CHECKS[name] ?? [];
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(root, program), ...args], {
      cwd: made,
      encoding: "utf8",
    });
    t.notMatch(stdout + stderr, CANARY);
    t.notMatch(stdout + stderr, /running\.json|objects\.test\.ts/);
    t.equal(status, 0, stdout + stderr);
  });

t.test("tidy and the runner see none of it", async (t) => {
  const seen = [...readTree(made).texts.keys(), ...findTests(made).map(({ path }) => path)];
  t.ok(seen.includes("packages/a/sound.ts"), "and do see what is ours");
  t.same(
    seen.filter((path) => KEPT.some((folder) => path.startsWith(`${folder}/`))),
    [],
  );
});
