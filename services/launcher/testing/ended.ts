/**
 * Ended attempts on the stage of one launcher: released, and their strays swept, as its loops do it.
 *
 * The failure this prevents: suites of which each releases in a way of its own.
 */
import type { Test } from "tap";
import { closeOne } from "../loops/close.ts";
import { releaseOne } from "../loops/release.ts";
import { sweepOne } from "../loops/sweep.ts";
import { claimed, GROUP, live, NAMESPACE, never, RUN, type Stage } from "./stage.ts";

export const FENCE_MS = 11 * 60_000;

/** Releases as the loop does, until the attempt is done or the time has passed. */
export async function releasing(it: Stage, forMs = 60_000): Promise<void> {
  for (const endMs = it.clock.now() + forMs; it.clock.now() < endMs && it.attempt().state === "ended"; ) {
    const work = await it.take("ended");
    if (work !== undefined) await releaseOne(it.parts, it.cluster, work, never);
    await it.clock.sleep(1_000);
  }
}

/** An attempt whose Job succeeded, as the ledger has recorded. */
export async function succeeded(t: Test, runsMs = 1_000): Promise<Stage> {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs } });
  await it.clock.sleep(30_000);
  const uid = it.attempt().uid;
  if (uid === undefined) throw new TypeError("it has no UID");
  await it.record({ kind: "complete", evidence: { started: "yes", exitCode: 0 }, uid, rv: "99", group: GROUP });
  return it;
}

/** An attempt that was cancelled while a create was unanswered; our occupant has its name. */
export async function occupied(t: Test): Promise<Stage> {
  const it = await claimed(t);
  await it.publish("run.cancel", { run: RUN });
  const work = await it.take("closing");
  if (work !== undefined) await closeOne(it.parts, it.cluster, work, never);
  return it;
}

export const name = (it: Stage) => ({ namespace: NAMESPACE, name: it.attempt().name });

/** Sweeps strays as the loop does, until none is left or the time has passed. */
export async function sweeping(it: Stage, forMs: number): Promise<void> {
  for (const endMs = it.clock.now() + forMs; it.clock.now() < endMs && it.model.tables.strays.size > 0; ) {
    const strays = await it.parts.ledger.takeStrays({ group: GROUP, most: 10, leaseMs: 2_000 });
    await Promise.all(strays.map((stray) => sweepOne(it.parts, it.cluster, stray, never)));
    await it.clock.sleep(1_000);
  }
}
