/**
 * Applies inputs to attempts: answers of creates, facts, looks, timers. One transaction for a whole batch.
 *
 * The bugs this prevents: a fact that is acknowledged before its effect was committed; and two facts of one run that are
 * decided on the same old state.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Names } from "@longshore/domain/run/begin.ts";
import { type AnchorEntry, applyInputs, applyToAnchors } from "@longshore/domain/run/change.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Entry, Recorded } from "../../port.ts";
import type { Database } from "../connection.ts";
import { lockRuns } from "../rows.ts";
import { write, type Writing } from "../write.ts";

export interface Parts extends Names {
  readonly database: Database;
  readonly epoch: number;
  readonly log: Log;
}

export async function record(parts: Parts, batch: readonly Entry[]): Promise<readonly Recorded[]> {
  if (batch.length === 0) return [];
  try {
    return await recordAll(parts, batch);
  } catch (error) {
    if (!(error instanceof Failure && error.disposition === "refuse") || batch.length === 1) throw error;
    return await oneByOne(parts, batch);
  }
}

/** If one input cannot be stored, the other inputs of the batch are recorded all the same. */
async function oneByOne(parts: Parts, batch: readonly Entry[]): Promise<readonly Recorded[]> {
  const recorded: Recorded[] = [];
  for (const entry of batch) {
    try {
      recorded.push(...(await recordAll(parts, [entry])));
    } catch (error) {
      if (!(error instanceof Failure && error.disposition === "refuse")) throw error;
      parts.log.error("an input cannot be stored and was left out", { run: entry.run, input: entry.input.kind, error });
      recorded.push({ kind: "unknown" });
    }
  }
  return recorded;
}

/** Records what the sweep learned of anchors. */
export async function recordAnchors({ database, epoch, jobName }: Parts, batch: readonly AnchorEntry[]): Promise<void> {
  if (batch.length === 0) return;
  await database.transaction(async (queries, now) => {
    const [nowMs, held] = await Promise.all([now, lockRuns(queries, batch.map(({ run }) => run))]); // biome-ignore format: one call
    const writings = [...Map.groupBy(batch, ({ run }) => run)].flatMap(([run, ofRun]): Writing[] => {
      const it = held.get(run);
      return it === undefined ? [] : [{ change: applyToAnchors(it.record, ofRun, { nowMs, epoch, jobName }), held: it }];
    });
    await write(queries, writings, nowMs, epoch);
  });
}

async function recordAll({ database, epoch, jobName }: Parts, batch: readonly Entry[]): Promise<readonly Recorded[]> {
  const numbered = batch.map((entry, index) => ({ entry, index }));
  return await database.transaction(async (queries, now) => {
    const ids = batch.map(({ run }) => run);
    const [nowMs, held] = await Promise.all([now, lockRuns(queries, ids)]);
    const recorded: Recorded[] = batch.map(() => ({ kind: "unknown" }));
    const writings: Writing[] = [];
    for (const [run, ofRun] of Map.groupBy(numbered, ({ entry }) => entry.run)) {
      const it = held.get(run);
      if (it === undefined) continue;
      const applied = applyInputs(
        it.record,
        ofRun.map(({ entry }) => entry),
        { nowMs, epoch, jobName },
      );
      for (const [place, { index }] of ofRun.entries()) recorded[index] = applied.recorded[place] ?? { kind: "unknown" };
      writings.push({ change: applied.change, held: it });
    }
    await write(queries, writings, nowMs, epoch);
    return recorded;
  });
}
