/**
 * The pocket as a program of its own, for tests that kill the programs that talk to it:
 *
 *   node packages/pocket/testing/main.ts --data DIR [--instant] [--throwaway] [--request-log FILE]
 *
 * It prints one line of JSON when it is ready, {"url": …, "token": …}, and stops its pods and itself on SIGTERM.
 */
import { parseArgs } from "node:util";
import { startPocket } from "../start.ts";
import { instantPods } from "./scripted.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      instant: { type: "boolean", default: false },
      throwaway: { type: "boolean", default: false },
      "request-log": { type: "string" },
    },
  });
  const { data, instant, throwaway, "request-log": requestLog } = values;
  if (data === undefined)
    throw new TypeError("usage: node packages/pocket/testing/main.ts --data DIR [--instant] [--throwaway] [--request-log FILE]");
  await using pocket = await startPocket({
    dataDir: data,
    throwaway,
    ...(instant && { pods: instantPods }),
    ...(requestLog !== undefined && { requestLog }),
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
