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
const script = ({ assets }: typeof made) =>
  [...assets].find(([name]) => /^main-\w+\.js$/.test(name))?.[1].body ?? new Uint8Array();
const style = [...made.assets].find(([name]) => name.endsWith(".css"))?.[1].body ?? new Uint8Array();
const textOf = (body: Uint8Array) => Buffer.from(body).toString();

t.test("the page names each of its files by its content, and holds nothing of another server", async (t) => {
  for (const [, file = ""] of made.html.matchAll(/(?:src|href)="\/assets\/([^"]+)"/g)) t.ok(made.assets.has(file), file);
  for (const [, file = ""] of textOf(style).matchAll(/url\(\/assets\/([^)]+)\)/g)) t.ok(made.assets.has(file), file);
  t.notMatch(made.html + textOf(style), /https?:\/\//);
});

t.test("what is loaded when needed is no part of the script, and is there by the name by which the script asks", async (t) => {
  const asked = [...textOf(script(made)).matchAll(/import\("\.\/([^"]+)"\)/g)].map(([, file = ""]) => file);
  t.match(asked, [/^ansi-\w+\.js$/]);
  for (const file of asked) t.match(made.assets.get(file), { type: /^text\/javascript/, body: Uint8Array });
});

t.test("the script is at most 40 KB compressed, and the style sheet 10", async (t) => {
  t.ok(gzipSync(script(made)).length <= 40_000);
  t.ok(gzipSync(style).length <= 10_000);
});

t.test("what was made is taken again, until a source or the file itself is another", async (t) => {
  const text = await readFile(kept, "utf8");
  await writeFile(kept, text.replace('"main.tsx":"', '"main.tsx":"/* kept */'));
  const isKept = async () => textOf(script(await bundlePage(kept))).includes("/* kept */");
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

t.test("an image has no esbuild: it serves what was made as it was built, and says so if nothing was", async (t) => {
  const absent = () =>
    Promise.reject(Object.assign(new Error("Cannot find package 'esbuild'"), { code: "ERR_MODULE_NOT_FOUND" }));
  const again = await bundlePage(kept);
  const inImage = await bundlePage(kept, absent);
  t.equal(inImage.html, again.html);
  t.same([...inImage.assets.keys()], [...again.assets.keys()]);
  await t.rejects(bundlePage(join(folder, "nothing.json"), absent), {
    code: "PageNotMade",
    message: /services\/console\/Dockerfile/,
  });
});
