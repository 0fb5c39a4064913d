/** The document of the console's HTTP, against the one that was looked at. Written by: node services/console/openapi.test.ts --write */
import { readFile, writeFile } from "node:fs/promises";
import { silentLog } from "@longshore/runtime/log.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import type { Parts } from "./parts.ts";
import { openServer } from "./serve.ts";

/** The document needs the routes alone: nobody asks them. */
const parts = {
  ...{ log: silentLog, clock: systemClock, files: { html: "", assets: new Map() } },
  ...{ metrics: openMetrics("console", "0.1.0"), proxies: [], ways: {}, requestsPerMinute: 1 },
} as unknown as Parts;
const server = await openServer(parts);
t.teardown(() => server.close());
await server.ready();
const document = server.swagger() as unknown as Document;

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}
interface Operation {
  readonly summary?: string;
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
}

t.test("the document is the one in openapi.json", async (t) => {
  const golden = new URL("./openapi.json", import.meta.url);
  const found = `${JSON.stringify(document, null, 2)}\n`;
  if (process.argv.includes("--write")) await writeFile(golden, found);
  t.equal(found, await readFile(golden, "utf8"));
});

t.test("each operation says in a sentence what it does, and each of its refusals is a problem", async (t) => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, it]) => [`${method} ${path}`, it] as const),
  );
  t.ok(operations.length > 10);
  for (const [name, { summary = "", responses }] of operations) {
    t.match(summary, /^[A-Z].*\.$/, name);
    for (const [status, { content = {} }] of Object.entries(responses))
      if (Number(status) >= 400) t.same(Object.keys(content), ["application/problem+json"], `${name} ${status}`);
  }
});
