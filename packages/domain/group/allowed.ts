/**
 * Rules for what a launcher may do with a group, depending on how it finds the group.
 *
 * The bug this prevents: each loop asks another flag, and one of them creates Jobs before anybody has shown whose namespace it
 * is.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import type { GroupView, ViewIn } from "./view.ts";

type Answered = ViewIn<"healthy" | "doubted" | "refusing" | "terminating">;

/** The last answer came from the group's own namespace. A create there may be refused; then its answer moves the attempt on. */
export const mayCreate = (view: GroupView): view is Answered => {
  switch (view.state) {
    case "healthy":
    case "doubted":
    case "refusing":
    case "terminating":
      return true;
    case "unverified":
    case "away":
    case "barred":
    case "moved":
      return false;
  }
};

/** True if "missing" there means that our Job is gone. A barred group's namespace may be gone, with all its Jobs. */
export const mayJudge = (view: GroupView): view is Answered | ViewIn<"barred"> => view.state === "barred" || mayCreate(view);

/** Returns why no Job may be created there, and why sightings there prove nothing. */
export const whyNot = (view: GroupView, group: GroupName): Diagnosis =>
  view.state !== "unverified" && "diagnosis" in view
    ? view.diagnosis
    : diagnose("EndpointUnreachable", `The group ${group} was not reached yet.`);

/**
 * An attempt that is ready there is claimed even if nothing may be created: then the attempt is given back, for another group
 * to take. The attempt is left to other launchers until the group has answered us or failed to, and while the group answers
 * another launcher.
 */
export const mayClaim = (view: GroupView): boolean => view.state !== "unverified" && !("overruled" in view);

/** The group is asked again before its silence has any consequence. */
export const isDoubted = (view: GroupView): boolean => view.state === "doubted" || ("doubted" in view && view.doubted);

export const isWell = ({ state }: GroupView): boolean => state === "healthy" || state === "doubted";

/** Returns why this launcher places nothing there now: each claim would cost two writes for a create that is not sent. */
export const quietIn = ({ quiet }: GroupView, nowMs: number): string | undefined =>
  quiet !== undefined && nowMs < quiet.untilMs ? quiet.why : undefined;

const DOUBT_MS = 2_000;
const UNWELL_MS = 1_000;

/**
 * Returns the time until the group is asked again, if that is sooner than the next turn: a run may be waiting for just this.
 */
export const probeAgainMs = (view: GroupView): number | undefined => {
  if (isDoubted(view)) return DOUBT_MS;
  return isWell(view) ? undefined : UNWELL_MS;
};

const LOOK_MS = 2_000;

/**
 * The time between looks at a Job that is on its way out. A cluster that cannot be reached tells nothing: for a thousand
 * cancelled runs there, looking would be a thousand writes every two seconds.
 */
export const lookAgainMs = ({ state }: GroupView, leaseMs: number): number =>
  state === "away" || state === "barred" || state === "moved" ? Math.max(LOOK_MS, leaseMs) : LOOK_MS;
