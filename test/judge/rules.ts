/**
 * The guarantees of GUARANTEES.md as rules about what happened. The simulation's check.ts applies them to its world, the
 * harness' check.ts to the journals of real processes.
 *
 * The failure this prevents: a promise in a document that no program is held to.
 */
import { everyCommandEnds, oneEffect } from "./commands.ts";
import { noFalseEnd, startsAreTrue, timers } from "./ends.ts";
import { everyEndIsTold, nothingRunsBehindAnEnd, oneAttemptRuns, oneJobRuns } from "./jobs.ts";
import { stories } from "./stories.ts";
import type { Broken, View } from "./view.ts";

/** Returns one sentence for each way in which the rule was broken. */
export type Rule<T> = (seen: T) => readonly string[];

const RULES: Readonly<Record<string, Rule<View>>> = {
  "G1: every confirmed command ends as a run, a refusal or a quarantine": everyCommandEnds,
  "G2: one run id has one effect": oneEffect,
  "G3: at most one Job of an attempt runs": oneJobRuns,
  "G3: two attempts of one step never run at once": oneAttemptRuns,
  "G4: every end that a hold kept is told": everyEndIsTold,
  "G5: no terminal event is false": noFalseEnd,
  "G5: what is said of a start is true": startsAreTrue,
  "G6: events are dense, in order, with one end a generation": stories,
  "G10: nothing runs behind an end, and a cancel loses only to Complete": nothingRunsBehindAnEnd,
  "Timers end what they are for": timers,
};

/** Judges `seen` by `rules`, and its view by the rules that all histories share. */
export function judge<T>(seen: T, view: View, rules: Readonly<Record<string, Rule<T>>>): readonly Broken[] {
  const found = <S>(of: S, all: Readonly<Record<string, Rule<S>>>): readonly Broken[] =>
    Object.entries(all).flatMap(([invariant, rule]) => rule(of).map((message) => ({ invariant, message })));
  return [...found(seen, rules), ...found(view, RULES)];
}
