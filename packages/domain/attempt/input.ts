/**
 * Every input that an attempt can get: our decisions, the cluster's answers, sightings of its Job, and timers. Facts and
 * answers to creates are turned into inputs here.
 *
 * The bugs this prevents: silence taken for a "no", after which the Job runs and nobody follows it; and a thousand runs that
 * each meet the same refusal, because the first refusal did not count for the whole group.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { Considered } from "@longshore/contract/messages/event.ts";
import type { Evidence, Fact, LogTail, SliceCounts } from "@longshore/contract/messages/fact.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import { type Answer, classifyCreate } from "../diagnosis/replies.ts";
import { diagnoseTransport } from "../diagnosis/transport.ts";
import type { GroupInputOf } from "../group/view.ts";

type Considerations = Considered[];

interface OfJob {
  readonly uid: Uid;
  readonly rv: string;
  /** A sighting counts only in the attempt's own group. */
  readonly group: GroupName;
}

export type AttemptInput =
  | {
      readonly kind: "placed";
      readonly group: GroupName;
      readonly namespace: string;
      readonly considered: Considerations;
      /** `false`: the group's Jobs carry no hold. */
      readonly hold?: false;
      readonly embedded?: true;
      /** The number of slices that may run at the same time. Absent for a step of one pod. */
      readonly slots?: number;
    }
  | {
      readonly kind: "noPlace";
      readonly reason: WaitWord;
      readonly considered: Considerations;
      readonly retryAtMs: number;
      readonly diagnosis?: Diagnosis;
      readonly waitsFor?: readonly GroupName[];
    }
  | { readonly kind: "claimDue"; readonly by: string; readonly untilMs: number }
  // The answers to a create. `claimNo` is absent if the tally found the Job.
  | ({ readonly kind: "created"; readonly claimNo?: number; readonly adopted: boolean } & OfJob)
  | { readonly kind: "refused"; readonly claimNo: number; readonly diagnosis: Diagnosis }
  | {
      readonly kind: "deferred";
      readonly claimNo: number;
      readonly diagnosis: Diagnosis;
      readonly retryAtMs: number;
      /** The reason in one word, if it says more than the diagnosis' code: "Throttled". */
      readonly reason?: WaitWord;
      /** The cluster refused nothing: the create was not sent, or its name was taken only for a moment. */
      readonly again?: true;
    }
  | { readonly kind: "unanswered"; readonly claimNo: number }
  | { readonly kind: "nameTaken"; readonly claimNo: number; readonly diagnosis: Diagnosis }
  // Sightings of a Job that carries our proof, by the watcher or by our own look.
  | ({ readonly kind: "started"; readonly evidence: Evidence } & OfJob)
  | ({ readonly kind: "stalled"; readonly diagnosis: Diagnosis } & OfJob)
  | ({ readonly kind: "resumed" } & OfJob)
  | ({ readonly kind: "progressed"; readonly slices: SliceCounts } & OfJob)
  | ({ readonly kind: "complete"; readonly evidence: Evidence } & OfJob)
  | ({ readonly kind: "failed"; readonly evidence: Evidence } & OfJob)
  /** `vanished`: nobody saw the Job being deleted; it was just not there any more. */
  | ({ readonly kind: "deleting"; readonly vanished?: true; readonly log?: LogTail } & OfJob)
  // Only a look may report these.
  | ({ readonly kind: "lookedDeleted"; readonly evidence: Evidence } & OfJob)
  /** The Job is being deleted, its pods can still be seen, and no container of theirs ever started. */
  | ({ readonly kind: "unstarted" } & OfJob)
  | { readonly kind: "gone"; readonly uid: Uid }
  /** The anchor that owned the Job is gone, although nobody gave it up: the run's volumes went with it. */
  | { readonly kind: "anchorGone"; readonly diagnosis: Diagnosis }
  | { readonly kind: "occupied"; readonly uid: Uid }
  /**
   * The ended attempt's name is taken by our Job or occupant (under our hold, if its group keeps holds), and no pod of that Job
   * is unfinished.
   */
  | { readonly kind: "kept"; readonly uid: Uid; readonly begunAtMs: number }
  /** The tally no longer saw the ended attempt's Job or occupant, or our hold on it. */
  | { readonly kind: "inDoubt" }
  /** A listing of the pods that the attempt's program made found some, which were told to end, or none. */
  | { readonly kind: "children"; readonly found: "some" | "none" }
  | { readonly kind: "fencePassed"; readonly claimNo: number; readonly begunAtMs: number; readonly found: "nothing" | "foreign" }
  | { readonly kind: "released"; readonly found: "released" | "missing" | "foreign"; readonly begunAtMs: number }
  // Decisions and timers.
  | { readonly kind: "cancel"; readonly diagnosis: Diagnosis }
  /** Without a diagnosis, the last reason to wait is told. */
  | { readonly kind: "waitExpired"; readonly diagnosis?: Diagnosis }
  /** Waiting cannot help: no wanted group ever worked, or each of them forbids the run. */
  | { readonly kind: "hopeless"; readonly diagnosis: Diagnosis }
  | { readonly kind: "startExpired"; readonly diagnosis: Diagnosis }
  /** The Job waits for a node, and another group of the request could take the attempt now. */
  | { readonly kind: "elsewhere"; readonly diagnosis: Diagnosis }
  /** The Job got a node or started after all, and nothing of it was deleted yet. */
  | { readonly kind: "goesOn" }
  | { readonly kind: "deadline" }
  | { readonly kind: "abandon"; readonly diagnosis: Diagnosis };

