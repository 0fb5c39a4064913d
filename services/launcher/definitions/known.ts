/**
 * The definitions that requests may name, and the loop that keeps them up to date.
 *
 *   files ─▶ read every 10 s ─▶ changed, and without problems ─▶ ledger ─▶ known to every launcher
 *
 * The bugs this prevents: a change with a mistake that takes away the definition that worked; a file that is read while an editor
 * writes it; and a launcher without the files that refuses what another one takes. The ledger is what all of them ask.
 */
import type { DefinitionName } from "@longshore/contract/ids.ts";
import { nearest } from "@longshore/contract/problems/schema-problems.ts";
import type { Ledger, StoredDefinition } from "@longshore/ledger/port.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import type { Loop } from "@longshore/runtime/loop.ts";
import { retryLoop } from "../loops/retry-loop.ts";
import type { Parts } from "../parts.ts";
import { type ReadDefinitions, readDefinitions } from "./files.ts";

/** Changes of files, and of other launchers' files, are known after this time at the latest. */
const LOOK_MS = 10_000;
/** A changed file is taken only if it still reads the same after this time. */
const SETTLED_MS = 1_000;

export interface Definitions {
  /** Asks the ledger if the name is not known yet, since another launcher may have read its file a moment ago, or if it is a cluster's. */
  find(name: DefinitionName): Promise<StoredDefinition | undefined>;
  /** The name that a misspelt one most likely stands for. */
  nearestTo(name: DefinitionName): string | undefined;
  refresh(): Promise<void>;
}

export function knownDefinitions(ledger: Pick<Ledger, "definitions">): Definitions {
  let known: ReadonlyMap<string, StoredDefinition> = new Map();
  const refresh = async (): Promise<void> => {
    known = new Map((await ledger.definitions()).map((it) => [it.body.name, it]));
  };
  return {
    refresh,
    async find(name) {
      // A cluster's definition changes when somebody applies its object: nobody waits for the next look.
      if (!known.has(name) || name.includes("/")) await refresh();
      return known.get(name);
    },
    nearestTo: (name) => nearest(name, [...known.keys()]),
  };
}

/** Reads the folder at the start. Throws `ConfigProblems` with all that is wrong in it. */
export async function definitionsAtStart(dir: string): Promise<ReadDefinitions> {
  const read = await readDefinitions(dir);
  if (read.problems.length > 0) throw new ConfigProblems(read.problems);
  return read;
}

/** The folder, and how it was read at the start: this was put into the ledger. */
export interface Folder {
  readonly dir: string;
  readonly first: ReadDefinitions;
}

/** A launcher without a folder only asks the ledger. */
export function watchDefinitions(
  parts: Pick<Parts, "ledger" | "clock" | "log" | "pause" | "metrics" | "definitions">,
  folder: Folder | undefined,
): Loop {
  const { ledger, clock, log, metrics, definitions } = parts;
  let taken = folder?.first.content;

  async function look(dir: string, signal: AbortSignal): Promise<void> {
    const { content } = await readDefinitions(dir);
    if (content === taken) return;
    await clock.sleep(SETTLED_MS, signal);
    const settled = await readDefinitions(dir);
    if (settled.content !== content) return;
    await take(settled);
    taken = content;
  }

  async function take({ definitions: found, problems }: ReadDefinitions): Promise<void> {
    metrics.set("longshore_definition_problems", {}, problems.length);
    if (problems.length > 0)
      return log.error("the definitions' files have problems; the definitions stay as they were", { problems });
    await ledger.putDefinitions(found);
    log.info("the definitions changed", { definitions: found.map(({ body }) => body.name) });
  }

  return (signal) =>
    retryLoop(parts, { what: "definitions", ms: LOOK_MS, signal }, async () => {
      if (folder !== undefined) await look(folder.dir, signal);
      await definitions.refresh();
    });
}
