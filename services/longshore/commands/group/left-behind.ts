/**
 * Why something of ours is still in a group that is being drained, run by run.
 *
 * The failure this prevents: "1 running" for ever, of a Job that cannot start, and a person who waits for it.
 */
import { isFenced } from "@longshore/domain/run/record.ts";
import type { Standing } from "@longshore/ledger/port.ts";
import { configWords } from "../../command.ts";
import { clockTime } from "../../screen/times.ts";

export const NAMED_MOST = 5;

export interface Reason {
  readonly says: string;
  /** It does not pass by itself soon, so it is told as soon as it is seen. A Job that runs is no news. */
  readonly isStuck: boolean;
}

interface At {
  readonly nowMs: number;
  readonly config: string | undefined;
}

/** Returns why this attempt is there; undefined if it is on its way. */
export function reasonOf({ run, attempt }: Standing, { nowMs, config }: At): Reason | undefined {
  const { state, notes, fenceUntilMs } = attempt;
  const cancel = `longshore runs cancel ${run}${configWords(config)}`;
  if (state === "live" && notes.stall !== undefined)
    return {
      isStuck: true,
      says: `${run} is stalled (${notes.stall.code}) and may stay so until its deadline; to end it: ${cancel}`,
    };
  if (state === "live") return { isStuck: false, says: `${run} runs; to end it: ${cancel}` };
  if (state === "ended" && isFenced(attempt, nowMs) && fenceUntilMs !== undefined)
    return {
      isStuck: true,
      says: `${run} has ended; its hold is kept until ${clockTime(fenceUntilMs)}, since a create of its Job may still land. Nothing is to be done`,
    };
  return undefined;
}

/** Returns what to say of these now. Each reason is said once, those that are stuck first, and five at most. */
export function openReasons(): (found: readonly Reason[], also: "running" | "stuck alone") => readonly string[] {
  const said = new Set<string>();
  return (found, also) => {
    const wanted = found
      .filter(({ isStuck }) => isStuck || also === "running")
      .toSorted((a, b) => Number(b.isStuck) - Number(a.isStuck));
    const named = wanted.slice(0, NAMED_MOST).filter(({ says }) => !said.has(says));
    for (const { says } of named) said.add(says);
    const more = wanted.length - NAMED_MOST;
    return [...named.map(({ says }) => says), ...(named.length > 0 && more > 0 ? [`and ${more} more`] : [])];
  };
}
