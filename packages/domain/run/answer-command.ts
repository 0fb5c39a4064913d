/**
 * The effect of an accepted command on the run that it names: the rows to write, or the reason of the refusal.
 *
 * The bugs this prevents: one tenant who learns of another's runs, or changes them; and a cancel that came before its run, and
 * is forgotten.
 */
import type { RunId, TenantName } from "@longshore/contract/ids.ts";
import type { Problem } from "@longshore/contract/problem.ts";
import type { RunRequest } from "@longshore/contract/request.ts";
import { admit, type Admission, TOMBSTONE_MS, type Verdict } from "./admit.ts";
import type { Advancing } from "./advance.ts";
import { andThen, type Change } from "./change.ts";
import { NO_PLAN } from "./plan.ts";
import type { Cancel, Run } from "./record.ts";
import { wakeNext } from "./retries.ts";

export interface Intake {
  /** Absent only for an "invalid" command whose run could not be read. */
  readonly run: RunId | undefined;
  readonly tenant: TenantName;
  readonly source: string;
  /** The command's id. With tenant and source, the id tells that a cancel or a restart is "the same command again". */
  readonly command: string;
  readonly admission: Admission;
  /** The request, kept for the manifest; for `run` admissions only. */
  readonly request?: RunRequest;
  readonly replyTo?: string;
}

export type Answer =
  | { readonly kind: "write"; readonly change: Change }
  | { readonly kind: "duplicate" }
  | { readonly kind: "refuse"; readonly problems: readonly Problem[] };

/** True if this admission can create a run's row. */
export const isBeginning = ({ admission }: Intake): boolean =>
  admission.kind === "run" || (admission.kind === "cancel" && (admission.generation === undefined || admission.generation === 1));

/** These commands are recognised as the same again by their id; a request is recognised by its run's id and content. */
export const isRemembered = ({ admission: { kind } }: Intake): boolean =>
  kind === "cancel" || kind === "restart" || kind === "abandon";

/** `existing`: the run under its lock, of any tenant. */
export function answerCommand(existing: Change | undefined, intake: Intake, at: Advancing): Answer {
  if (intake.admission.kind === "invalid") return { kind: "refuse", problems: intake.admission.problems };
  const found = existing?.after;
  // Operators may send commands for every tenant's runs.
  const foreign = found !== undefined && found.run.tenant !== intake.tenant && intake.admission.kind !== "abandon";
  const isStone = found?.run.state === "tombstone";
  const worn = isStone && at.nowMs - found.run.acceptedAtMs >= TOMBSTONE_MS;
  if (foreign && !worn && !(isStone && intake.admission.kind === "run")) return ofAnother(intake);

  const visible = worn || foreign ? undefined : found;
  const admission =
    intake.admission.kind === "run"
      ? { ...intake.admission, run: { ...intake.admission.run, nowMs: at.nowMs } }
      : intake.admission;
  return answerOf(admit(visible, admission, at), existing, intake, at);
}

function answerOf(verdict: Verdict, existing: Change | undefined, intake: Intake, at: Advancing): Answer {
  switch (verdict.kind) {
    case "duplicate":
    case "refuse":
      return verdict;
    case "tombstone": {
      const record = { run: tombstone(intake, verdict.cancel, at.nowMs), attempts: [] };
      return { kind: "write", change: { before: existing?.before, after: record, told: [], strays: [] } };
    }
    case "write": {
      const change = andThen(existing ?? { before: undefined, after: verdict.record, told: [], strays: [] }, verdict);
      return { kind: "write", change: wakeNext(change, at.nowMs) };
    }
  }
}

/** The answer says as little as possible about another tenant's run: a cancel or restart is told that there is no such run. */
function ofAnother({ admission }: Intake): Answer {
  const [code, message] =
    admission.kind === "run"
      ? ["IdempotencyConflict", "This id is taken; use another one, for example with a prefix of your own."]
      : ["RunUnknown", "No run has this id."];
  return { kind: "refuse", problems: [{ path: "/data/run", code, message }] };
}

function tombstone({ run, tenant, source }: Intake, cancel: Cancel, nowMs: number): Run {
  if (run === undefined) throw new TypeError("a cancel without a run's id is not an admission");
  return {
    id: run, tenant, source, digest: "", state: "tombstone", outcome: undefined, generation: 1, seq: 0, group: undefined, cancel,
    plan: NO_PLAN, steps: {}, acceptedAtMs: nowMs, endedAtMs: undefined,
  }; // biome-ignore format: a value read as one
}
