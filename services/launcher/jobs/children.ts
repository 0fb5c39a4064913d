/**
 * The pods that a step's program made itself, with `run.childLabels`: they are deleted before the step ends, also the finished ones,
 * which would keep their volumes.
 *
 * The bug this prevents: a program is killed, and the pods that it made run on for days, because no Job owns them and no watcher
 * follows them.
 */
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { wordsOfLabels } from "@longshore/domain/run/identity.ts";
import { at, text } from "@longshore/domain/watch/raw.ts";
import type { Work } from "@longshore/ledger/port.ts";
import type { Cluster, Parts } from "../parts.ts";
import { deletePod } from "./refusals.ts";

/** At most so many are deleted in one turn: a program may have made thousands. */
const MOST = 64;
/** A pod that was told to end is gone within its grace. If it stays longer, its node is lost or somebody's finalizer holds it. */
const GONE_WITHIN_MS = 120_000;

/** Deletes children that are still there. `undefined`: the cluster did not say whether there are any. */
export async function deleteChildren(
  parts: Pick<Parts, "keys" | "log">,
  cluster: Cluster,
  { run, attempt, nowMs }: Work,
  signal: AbortSignal,
): Promise<AttemptInput | undefined> {
  const selector = wordsOfLabels(parts.keys.childLabels(run.id, attempt.step));
  const listed = await cluster.reads.namesOfPods(selector, MOST, signal);
  if (listed.kind !== "listed") return undefined;
  if (listed.items.length === 0) return { kind: "children", found: "none" };
  const pods = listed.items.map((it) => ({
    name: text(at(it, "metadata", "name")) ?? "",
    uid: text(at(it, "metadata", "uid")) ?? "",
    deletionMs: Date.parse(text(at(it, "metadata", "deletionTimestamp")) ?? ""),
  }));
  const how = run.cancel?.graceSeconds === undefined ? {} : { graceSeconds: run.cancel.graceSeconds };
  const standing = pods.filter(({ deletionMs }) => Number.isNaN(deletionMs));
  await Promise.all(standing.map((pod) => deletePod(parts, cluster, pod, how, signal)));
  const stuck = pods.filter(({ deletionMs }) => deletionMs < nowMs - GONE_WITHIN_MS).map(({ name }) => name);
  if (stuck.length > 0)
    parts.log.warn("pods that a step's program made do not go; the step ends when they are gone", {
      group: cluster.name,
      run: run.id,
      step: attempt.step,
      pods: stuck,
    });
  return { kind: "children", found: "some" };
}
