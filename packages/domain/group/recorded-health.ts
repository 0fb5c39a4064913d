/**
 * What a launcher says of a group to the ledger, and the leases by which launchers that disagree take turns.
 *
 * The bug this prevents: two launchers of which one has no way to the cluster. Each would overwrite the other's word at every
 * probe, and each waiting run would be told of both. A group is well as long as any launcher finds it well; of two that find it
 * unwell for different reasons the first one's reason stays while that launcher goes on saying so.
 */
import { isWell } from "./allowed.ts";
import { diagnosisOf, type GroupView, type RecordedHealth } from "./view.ts";

/** "refused": the group rests, and no answered read makes it well. */
export type WordLease = "healthy" | "unhealthy" | "refused";

export interface Word extends Pick<RecordedHealth, "diagnosis"> {
  readonly health: "healthy" | "unhealthy";
  /** It differs from the ledger's in more than its sentence. */
  readonly turns: boolean;
  /** It is told only where no other launcher has one of these. */
  readonly needs: readonly WordLease[];
}

/** `undefined`: the view is not our own, or the group is about to be asked again. */
export function wordOf(view: GroupView, recorded: RecordedHealth | undefined): Word | undefined {
  if (view.state === "unverified" || view.state === "doubted") return undefined;
  const health = isWell(view) ? "healthy" : "unhealthy";
  const isUnsure = view.state === "away" || view.state === "barred";
  // No answer takes back that the group moved: it can be accepted while its cluster is away, too.
  const diagnosis = isUnsure && recorded?.diagnosis?.code === "GroupMoved" ? recorded.diagnosis : diagnosisOf(view);
  const turns = recorded?.health !== health || recorded.diagnosis?.code !== diagnosis?.code;
  return { health, diagnosis, turns, needs: turns ? needed(health, recorded) : [] };
}

function needed(health: Word["health"], recorded: RecordedHealth | undefined): readonly WordLease[] {
  if (health === "healthy") return ["refused"];
  return recorded?.health === "unhealthy" ? ["healthy", "unhealthy"] : ["healthy"];
}

/** For so many probes a word keeps others from contradicting it. */
export const BELIEVED_PROBES = 3;
