/**
 * A launcher's word to the ledger about a group, and the leases that decide whose word stands if launchers disagree.
 *
 * The bug this prevents: two launchers disagree, since one cannot reach the cluster; each overwrites the other's word at every
 * probe, and each waiting run is told both words. A group is well as long as any launcher finds it well. If two launchers find
 * it unwell for different reasons, the first one's reason stands while that launcher goes on saying so.
 */
import { diagnosisOf, type GroupView, isWell, type RecordedHealth } from "./view.ts";

/** "refused": the group rests after refused writes, and an answered read does not end the rest. */
export type WordLease = "healthy" | "unhealthy" | "refused";

export interface Word extends Pick<RecordedHealth, "diagnosis"> {
  readonly health: "healthy" | "unhealthy";
  /** Health or diagnosis code differs from the ledger's; a different sentence alone is no turn. */
  readonly turns: boolean;
  /** The word is told only if no other launcher has one of these leases. */
  readonly needs: readonly WordLease[];
}

/** Returns our word; `undefined` if the view is not our own, or if the group is about to be asked again. */
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
