/**
 * Advice about a run: while it waits or is stuck, and when it has failed.
 *
 * The failures this prevents: a page that says what is wrong with a run that waits, and never what to do; and a restart that is
 * offered although it would fail the same way.
 */
import { type Code, type Diagnosis, DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import type { Considered } from "@longshore/contract/messages/event.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { isLetIn } from "@longshore/domain/run/concurrency.ts";
import { liveDueMs } from "@longshore/domain/attempt/timers.ts";
import { limitsFor } from "@longshore/domain/run/plan.ts";
import type { Attempt, Concurrency, RunRecord } from "@longshore/domain/run/record.ts";
import { retriesLeft } from "@longshore/domain/run/steps.ts";
import type { Ledger, StoryEvent } from "@longshore/ledger/port.ts";
import { hintAt, type Place, type Shown } from "./place.ts";
import { timeText } from "./screen/times.ts";

interface Told {
  readonly reason?: string;
  readonly considered?: readonly Considered[];
  readonly diagnosis?: Diagnosis;
  readonly step?: string;
  readonly attempt?: number;
}

export interface Advice {
  readonly sentence?: string;
  readonly hint: string;
  /** True if the run goes on by itself. */
  readonly needsNobody?: boolean;
}

/** The sentence and the hint for a run that waits or is stuck; `undefined` for others. */
export function adviceOn(
  { run, attempts }: RunRecord,
  newest: Pick<StoryEvent, "type" | "data"> | undefined,
  place: Place,
  shown: Shown & { readonly holders?: readonly string[] } = {},
): Advice | undefined {
  if (newest === undefined || run.state !== "active") return undefined;
  const { notBeforeMs } = run.plan;
  if (newest.type === "run.accepted" && notBeforeMs !== undefined && notBeforeMs > run.acceptedAtMs)
    return { hint: `It starts at ${timeText(notBeforeMs)}, as its \`notBefore\` says.` };
  const said = newest.data as Told;
  const attempt = attempts.findLast(({ step, n }) => step === (said.step ?? step) && n === (said.attempt ?? n));
  const { reason = "", considered = [], diagnosis } = said;
  if (newest.type === "run.waiting" && reason === "ConcurrencyLimit" && run.plan.concurrency !== undefined)
    return {
      sentence: lineText(run.plan.concurrency, shown.holders),
      hint: `${IN_LINE}${until(attempt?.notes.waitUntilMs)}`,
      needsNobody: true,
    };
  if (newest.type === "run.waiting" && diagnosis === undefined) {
    const todo = waitingHint(reason, considered, place);
    return { hint: `${todo ?? NOTHING}${until(attempt?.notes.waitUntilMs)}`, needsNobody: todo === undefined };
  }
  if (diagnosis === undefined || (newest.type !== "run.waiting" && newest.type !== "run.stalled")) return undefined;
  const end =
    newest.type === "run.waiting" || attempt === undefined
      ? until(attempt?.notes.waitUntilMs)
      : untilTried(attempt, run, diagnosis);
  return { sentence: diagnosis.sentence, hint: `${hintAt(place, diagnosis, shown)}${end}` };
}

/** The time by which this attempt is given up. It is not the run's end if the step is then tried again. */
function untilTried(attempt: Attempt, run: RunRecord["run"], diagnosis: Diagnosis): string {
  if (attempt.state !== "live" || attempt.started === "yes") return "";
  const left = retriesLeft(run, { step: attempt.step, started: "no" }, diagnosis);
  const atMs = liveDueMs(attempt, limitsFor(run.plan, attempt.step));
  if (left <= 0) return until(atMs);
  return ` If nothing changes, this try ends at ${timeText(atMs)}, and up to ${left} more ${left === 1 ? "follows" : "follow"}.`;
}

const until = (ms: number | undefined): string =>
  ms === undefined ? "" : ` If nothing changes, the run gives up at ${timeText(ms)}.`;

const NOTHING = "There is nothing to do: it starts by itself as soon as it can.";

const IN_LINE = "There is nothing to do: it starts by itself when its turn comes.";

/** A sentence has room for this many runs. */
const HOLDERS_MOST = 5;

/** The runs that have the places for which this one waits: one more than a sentence names. */
export async function holdersBefore(ledger: Pick<Ledger, "holders">, record: RunRecord): Promise<readonly RunId[]> {
  const { tenant, state, plan } = record.run;
  if (plan.concurrency === undefined || state !== "active" || isLetIn(record)) return [];
  return await ledger.holders({ tenant, key: plan.concurrency.key }, HOLDERS_MOST + 1);
}

/** Whoever waits wants to know behind which run. */
function lineText({ key, limit }: Concurrency, holders: readonly string[] = []): string {
  const named = holders.slice(0, HOLDERS_MOST).join(", ");
  const more = holders.length > HOLDERS_MOST ? " and more" : "";
  const now = holders.length === 0 ? "" : `; now ${holders.length === 1 ? "this is" : "these are"} ${named}${more}`;
  return `Of the runs with the key "${key}", ${limit} may go on at a time${now}.`;
}

/** For groups that have no diagnosis of their own, but take nothing now. `undefined`: nobody has to do anything. */
function waitingHint(reason: string, considered: readonly Considered[], { where }: Place): string | undefined {
  const skipped = considered.filter(({ verdict }) => verdict === "skipped");
  switch (reason) {
    case "GroupsPaused": {
      const paused = skipped.filter(({ why }) => why.includes("paused"));
      return `${paused.map(({ group }) => `\`longshore group resume ${group}${where}\``).join(" or ")} lets it start.`;
    }
    case "GroupsUnhealthy":
      return `\`longshore doctor${where}\` says what the group lacks.`;
    default:
      return undefined;
  }
}

