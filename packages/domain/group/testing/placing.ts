/** Groups that take attempts, and runs of one step, for tests of placing. */
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName, RunId } from "@longshore/contract/ids.ts";
import { at, MINUTE, NOW, planOf, runOf, step } from "../../attempt/testing/examples.ts";
import type { RunRecord } from "../../run/record.ts";
import type { Group } from "../group.ts";
import { lineOf, placeAttempts } from "../place-attempts.ts";

export const taking = (jobs: number, createsPerSecond?: number): Pick<Group, "settings"> => ({
  settings: GroupSettings.parse({ limits: { jobs, ...(createsPerSecond !== undefined && { createsPerSecond }) } }),
});
export const open = (name: GroupName, more: Partial<Group> = {}): Group => ({
  name, namespace: "jobs", ...taking(10), slotsUsed: 0, paused: false, health: "healthy", everHealthy: true, servedAtMs: NOW, ...more,
}); // biome-ignore format: a value read as one

export const simple = (limits: object = {}): RunRecord => runOf(planOf([step("main")], limits, true));

export const placer = { serves: new Set<GroupName>(), quiet: new Map<GroupName, string>(), placeAgainMs: MINUTE };

/** Places all attempts of these runs, one after the other. Returns the runs as they are then. */
export function placedWith(records: readonly RunRecord[], groups: readonly Group[], entering: readonly RunId[] = []) {
  const named = records.map((record, at) => [RunId.parse(`run-${at}`), record] as const);
  const candidates = named.flatMap(([run, { attempts }], accepted) =>
    attempts.map(({ step: of, n }) => ({ run, step: of, n, priority: 0, accepted })),
  );
  const lines = [lineOf("fresh", candidates, 100)];
  const placing = {
    lines,
    records: new Map(named),
    groups,
    entering: new Set(entering),
    placer,
    most: 100,
    claiming: undefined,
  };
  const { changes } = placeAttempts(placing, at);
  return named.map(([run, record]) => changes.get(run)?.after ?? record);
}
