/**
 * What happened to one installation, as five journals tell it that none of our services keeps, and what is wrong with it: the
 * guarantees G1–G6 and G10 of GUARANTEES.md, checked one against the other.
 *
 *   what the test sent ─┐   what passed the broker ─┐   the ledger's rows ─┐   the API servers' audit logs, and a watch of the
 *   and was confirmed   ┴───────────────────────────┴──────────────────────┴── test's own over their Jobs and pods
 *
 * The failure this prevents: calling a test passed because its last event was the wanted one, while a second Job ran, a hold
 * was left behind, or an end was told that never was.
 */
import { faultsOfCommands } from "./commands.ts";
import { faultsOfJobs } from "./jobs.ts";
import { faultsOfEnds } from "./ends.ts";
import { faultsOfStories } from "./stories.ts";
import type { History } from "./journals.ts";

/** In words, each behind the guarantee that it breaks; none is the wanted answer. */
export function faultsOfHistory(history: History): readonly string[] {
  return [faultsOfCommands, faultsOfJobs, faultsOfEnds, faultsOfStories].flatMap((find) => find(history));
}