export type InputKind = AttemptInput["kind"];
type ByKind = { readonly [I in AttemptInput as I["kind"]]: I };
export type InputOf<K extends InputKind> = ByKind[K];

// ── A fact ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export type JobFact = Extract<Fact, { type: `job.${string}` }>;

export function inputOf(fact: JobFact): AttemptInput {
  const { uid, resourceVersion: rv, group } = fact.data.about;
  const of = { uid, rv, group };
  switch (fact.type) {
    case "job.started":
      return { kind: "started", evidence: fact.data.evidence, ...of };
    case "job.stalled":
      return { kind: "stalled", diagnosis: fact.data.diagnosis, ...of };
    case "job.resumed":
      return { kind: "resumed", ...of };
    case "job.progressed":
      return { kind: "progressed", slices: fact.data.slices, ...of };
    case "job.ended":
      return { kind: fact.data.condition === "Complete" ? "complete" : "failed", evidence: fact.data.evidence, ...of };
    case "job.deleting":
      return { kind: "deleting", ...(fact.data.log && { log: fact.data.log }), ...of };
    case "job.deleted":
      return { kind: "deleting", vanished: true, ...of };
  }
}

// ── The answer to a create ───────────────────────────────────────────────────────────────────────────────────────────

export type CreateAnswer =
  | { readonly kind: "created"; readonly uid: Uid; readonly resourceVersion: string }
  | ({ readonly kind: "answered" } & Answer)
  /** The request may have arrived, and the Job may exist or come to exist. */
  | { readonly kind: "unanswered" }
  /** The request cannot have arrived. `heldBack`: our own limits stopped it, so nothing is wrong with the cluster. */
  | { readonly kind: "unsent"; readonly failure: Error; readonly heldBack: boolean };

/** The create that was answered, and its group. Times are the ledger's. */
export interface Creating {
  readonly claimNo: number;
  readonly group: GroupName;
  readonly namespace: string;
  readonly nowMs: number;
  readonly placeAgainMs: number;
  /** What is created, if not the Job: "volume". */
  readonly what?: string;
}

export type GroupNews =
  /** A refusal that every other run would meet counts for the whole group. */
  | GroupInputOf<"writeTaken" | "writeRefused">
  /** The API server is busy, or we send less to spare it. The group's health stays as it was. */
  | { readonly kind: "quiet"; readonly forMs: number; readonly why: string }
  /** A quota that counts Jobs is full for every run. */
  | { readonly kind: "noRoom"; readonly untilMs: number; readonly diagnosis: Diagnosis };

export type AfterCreate =
  | { readonly kind: "input"; readonly input: AttemptInput; readonly news?: GroupNews }
  /** The name is taken: a look tells whose Job has it. */
  | { readonly kind: "look" };

export function afterCreate(answer: CreateAnswer, creating: Creating): AfterCreate {
  const { claimNo, group, namespace, nowMs, placeAgainMs, what } = creating;
  const againMs = nowMs + placeAgainMs;
  switch (answer.kind) {
    case "created": {
      const { uid, resourceVersion: rv } = answer;
      return {
        kind: "input",
        input: { kind: "created", claimNo, uid, rv, group, adopted: false },
        news: { kind: "writeTaken" },
      };
    }
    case "unanswered":
      return { kind: "input", input: { kind: "unanswered", claimNo } };
    case "unsent": {
      const deferred = { kind: "deferred", claimNo, retryAtMs: againMs, again: true } as const;
      if (!answer.heldBack) return { kind: "input", input: { ...deferred, diagnosis: diagnoseTransport(answer.failure) } };
      return throttled(deferred, diagnose("QuotaExceeded", answer.failure.message), placeAgainMs);
    }
    case "answered": {
      const verdict = classifyCreate(answer, { group, namespace, ...(what !== undefined && { what }) });
      if (verdict.kind === "exists") return { kind: "look" };
      const { diagnosis } = verdict;
      if (verdict.kind === "refused") return { kind: "input", input: { kind: "refused", claimNo, diagnosis } };
      if (verdict.kind !== "deferred") return { kind: "input", input: { kind: "unanswered", claimNo } };
      const pauseMs = answer.retryAfterMs ?? placeAgainMs;
      // The attempt pauses for less time than its group, since another group may take the attempt meanwhile.
      if (answer.status === 429) return throttled({ kind: "deferred", claimNo, retryAtMs: againMs }, diagnosis, pauseMs);
      const retryAtMs = nowMs + pauseMs;
      const news = newsOf(verdict, retryAtMs);
      return { kind: "input", input: { kind: "deferred", claimNo, diagnosis, retryAtMs }, ...(news && { news }) };
    }
  }
}

type Deferred = Omit<Extract<AttemptInput, { kind: "deferred" }>, "reason" | "diagnosis">;

const throttled = (deferred: Deferred, diagnosis: Diagnosis, forMs: number): AfterCreate => ({
  kind: "input",
  input: { ...deferred, reason: "Throttled", diagnosis },
  news: { kind: "quiet", forMs, why: diagnosis.sentence },
});

function newsOf(
  { unhealthy, diagnosis }: { readonly unhealthy: boolean; readonly diagnosis: Diagnosis },
  untilMs: number,
): GroupNews | undefined {
  if (unhealthy) return { kind: "writeRefused", diagnosis };
  return diagnosis.code === "QuotaExceeded" ? { kind: "noRoom", untilMs, diagnosis } : undefined;
}
