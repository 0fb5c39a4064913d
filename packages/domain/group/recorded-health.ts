/**
 * A launcher's report to the ledger about a group (its word), and the leases that decide whose word counts if launchers
 * disagree.
 *
 * The bug this prevents: two launchers disagree, since one cannot reach the cluster; each overwrites the other's word at every
 * probe, and each waiting run reports both. A group is healthy as long as any launcher finds it healthy. If two launchers find
 * it unhealthy for different reasons, the first reason stays while that launcher repeats it.
 */
import { diagnosisOf, type GroupView, isWell, type RecordedHealth } from "./view.ts";

/** "refused": the group rests after refused writes, and an answered read does not end the rest. */
export type WordLease = "healthy" | "unhealthy" | "refused";

export interface Word extends Pick<RecordedHealth, "diagnosis"> {
  readonly health: "healthy" | "unhealthy";
  /** The health or the diagnosis code differs from the ledger's; a different sentence alone does not count. */
  readonly turns: boolean;
  /** The word is told only if no other launcher has one of these leases. */
  readonly needs: readonly WordLease[];
}

/** Returns our word; `undefined` if we know the group only from the ledger, or are about to ask it again. */
export function wordOf(view: GroupView, recorded: RecordedHealth | undefined): Word | undefined {
  if (view.state === "unverified" || view.state === "doubted") return undefined;
  const health = isWell(view) ? "healthy" : "unhealthy";
  const isUnsure = view.state === "away" || view.state === "barred";
  // A group that the ledger calls moved stays "moved" while its cluster is away or shuts us out, so that a person can accept it
  // meanwhile, too.
  const diagnosis = isUnsure && recorded?.diagnosis?.code === "GroupMoved" ? recorded.diagnosis : diagnosisOf(view);
  const turns = recorded?.health !== health || recorded.diagnosis?.code !== diagnosis?.code;
  return { health, diagnosis, turns, needs: turns ? needed(health, recorded) : [] };
}

function needed(health: Word["health"], recorded: RecordedHealth | undefined): readonly WordLease[] {
  if (health === "healthy") return ["refused"];
  return recorded?.health === "unhealthy" ? ["healthy", "unhealthy"] : ["healthy"];
}

/** For this many probes other launchers cannot contradict a recorded word. */
export const BELIEVED_PROBES = 3;
