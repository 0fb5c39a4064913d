/**
 * How a run is: one word, and the reason that decides whether a person must act.
 *
 * The failure this prevents: a run that waits for a group that nobody has looks like a healthy one.
 */
import { OUTCOMES, type RunEventType } from "@longshore/contract/messages/event.ts";
import { RUN_STATES } from "@longshore/domain/run/record.ts";
import type { RunFilter, RunRow } from "@longshore/ledger/port.ts";
import { type Toned, toned } from "./screen/screen.ts";

/** The word for an active run, by its newest event. The events of a pipeline's steps leave it "active". */
const WORD_AFTER: Readonly<Record<RunEventType, string>> = {
  "run.accepted": "accepted",
  "run.restarted": "restarted",
  "run.waiting": "waiting",
  "run.launched": "launched",
  "run.started": "running",
  "run.stalled": "stalled",
  "run.resumed": "launched",
  "run.progressed": "running",
  "run.attempt.failed": "retrying",
  "run.step.succeeded": "active",
  "run.step.failed": "active",
  "run.step.skipped": "active",
  "run.cancelling": "active",
  "run.succeeded": "active",
  "run.failed": "active",
  "run.cancelled": "active",
  "run.lost": "active",
};

/** A tombstone is no run yet. */
const STATES = RUN_STATES.filter((it) => it !== "tombstone");

/** Every word that a status may have, and "ended" for each end. */
export const STATUS_WORDS: readonly string[] = [...new Set([...Object.values(WORD_AFTER), ...STATES, ...OUTCOMES])];

/** Only runs whose status is this word. "active" finds all runs that have not ended and are not cancelled. */
export function filterFor(word: string): Pick<RunFilter, "state" | "outcome" | "newest"> {
  const state = STATES.find((it) => it === word);
  if (state !== undefined) return { state };
  const outcome = OUTCOMES.find((it) => it === word);
  if (outcome !== undefined) return { outcome };
  const newest = (Object.keys(WORD_AFTER) as RunEventType[]).filter((it) => WORD_AFTER[it] === word);
  return { state: "active", newest };
}

/** The failure this prevents: a list that a filter left empty, and a person who takes the ledger for empty. */
export function noRuns(word: string | undefined, count: number, most: number): string {
  if (count === 0 || word === undefined) return "no runs";
  const are = ["ended", "succeeded", "failed"].includes(word) ? "have" : "are";
  const all = count === 1 ? "there is 1 run" : `there are ${count === most ? `${count} or more` : count} runs`;
  return `no runs ${are} ${word}; ${all} in all: \`longshore runs list\``;
}

export interface Status {
  readonly word: string;
  /** The reason of a wait, or the code of a diagnosis. */
  readonly reason?: string;
  readonly code?: string;
  readonly exitCode?: number;
}

export function statusOf({ state, outcome, newest }: Pick<RunRow, "state" | "outcome" | "newest">): Status {
  const word = outcome ?? (state === "active" && newest !== undefined ? WORD_AFTER[newest.type] : state);
  if (newest === undefined || state === "cancelling") return { word };
  const { type, reason, code, exitCode } = newest;
  return {
    word,
    ...(type === "run.waiting" && reason !== undefined && { reason }),
    ...(code !== undefined && { code }),
    ...(exitCode !== undefined && { exitCode }),
  };
}

/** "FAILED ExitCode 3", toned by its first word. */
export function statusText({ word, reason, code, exitCode }: Status): Toned {
  const why = reason ?? (code === "ExitCode" && exitCode !== undefined ? `${code} ${exitCode}` : code);
  return { ...toned(word), text: why === undefined ? word.toUpperCase() : `${word.toUpperCase()} ${why}` };
}

/** An image without a command runs nothing in the pocket, and must look like no other success. */
export const withoutProgram = (status: Status): Toned => ({ ...statusText({ ...status, reason: "nothing ran" }), tone: "warn" });

/** An end that is told this soon is not late: a pod's times have no fractions of a second, and a busy machine takes seconds. */
const NEAR_MS = 10_000;

/** When a run ended: as its program's pod says if the end was told much later, so that all durations fit together. */
export const endMs = (toldMs: number, finishedAtMs: number | undefined): number =>
  finishedAtMs !== undefined && toldMs - finishedAtMs > NEAR_MS ? finishedAtMs : toldMs;
