/** Every input that an attempt can get: our decisions, the cluster's answers, sightings of its Job, and timers. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { Considered } from "@longshore/contract/event.ts";
import type { Evidence } from "@longshore/contract/fact.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";

type Considerations = Considered[];

interface OfJob {
  readonly uid: Uid;
  readonly rv: string;
  /** Facts are believed only of the attempt's own group. */
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
    }
  | {
      readonly kind: "noPlace";
      readonly reason: string;
      readonly considered: Considerations;
      readonly retryAtMs: number;
      readonly diagnosis?: Diagnosis;
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
      /** Set if it says more than the diagnosis' code: "Throttled". */
      readonly reason?: string;
      /** The cluster refused nothing: nothing was sent, or the name was free again a moment later. */
      readonly again?: true;
    }
  | { readonly kind: "unanswered"; readonly claimNo: number }
  | { readonly kind: "nameTaken"; readonly claimNo: number; readonly diagnosis: Diagnosis }
  // Sightings of a Job that carries our proof, by the watcher or by our own look.
  | ({ readonly kind: "started"; readonly evidence: Evidence } & OfJob)
  | ({ readonly kind: "stalled"; readonly diagnosis: Diagnosis } & OfJob)
  | ({ readonly kind: "resumed" } & OfJob)
  | ({ readonly kind: "complete"; readonly evidence: Evidence } & OfJob)
  | ({ readonly kind: "failed"; readonly evidence: Evidence } & OfJob)
  /** `vanished`: nobody saw it being deleted, it was only not there any more. */
  | ({ readonly kind: "deleting"; readonly vanished?: true } & OfJob)
  // Only an authoritative look may say these.
  | ({ readonly kind: "lookedDeleted"; readonly evidence: Evidence } & OfJob)
  /** The Job is being deleted, its pods can still be seen, and no container of theirs ever started. */
  | ({ readonly kind: "unstarted" } & OfJob)
  | { readonly kind: "gone"; readonly uid: Uid }
  | { readonly kind: "occupied"; readonly uid: Uid }
  | { readonly kind: "fencePassed"; readonly claimNo: number; readonly begunAtMs: number; readonly found: "nothing" | "foreign" }
  | { readonly kind: "released"; readonly found: "released" | "missing" | "foreign"; readonly begunAtMs: number }
  // Decisions and timers.
  | { readonly kind: "cancel"; readonly diagnosis: Diagnosis }
  | { readonly kind: "waitExpired" }
  /** Waiting cannot help: no wanted group ever worked, or each of them forbids the run. */
  | { readonly kind: "hopeless"; readonly diagnosis: Diagnosis }
  | { readonly kind: "startExpired"; readonly diagnosis: Diagnosis }
  /** The Job waits for a node, and another group of the request could take it now. */
  | { readonly kind: "elsewhere"; readonly diagnosis: Diagnosis }
  /** The Job got a node or started after all, and nothing of it was deleted yet. */
  | { readonly kind: "goesOn" }
  | { readonly kind: "deadline" }
  | { readonly kind: "abandon"; readonly diagnosis: Diagnosis };

export type InputKind = AttemptInput["kind"];
type ByKind = { readonly [I in AttemptInput as I["kind"]]: I };
export type InputOf<K extends InputKind> = ByKind[K];
