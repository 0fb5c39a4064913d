/**
 * Makes the page's files with esbuild: a script, the parts of it that are loaded when needed, a style sheet and two fonts, named by
 * their content.
 *
 * The failure this prevents: a browser that keeps yesterday's script beside today's server. A name changes with the content, so
 * that a file may be kept for ever, and only the page itself is asked for again. What was made is kept beside the dependencies, and
 * made anew only if one of its sources has changed. An image holds what was made as it was built, and no esbuild.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { z } from "zod";

export interface PageFile {
  readonly type: string;
  readonly body: Uint8Array;
}

export interface PageFiles {
  readonly html: string;
  /** By their names, such as "main-1f2e3d.js". */
  readonly assets: ReadonlyMap<string, PageFile>;
}

const folder = join(import.meta.dirname, "page");
const require = createRequire(import.meta.url);
const FONTS = {
  "next.woff2": "@fontsource-variable/atkinson-hyperlegible-next/files/atkinson-hyperlegible-next-latin-wght-normal.woff2",
  "mono.woff2": "@fontsource-variable/atkinson-hyperlegible-mono/files/atkinson-hyperlegible-mono-latin-wght-normal.woff2",
};

/** Where what esbuild made is kept, with the digest of each file that it was made of. */
const KEPT = join(import.meta.dirname, "../../node_modules/.cache/longshore/page.json");

const SCRIPT = "text/javascript; charset=utf-8";

const Texts = z.record(z.string(), z.string());
/** `parts`: what the script loads when it is needed, by the names by which it asks for them. */
const Made = z.object({ sources: Texts, texts: Texts, parts: Texts });
type Made = z.infer<typeof Made>;

type Esbuild = Pick<typeof import("esbuild"), "build">;

export async function bundlePage(kept = KEPT, esbuild: () => Promise<Esbuild> = () => import("esbuild")): Promise<PageFiles> {
  const assets = new Map<string, PageFile>();
  const keep = (name: string, type: string, body: Uint8Array): string => {
    const named = name.replace(".", `-${digestOf(body).slice(0, 10)}.`);
    assets.set(named, { type, body });
    return `/assets/${named}`;
  };
  const fonts = await Promise.all(
    Object.entries(FONTS).map(
      async ([name, path]) => [name, keep(name, "font/woff2", await readFile(require.resolve(path)))] as const,
    ),
  );
  const { texts, parts } = (await madeBefore(kept)) ?? (await makeAndKeep(kept, await esbuild().catch(noEsbuild)));
  const styled = fonts.reduce((css, [name, url]) => css.replaceAll(`fonts/${name}`, url), texts["style.css"] ?? "");
  const bytes = new TextEncoder();
  // The script names its parts, so that their names are esbuild's.
  for (const [name, text] of Object.entries(parts)) assets.set(name, { type: SCRIPT, body: bytes.encode(text) });
  const html = (await readFile(join(folder, "index.html"), "utf8"))
    .replace("icon.svg", keep("icon.svg", "image/svg+xml", await readFile(join(folder, "icon.svg"))))
    .replace("main.js", keep("main.js", SCRIPT, bytes.encode(texts["main.tsx"])))
    .replace("style.css", keep("style.css", "text/css; charset=utf-8", bytes.encode(styled)));
  return { html, assets };
}

const digestOf = (body: Uint8Array | string): string => createHash("sha256").update(body).digest("hex");

function noEsbuild(error: unknown): never {
  throw new Failure(
    "halt",
    "PageNotMade",
    "the page is not made, and esbuild, which makes it, is not installed: `npm install` in the checkout installs it; an image is built with services/console/Dockerfile",
    error,
  );
}

/** Returns what was made by the last start, unless one of its sources has changed since. */
async function madeBefore(kept: string): Promise<Made | undefined> {
  const text = await readFile(kept, "utf8").catch(() => undefined);
  const made = text === undefined ? undefined : Made.safeParse(parsed(text)).data;
  if (made === undefined) return undefined;
  const same = Object.entries(made.sources).map(async ([path, digest]) => {
    const body = await readFile(join(folder, path)).catch(() => undefined);
    return body !== undefined && digestOf(body) === digest;
  });
  return (await Promise.all(same)).every((it) => it) ? made : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // cut off by a full disk: the same as if nothing were kept
  }
}

async function makeAndKeep(kept: string, esbuild: Esbuild): Promise<Made> {
  const [script, style] = await Promise.all([make("main.tsx", esbuild), make("style.css", esbuild)]);
  const made = {
    sources: { ...script.sources, ...style.sources },
    texts: { "main.tsx": script.text, "style.css": style.text },
    parts: script.parts,
  };
  // A folder that nobody may write to costs a start a moment, and no more.
  const beside = `${kept}.${process.pid}`;
  await mkdir(dirname(kept), { recursive: true })
    .then(() => writeFile(beside, JSON.stringify(made)))
    .then(() => rename(beside, kept))
    .catch(() => undefined);
  return made;
}

async function make(entry: string, { build }: Esbuild): Promise<Pick<Made, "sources" | "parts"> & { readonly text: string }> {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(folder, entry)],
    bundle: true,
    metafile: true,
    absWorkingDir: folder,
    minify: true,
    write: false,
    format: "esm",
    splitting: true,
    outdir: "made",
    chunkNames: "[name]-[hash]",
    target: ["es2023", "chrome120", "firefox120", "safari17"],
    jsx: "automatic",
    jsxImportSource: "preact",
    external: ["fonts/*"],
    legalComments: "none",
    logLevel: "silent",
  });
  const made = entry.replace(/tsx$/, "js");
  const file = outputFiles.find(({ path }) => basename(path) === made);
  const others = outputFiles.filter((it) => it !== file);
  if (file === undefined) throw new TypeError(`esbuild made nothing of ${entry}`);
  // The versions of all that made it stand in package.json.
  const paths = [...Object.keys(metafile.inputs), "../package.json"];
  const sources = paths.map(async (path) => [path, digestOf(await readFile(join(folder, path)))] as const);
  const parts = Object.fromEntries(others.map(({ path, text }) => [basename(path), text]));
  return { text: file.text, parts, sources: Object.fromEntries(await Promise.all(sources)) };
}
