import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t from "tap";
import { bundlePage } from "./bundle.ts";

const folder = await mkdtemp(join(tmpdir(), "longshore-page-"));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const kept = join(folder, "page.json");
const made = await bundlePage(kept);
const named = (end: string) => [...made.assets].find(([name]) => name.endsWith(end))?.[1].body ?? new Uint8Array();

t.test("the page names each of its files by its content, and holds nothing of another server", async (t) => {
  for (const [, file = ""] of made.html.matchAll(/(?:src|href)="\/assets\/([^"]+)"/g)) t.ok(made.assets.has(file), file);
  for (const [, file = ""] of Buffer.from(named(".css"))
    .toString()
    .matchAll(/url\(\/assets\/([^)]+)\)/g))
    t.ok(made.assets.has(file), file);
  t.notMatch(made.html + Buffer.from(named(".css")).toString(), /https?:\/\//);
});

t.test("the script is at most 40 KB compressed, and the style sheet 10", async (t) => {
  t.ok(gzipSync(named(".js")).length <= 40_000);
  t.ok(gzipSync(named(".css")).length <= 10_000);
});

t.test("what was made is taken again, until a source or the file itself is another", async (t) => {
  const text = await readFile(kept, "utf8");
  await writeFile(kept, text.replace('"main.tsx":"', '"main.tsx":"/* kept */'));
  const script = async () => [...(await bundlePage(kept)).assets].find(([name]) => name.endsWith(".js"))?.[1].body;
  const isKept = async () =>
    Buffer.from((await script()) ?? [])
      .toString()
      .includes("/* kept */");
  t.not(JSON.parse(text).sources["main.tsx"], undefined, "the source of the script is among those");
  await writeFile(
    kept,
    text.replace(/"texts":\{"main\.tsx":"/, (it) => `${it}/* kept */`),
  );
  t.ok(await isKept());
  await writeFile(
    kept,
    text.replace(/"texts":\{"main\.tsx":"/, (it) => `${it}/* kept */`).replace(/("words\.ts":")[^"]+/, "$1another"),
  );
  t.notOk(await isKept(), "a source is another");
  await writeFile(kept, text.slice(0, 100));
  t.notOk(await isKept(), "a file that was cut off");
});
