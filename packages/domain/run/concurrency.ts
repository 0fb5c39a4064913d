/**
 * The line of a concurrency key: who may go on, and who waits until another run of the key ends.
 *
 * The bugs this prevents: two launchers that each let in the last run that the limit allows; and a run that came late and is let
 * in before one that waits. Rows of the line are written with their run; only a placer lets runs in, and no two place at once.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { RunId, TenantName } from "@longshore/contract/ids.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { InputOf } from "../attempt/input.ts";
import type { Change } from "./change.ts";
import type { Attempt, Concurrency, Run, RunRecord } from "./record.ts";

/** An unfinished run with a concurrency key. */
export interface InLine {
  readonly run: RunId;
  readonly tenant: TenantName;
  readonly key: string;
  readonly limit: number;
  readonly priority: number;
  /** Its `notBefore`: until then it stands in nobody's way. */
  readonly fromMs: number;
  /** It goes on, and counts until it ends. */
  readonly letIn: boolean;
}

const LIMITED = "ConcurrencyLimit" satisfies WaitWord;

export const isLetIn = ({ run, attempts }: RunRecord): boolean =>
  attempts.some(({ generation, notes }) => generation === run.generation && notes.letIn === true);

export function placeInLine(record: RunRecord): InLine | undefined {
  const { id: run, tenant, state, plan, acceptedAtMs } = record.run;
  if (plan.concurrency === undefined || state === "ended" || state === "tombstone") return undefined;
  const { key, limit } = plan.concurrency;
  const fromMs = plan.notBeforeMs ?? acceptedAtMs;
  return { run, tenant, key, limit, priority: plan.priority, fromMs, letIn: isLetIn(record) };
}

/** The row to write for a change: "left" if the run left the line; `undefined` if nothing of the row changed. */
export function lineChange({ before, after }: Change): InLine | "left" | undefined {
  if (before === after || after.run.plan.concurrency === undefined) return undefined;
  const [was, is] = [before && placeInLine(before), placeInLine(after)];
  if (is === undefined) return was === undefined ? undefined : "left";
  return was?.letIn === is.letIn ? undefined : is;
}

/**
 * Returns the runs that may be let in now. `lines` are in turn: by priority, then by acceptance. Nobody passes the first in
 * line, though a later run's own limit would allow it.
 */
export function entering(lines: readonly InLine[], nowMs: number): ReadonlySet<RunId> {
  const keys = Map.groupBy(lines, ({ tenant, key }) => JSON.stringify([tenant, key]));
  const runs = [...keys.values()].flatMap((line) => {
    const inside = line.filter(({ letIn }) => letIn).length;
    const waiting = line.filter(({ letIn, fromMs }) => !letIn && fromMs <= nowMs);
    const stopped = waiting.findIndex(({ limit }, ahead) => inside + ahead >= limit);
    return (stopped < 0 ? waiting : waiting.slice(0, stopped)).map(({ run }) => run);
  });
  return new Set(runs);
}

/** True if a new run has to be let in or refused at once, and as many of its key go on or wait as its limit allows. */
export const isFullFor = ({ concurrency }: Pick<Run["plan"], "concurrency">, unfinished: number): boolean =>
  concurrency?.then === "refuse" && unfinished >= concurrency.limit;

/** Lets a run in: all of its attempts that waited for that are judged at once. */
export function letIn(record: RunRecord, nowMs: number): RunRecord {
  const { run, attempts } = record;
  const entered = (it: Attempt): Attempt =>
    it.state === "waiting" && it.generation === run.generation
      ? { ...it, dueMs: nowMs, waitsFor: undefined, notes: { ...it.notes, letIn: true } }
      : it;
  return { ...record, attempts: attempts.map(entered) };
}

/** What an attempt hears whose run is not let in. The line is looked at all the time, so the attempt's own timer only ends its wait. */
export function outside({ notes }: Attempt, concurrency: Concurrency, nowMs: number): InputOf<"noPlace" | "waitExpired"> {
  if (nowMs >= notes.waitUntilMs) return { kind: "waitExpired", diagnosis: waitedInLine(concurrency) };
  return { kind: "noPlace", reason: LIMITED, considered: [], retryAtMs: notes.waitUntilMs, waitsFor: [] };
}

function waitedInLine({ key, limit }: Concurrency): Diagnosis {
  const sentence = `It waited as long as \`waitFor\` allows for its turn: of the runs with the key "${key}", ${limit} may go on at a time.`;
  const hint = "See what holds the key (`longshore runs list`); raise `waitFor` or the limit. Nothing ran.";
  return { ...diagnose("WaitExpired", sentence, [], hint), blame: "request" };
}
