/** For tests: one attempt in each state as the tables themselves make it, and each input for such an attempt. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupName, RunId, StepName, TenantName, Uid } from "@longshore/contract/ids.ts";
import { advance, type Advanced, openFirst, type RunInput } from "../../run/advance.ts";
import { beginRun } from "../../run/begin.ts";
import { DEFAULTS } from "../../run/plan.ts";
import type { Attempt, Limits, Plan, PlannedStep, RunRecord, Told } from "../../run/record.ts";
import type { AttemptInput, InputKind, InputOf } from "../input.ts";
import { moveAttempt } from "../lifecycle.ts";

export const NOW = Date.UTC(2026, 4, 4, 12);
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
/** Length of a claim in these examples. */
export const CLAIM = 20 * SECOND;

export const group = GroupName.parse("prod-a");
export const elsewhere = GroupName.parse("prod-b");
export const own = Uid.parse("uid-own");
export const other = Uid.parse("uid-other");
export const occupant = Uid.parse("uid-occupant");
export const main = StepName.parse("main");

export const at = { nowMs: NOW, epoch: 1, jobName: (run: string, step: string, n: number) => `${run}-${step}-${n}` };

export const planOf = (steps: readonly PlannedStep[], limits: Partial<Limits> = {}, simple = false): Plan => ({
  simple,
  steps,
  groups: undefined,
  priority: 0,
  notBeforeMs: undefined,
  limits: { ...DEFAULTS, ...limits },
  with: undefined,
});

export const step = (name: string, needs: readonly string[] = [], more: Partial<PlannedStep> = {}): PlannedStep => ({
  name: StepName.parse(name),
  needs: needs.map((it) => StepName.parse(it)),
  when: "success",
  outputs: [],
  ...more,
});

export const newRun = (plan: Plan = planOf([step("main")], {}, true), nowMs = NOW) => ({
  id: RunId.parse("r"),
  tenant: TenantName.parse("default"),
  source: "/test",
  digest: "d",
  plan,
  nowMs,
});

/** A run that was accepted, with its first steps open. */
export function runOf(plan?: Plan): RunRecord {
  const begun = beginRun(newRun(plan));
  return openFirst({ ...begun, run: { ...begun.run, seq: 1 } }, at).record;
}

export const input = {
  placed: { kind: "placed", group, namespace: "jobs", considered: [] },
  noPlace: { kind: "noPlace", reason: "GroupsFull", considered: [], retryAtMs: NOW + MINUTE },
  claimDue: { kind: "claimDue", by: "launcher-1", untilMs: NOW + CLAIM },
  created: { kind: "created", claimNo: 1, adopted: false, uid: own, rv: "10", group },
  refused: { kind: "refused", claimNo: 1, diagnosis: diagnose("AdmissionDenied", "A webhook refuses it.") },
  deferred: { kind: "deferred", claimNo: 1, diagnosis: diagnose("QuotaExceeded", "The quota is full."), retryAtMs: NOW + MINUTE },
  unanswered: { kind: "unanswered", claimNo: 1 },
  nameTaken: { kind: "nameTaken", claimNo: 1, diagnosis: diagnose("NameConflict", "Somebody else's Job has the name.") },
  started: { kind: "started", evidence: { started: "yes" }, uid: own, rv: "20", group },
  stalled: { kind: "stalled", diagnosis: diagnose("ImageNotFound", "No such image."), uid: own, rv: "15", group },
  resumed: { kind: "resumed", uid: own, rv: "17", group },
  progressed: { kind: "progressed", slices: { count: 9, succeeded: 2, failed: "4" }, uid: own, rv: "21", group },
  complete: { kind: "complete", evidence: { started: "yes", exitCode: 0 }, uid: own, rv: "30", group },
  failed: {
    kind: "failed",
    evidence: { started: "yes", exitCode: 3, diagnosis: diagnose("ExitCode", "It ended with exit code 3.") },
    uid: own,
    rv: "30",
    group,
  },
  deleting: { kind: "deleting", uid: own, rv: "25", group },
  lookedDeleted: { kind: "lookedDeleted", evidence: { started: "unknown" }, uid: own, rv: "27", group },
  unstarted: { kind: "unstarted", uid: own, rv: "26", group },
  gone: { kind: "gone", uid: own },
  anchorGone: { kind: "anchorGone", diagnosis: diagnose("DeletedExternally", "Somebody deleted what owns its volumes.") },
  occupied: { kind: "occupied", uid: occupant },
  kept: { kind: "kept", uid: own, begunAtMs: NOW },
  children: { kind: "children", found: "none" },
  inDoubt: { kind: "inDoubt" },
  fencePassed: { kind: "fencePassed", claimNo: 1, begunAtMs: NOW, found: "nothing" },
  released: { kind: "released", found: "released", begunAtMs: NOW },
  cancel: { kind: "cancel", diagnosis: diagnose("Cancelled", "It was cancelled.") },
  waitExpired: { kind: "waitExpired" },
  hopeless: { kind: "hopeless", diagnosis: diagnose("Forbidden", "No group of the request ever worked.") },
  elsewhere: { kind: "elsewhere", diagnosis: diagnose("Unschedulable", "No node has room.") },
  goesOn: { kind: "goesOn" },
  startExpired: { kind: "startExpired", diagnosis: diagnose("StartExpired", "It did not start.") },
  deadline: { kind: "deadline" },
  abandon: { kind: "abandon", diagnosis: diagnose("Abandoned", "An operator gave it up.") },
} as const satisfies { readonly [K in InputKind]: InputOf<K> };

