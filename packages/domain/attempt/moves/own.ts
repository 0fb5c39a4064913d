/**
 * Decides whose Job was seen: the attempt's own, one that may become it, or a stray.
 *
 * The bugs this prevents: another Job's end told as this attempt's; a fact that came before the create's answer and was thrown
 * away; and a surplus Job that runs on because no loop is responsible for it.
 */
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "../input.ts";
import { type Attempt, isFenced, isNewer, type Stray } from "../../run/record.ts";
import { restUntilMs } from "./ending.ts";
import { after, type Context, type Move, move, type Rule, stay } from "./move.ts";

type Sighting = { readonly uid: Uid; readonly group: GroupName };
export type SightingKind = "created" | "started" | "stalled" | "resumed" | "complete" | "failed" | "deleting" | "lookedDeleted";

/**
 * "bind": the attempt knows of no Job, or its Job is provably gone, and a create of it may have made this one.
 * "occupant": the Job that we put there ourselves, so that no other takes the name. It is neither adopted nor a stray.
 */
function whose(attempt: Attempt, { uid, group }: Sighting): "own" | "bind" | "occupant" | "other" {
  if (group !== attempt.group) return "other";
  if (uid === attempt.occupantUid) return "occupant";
  if (uid === attempt.uid) return endedBlind(attempt) ? "other" : "own";
  const binds = attempt.state === "claimed" || attempt.state === "closing";
  return binds && (attempt.uid === undefined || attempt.notes.gone === true) ? "bind" : "other";
}

/** The attempt ended without evidence, so there is no outcome to protect: any Job of it must go. */
const endedBlind = ({ state, outcome, notes }: Attempt): boolean =>
  (state === "ended" || state === "done") && (outcome?.result === "lost" || notes.gone === true);

/** Wraps a rule about a sighting: only the attempt's own Job counts, and an unknown one is bound first. */
export function ofOwn<K extends SightingKind>(rule: Rule<K>): Rule<K> {
  return (attempt, input, context) => {
    const sighting: Sighting = input;
    switch (whose(attempt, sighting)) {
      case "own":
        return rule(attempt, input, context);
      case "occupant":
        return stay(attempt);
      case "other":
        return stray(attempt, sighting, context);
      case "bind": {
        const said: AttemptInput = input;
        const bound = bind(attempt, sighting.uid, context, said.kind === "created" && said.adopted);
        return after(bound.news, rule(bound.attempt, input, context));
      }
    }
  };
}

/** The Job has become known, so the attempt was launched. If it is being closed, it is looked at and deleted at once. */
function bind(attempt: Attempt, uid: Uid, { nowMs }: Context, adopted: boolean): Move {
  const { gone: _, ...notes } = attempt.notes;
  const dueMs = attempt.state === "closing" ? nowMs : attempt.dueMs;
  // Sightings of an earlier Job say nothing of this one.
  const started = attempt.started === "no" ? "unknown" : attempt.started;
  const bound: Attempt = { ...attempt, uid, dueMs, started, notes: { ...notes, launchedAtMs: notes.launchedAtMs ?? nowMs } };
  return move(bound, notes.launchedAtMs === undefined ? [{ kind: "launched", adopted }] : []);
}

/** Remembers the version of the view, so that an older view that comes later is known to be older. */
export const sighted = (attempt: Attempt, rv: string): Attempt =>
  isNewer(rv, attempt.seenRv) ? { ...attempt, seenRv: rv } : attempt;

/** Nothing new about the attempt's own Job; any other Job is a stray. */
export const nothingNew: Rule<SightingKind> = ofOwn<SightingKind>(stay);

/** The outcome is recorded and the hold still stands: release it, but not while a create may yet land. */
export const releaseAgain: Rule<"complete" | "failed" | "deleting" | "lookedDeleted"> = ofOwn((attempt, input, context) => {
  if (attempt.state === "done") return move(attempt, [], [strayOf("release", attempt, input, context)]);
  const soonestMs = Math.min(attempt.dueMs ?? Infinity, restUntilMs(attempt, context.nowMs));
  return soonestMs === attempt.dueMs ? stay(attempt) : move({ ...attempt, dueMs: soonestMs });
});

export const stray = (attempt: Attempt, input: Sighting, context: Context): Move =>
  move(attempt, [], [strayOf("stray", attempt, input, context)]);

function strayOf(kind: Stray["kind"], attempt: Attempt, { uid, group }: Sighting, { nowMs }: Context): Stray {
  const holdUntilMs = isFenced(attempt, nowMs) ? (attempt.fenceUntilMs ?? nowMs) : nowMs;
  return { kind, group, name: attempt.name, uid, holdUntilMs };
}
