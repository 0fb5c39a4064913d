/**
 * The pocket as a program of its own, for tests that kill the programs that talk to it:
 *
 *   node packages/pocket/testing/main.ts --data DIR [--pods instant|held] [--throwaway] [--request-log FILE]
 *
 * It prints one line of JSON when it is ready, {"url": …, "token": …}, and stops its pods and itself on SIGTERM. SIGUSR2 ends all
 * pods that are held.
 */
import { parseArgs } from "node:util";
import type { Clock } from "@longshore/runtime/clock.ts";
import { startPocket } from "../start.ts";
import { type HeldPods, heldPods, instantPods } from "./scripted.ts";

const USAGE = "usage: node packages/pocket/testing/main.ts --data DIR [--pods instant|held] [--throwaway] [--request-log FILE]";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      pods: { type: "string" },
      throwaway: { type: "boolean", default: false },
      "request-log": { type: "string" },
    },
  });
  const { data, pods, throwaway, "request-log": requestLog } = values;
  if (data === undefined || (pods !== undefined && pods !== "instant" && pods !== "held")) throw new TypeError(USAGE);
  await using pocket = await startPocket({
    dataDir: data,
    throwaway,
    ...(pods === "instant" && { pods: instantPods }),
    ...(pods === "held" && { pods: endedBySignal }),
    ...(requestLog !== undefined && { requestLog }),
  });
  process.stdout.write(`${JSON.stringify({ url: pocket.url, token: pocket.token })}\n`);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
}

function endedBySignal(clock: Clock): HeldPods {
  const pods = heldPods(clock);
  process.on("SIGUSR2", () => pods.endAll());
  return pods;
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`the pocket could not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