export const context = (nowMs = NOW) => ({ nowMs, limits: DEFAULTS });

/** Applies inputs one after the other, all at the same moment. */
export const after = (attempt: Attempt, inputs: readonly AttemptInput[], nowMs = NOW): Attempt =>
  inputs.reduce((it, next) => moveAttempt(it, next, context(nowMs)).attempt, attempt);

function first({ attempts }: RunRecord): Attempt {
  const [attempt] = attempts;
  if (attempt === undefined) throw new TypeError("the run has no attempt");
  return attempt;
}

export const waiting = first(runOf());
export const ready = after(waiting, [input.placed]);
export const claimed = after(ready, [input.claimDue]);
export const live = after(claimed, [input.created]);
export const closing = after(live, [{ ...input.cancel }]);
export const ended = after(live, [input.complete]);
export const done = after(ended, [input.released]);
/** The claim ran out without an answer, and was made again: two creates may land. */
export const claimedTwice = after(claimed, [input.unanswered, input.claimDue]);
/** Cancelled while a create was unanswered: no Job is known, and one may still come. */
export const closingUnborn = after(claimed, [input.cancel]);
export const passed = NOW + CLAIM + 10 * MINUTE;

/** A run after several inputs, with all events told. */
export function played(record: RunRecord, inputs: readonly RunInput[], nowMs = NOW): Advanced {
  let told: readonly Told[] = [];
  let now: RunRecord = record;
  let last: Advanced | undefined;
  for (const it of inputs) {
    last = advance(now, it, { ...at, nowMs });
    now = last.record;
    told = [...told, ...last.told];
  }
  return { record: now, told, strays: last?.strays ?? [], illegal: last?.illegal ?? false };
}

export const toStep = (name: string, ...inputs: readonly AttemptInput[]): readonly RunInput[] => toAttempt(name, 1, ...inputs);

export const toAttempt = (name: string, n: number, ...inputs: readonly AttemptInput[]): readonly RunInput[] =>
  inputs.map((it) => ({ kind: "attempt", step: StepName.parse(name), n, input: it }));

/** Placed, claimed and created, under a UID of its own. */
export const launched = (name: string, n = 1, uid = Uid.parse(`uid-${name}-${n}`)): readonly RunInput[] =>
  toAttempt(name, n, input.placed, input.claimDue, { ...input.created, uid });

export const ends = (name: string, how: "complete" | "failed", n = 1): readonly RunInput[] =>
  toAttempt(name, n, { ...input[how], uid: Uid.parse(`uid-${name}-${n}`) });
