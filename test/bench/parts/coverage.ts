/**
 * Finds the modules of a running Node program that execute between two moments, by V8's counts, which its inspector tells.
 *
 * The failure this prevents: a list of the modules that are loaded, which says nothing about the way of a message. A function
 * that waits and goes on counts as called again, so that a loop that never ends counts at each of its turns.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { inspectorUrl, openInspector } from "./inspector.ts";

export interface Coverage extends AsyncDisposable {
  /** Returns the files below the folder that executed since the last call, as paths relative to the folder. */
  taken(): Promise<ReadonlySet<string>>;
}

/** `said`: what the program printed to stderr after it was started with `--inspect`. */
export async function openCoverage(said: readonly string[], folder: string): Promise<Coverage> {
  const inspector = await openInspector(inspectorUrl(said));
  await inspector.ask("Profiler.enable");
  await inspector.ask("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  return {
    taken: async () => executedIn(folder, (await inspector.ask("Profiler.takePreciseCoverage")) as Taken),
    [Symbol.asyncDispose]: () => inspector[Symbol.asyncDispose](),
  };
}

/** The part of the protocol's answer that is read here. V8 sets every count back to zero when it has answered. */
interface Taken {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly { readonly count: number }[] }[];
  }[];
}

function executedIn(folder: string, { result }: Taken): ReadonlySet<string> {
  const executed = result.filter(
    ({ url, functions }) => url.startsWith("file:") && functions.some(({ ranges }) => ranges.some(({ count }) => count > 0)),
  );
  const files = executed.map(({ url }) => path.relative(folder, fileURLToPath(url)));
  return new Set(files.filter((file) => !/^\.\.|(^|\/)node_modules\//.test(file)));
}
