/**
 * Makes the page's files with esbuild: a script, a style sheet and two fonts, named by their content.
 *
 * The failure this prevents: a browser that keeps yesterday's script beside today's server. A name changes with the content, so
 * that a file may be kept for ever, and only the page itself is asked for again.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";

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

export async function bundlePage(): Promise<PageFiles> {
  const assets = new Map<string, PageFile>();
  const keep = (name: string, type: string, body: Uint8Array): string => {
    const hash = createHash("sha256").update(body).digest("hex").slice(0, 10);
    const named = name.replace(".", `-${hash}.`);
    assets.set(named, { type, body });
    return `/assets/${named}`;
  };
  const fonts = await Promise.all(
    Object.entries(FONTS).map(
      async ([name, path]) => [name, keep(name, "font/woff2", await readFile(require.resolve(path)))] as const,
    ),
  );
  const [script, style] = await Promise.all([made("main.tsx"), made("style.css")]);
  const styled = fonts.reduce((css, [name, url]) => css.replaceAll(`fonts/${name}`, url), style);
  const text = new TextEncoder();
  const html = (await readFile(join(folder, "index.html"), "utf8"))
    .replace("icon.svg", keep("icon.svg", "image/svg+xml", await readFile(join(folder, "icon.svg"))))
    .replace("main.js", keep("main.js", "text/javascript; charset=utf-8", text.encode(script)))
    .replace("style.css", keep("style.css", "text/css; charset=utf-8", text.encode(styled)));
  return { html, assets };
}

async function made(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(folder, entry)],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: ["es2023", "chrome120", "firefox120", "safari17"],
    jsx: "automatic",
    jsxImportSource: "preact",
    external: ["fonts/*"],
    legalComments: "none",
    logLevel: "silent",
  });
  const [file] = outputFiles;
  if (file === undefined) throw new TypeError(`esbuild made nothing of ${entry}`);
  return file.text;
}