/** The part of the request that a restart has to change, or it would fail in the same way. */
const CHANGE: Readonly<Partial<Record<Code, string>>> = {
  ImageNotFound: "image=IMAGE",
  ImageNameInvalid: "image=IMAGE",
  ImagePullDenied: "image=IMAGE",
  OutOfMemory: "resources.limits.memory=SIZE",
  DeadlineExceeded: "deadline=TIME",
};

/** A restart cannot change the command. */
const NEVER_STARTS: Code = "StartError";

/** The cause is mended beside the request. In the pocket nobody can make the Secret that is missing. */
const MENDED_OUTSIDE: readonly Code[] = ["ConfigMissing", "QuotaImpossible", "Cancelled"];

/** The cause is in the program's own file, which the pocket runs as it then is on this machine. */
const MENDED_IN_THE_PROGRAM: readonly Code[] = ["OutputsLost", "OutputsInvalid", "OutputsTooLarge"];

/** What a person can do with a run that has ended and did not succeed. `instead`: a sentence if no restart helps. */
export interface Again {
  readonly command?: string;
  readonly instead?: string;
}

export function againOf(
  { run: { id, outcome, plan } }: Pick<RunRecord, "run">,
  place: Pick<Place, "where" | "kubectl">,
  diagnosis: Pick<Diagnosis, "code" | "blame" | "hint"> | undefined,
  groups: readonly { readonly name: string }[],
): Again {
  if (outcome === undefined || outcome === "succeeded") return {};
  const { groups: wanted = [] } = plan;
  const isForNobody = wanted.length > 0 && !wanted.some((name) => groups.some((it) => it.name === name));
  const restart = isForNobody ? undefined : restartOf(id, place, diagnosis);
  if (restart !== undefined) return { command: restart };
  const command = `${publishAgain(plan, isForNobody)}${place.where} --follow${plan.simple && !plan.definition ? " -- COMMAND" : ""}`;
  if (diagnosis?.hint.includes("new id") === true) return { command };
  return { instead: `A restart cannot change ${isForNobody ? "the group" : "that"}: publish it again, with a new id.`, command };
}

/** Capital words are a person's to fill in. Without `--run`, it gets a new id. */
function publishAgain({ definition, simple }: RunRecord["run"]["plan"], isForNobody: boolean): string {
  if (definition === undefined && !simple) return "longshore publish --file REQUEST.yaml";
  const what = definition === undefined ? "--image IMAGE" : `--definition ${definition.name}`;
  return `longshore publish ${what}${isForNobody ? " --group GROUP" : ""}`;
}

/** The command that runs a run again; `undefined` if it would only fail in the same way. The diagnosis blames, not its code. */
export function restartOf(
  run: string,
  { where, kubectl }: Pick<Place, "where" | "kubectl">,
  diagnosis: Pick<Diagnosis, "code" | "blame"> | undefined,
): string | undefined {
  const command = `longshore runs restart ${run}`;
  if (diagnosis === undefined) return command + where;
  const { code, blame } = diagnosis;
  const change = CHANGE[code];
  if (change !== undefined) return `${command} --with ${change}${where}`;
  if (kubectl === undefined && MENDED_IN_THE_PROGRAM.includes(code)) return command + where;
  const { retry } = DIAGNOSES[code];
  const isMendedOutside = MENDED_OUTSIDE.includes(code) && !(kubectl === undefined && code === "ConfigMissing");
  return code === NEVER_STARTS || (blame === "request" && retry === "never" && !isMendedOutside) ? undefined : command + where;
}
