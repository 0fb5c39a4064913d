/**
 * Whose Job was seen: the attempt's own, one that may become it, or a stray.
 *
 * The bugs this prevents: another Job's end told as this attempt's; a fact that came before the create's answer and was
 * thrown away; and a surplus Job that runs on since nobody feels responsible for it.
 */
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "../input.ts";
import { type Attempt, isFenced, isNewer, type Stray } from "../../run/record.ts";
import { restUntilMs } from "./ending.ts";
import { after, type Context, type Move, move, type Rule, stay } from "./move.ts";

type Sighting = { readonly uid: Uid; readonly group: GroupName };
export type SightingKind = "created" | "started" | "stalled" | "resumed" | "complete" | "failed" | "deleting" | "lookedDeleted";

/**
 * "bind": the attempt knows of no Job, or its Job is provably no more, and a create of it may have made this one.
 * "occupant": the Job that we put there ourselves, so that nothing else takes the name. It is neither adopted nor a stray.
 */
function whose(attempt: Attempt, { uid, group }: Sighting): "own" | "bind" | "occupant" | "other" {
  if (group !== attempt.group) return "other";
  if (uid === attempt.occupantUid) return "occupant";
  if (uid === attempt.uid) return endedBlind(attempt) ? "other" : "own";
  const binds = attempt.state === "claimed" || attempt.state === "closing";
  return binds && (attempt.uid === undefined || attempt.notes.gone === true) ? "bind" : "other";
}

/** It ended without evidence, so there is no outcome to protect: whatever still stands of it must go. */
const endedBlind = ({ state, outcome, notes }: Attempt): boolean =>
  (state === "ended" || state === "done") && (outcome?.result === "lost" || notes.gone === true);

/** For a rule about something seen of a Job: only the attempt's own is heard, and it is bound where none was known. */
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

/** Its Job has become known, so it was launched. One that is being closed is looked at and deleted at once. */
function bind(attempt: Attempt, uid: Uid, { nowMs }: Context, adopted: boolean): Move {
  const { gone: _, ...notes } = attempt.notes;
  const dueMs = attempt.state === "closing" ? nowMs : attempt.dueMs;
  // What was seen of a Job before it says nothing of this one.
  const started = attempt.started === "no" ? "unknown" : attempt.started;
  const bound: Attempt = { ...attempt, uid, dueMs, started, notes: { ...notes, launchedAtMs: notes.launchedAtMs ?? nowMs } };
  return move(bound, notes.launchedAtMs === undefined ? [{ kind: "launched", adopted }] : []);
}

/** Remembers how new the view was, so that an older one that comes later is known to be older. */
export const sighted = (attempt: Attempt, rv: string): Attempt =>
  isNewer(rv, attempt.seenRv) ? { ...attempt, seenRv: rv } : attempt;

/** Nothing new about its own Job; any other is a stray. */
export const nothingNew: Rule<SightingKind> = ofOwn<SightingKind>(stay);

/** The outcome is recorded and the hold still stands: let go of it, though not while a create may yet land. */
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
