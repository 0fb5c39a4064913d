/**
 * The pocket as a program of its own, for tests that kill what talks to it:
 *
 *   node packages/pocket/main.ts --data DIR [--port N] [--token T] [--namespace NAME]… [--instant] [--request-log FILE]
 *
 * It prints one line of JSON when it is ready, {"url": …, "token": …}, and stops its pods and itself on SIGTERM.
 */
import { parseArgs } from "node:util";
import { startPocket } from "./start.ts";

const USAGE =
  "usage: node packages/pocket/main.ts --data DIR [--port N] [--token T] [--namespace NAME]... [--instant] [--request-log FILE]";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      port: { type: "string", default: "0" },
      token: { type: "string" },
      namespace: { type: "string", multiple: true },
      instant: { type: "boolean", default: false },
      "request-log": { type: "string" },
    },
  });
  const port = Number(values.port);
  if (values.data === undefined || !Number.isInteger(port)) throw new TypeError(USAGE);
  const requestLog = values["request-log"];
  await using pocket = await startPocket({
    dataDir: values.data,
    port,
    instant: values.instant,
    ...(values.token === undefined ? {} : { token: values.token }),
    ...(values.namespace === undefined ? {} : { namespaces: values.namespace }),
    ...(requestLog === undefined ? {} : { requestLog }),
  });
  process.stdout.write(`${JSON.stringify({ url: pocket.url, token: pocket.token })}\n`);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`the pocket could not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
