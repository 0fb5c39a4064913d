/**
 * What a program loads before it does anything.
 *
 * The failure this prevents: an import that makes every start and every command slower by code that nothing uses. The index of
 * undici and that of prom-client did, and so did an import of node:http.
 */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";

const UNUSED =
  /internal\/deps\/undici|node_modules\/undici\/(index\.js|lib\/(web|mock|cache)\/)|@opentelemetry\/|prom-client\/index/;
/** The loaded modules: those of Node, and the CommonJS files of packages. */
const SAYS = `import { createRequire } from "node:module";
await import(process.argv[1]);
console.log([...process.moduleLoadList, ...Object.keys(createRequire(import.meta.url).cache)].join("\\n"));
process.exit(0)`;

function loadedBy(program: string): readonly string[] {
  const url = pathToFileURL(resolve(import.meta.dirname, "..", "services", program, "main.ts")).href;
  return execFileSync(process.execPath, ["--input-type=module", "-e", SAYS, url], { encoding: "utf8" }).split("\n");
}

for (const program of ["launcher", "longshore", "recorder", "watcher"])
  t.test(`${program} loads nothing that it does not use`, async (t) => {
    const loaded = loadedBy(program);
    t.ok(
      loaded.some((it) => it.includes("node_modules/yaml/dist/index.js")),
      "the program itself is there",
    );
    t.same(
      loaded.filter((it) => UNUSED.test(it)),
      [],
    );
    const counts = loaded.some((it) => it.includes("node_modules/prom-client/lib/registry.js"));
    t.equal(counts, program !== "longshore", "only programs that go on count; `up` loads them when it starts them");
  });
