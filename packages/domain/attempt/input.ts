/** All that can happen to an attempt: what we decided, what the cluster answered, what was seen of its Job, and timers. */
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
  // What a create was answered. `claimNo` is absent where the tally found the Job.
  | ({ readonly kind: "created"; readonly claimNo?: number; readonly adopted: boolean } & OfJob)
  | { readonly kind: "refused"; readonly claimNo: number; readonly diagnosis: Diagnosis }
  | {
      readonly kind: "deferred";
      readonly claimNo: number;
      readonly diagnosis: Diagnosis;
      readonly retryAtMs: number;
      /** Where it says more than the diagnosis' code: "Throttled". */
      readonly reason?: string;
      /** The cluster refused nothing: nothing was sent, or the name was free again a moment later. */
      readonly again?: true;
    }
  | { readonly kind: "unanswered"; readonly claimNo: number }
  | { readonly kind: "nameTaken"; readonly claimNo: number; readonly diagnosis: Diagnosis }
  // What was seen of a Job that carries our proof, by the watcher or by our own look.
  | ({ readonly kind: "started"; readonly evidence: Evidence } & OfJob)
  | ({ readonly kind: "stalled"; readonly diagnosis: Diagnosis } & OfJob)
  | ({ readonly kind: "resumed" } & OfJob)
  | ({ readonly kind: "complete"; readonly evidence: Evidence } & OfJob)
  | ({ readonly kind: "failed"; readonly evidence: Evidence } & OfJob)
  /** `vanished`: it was not seen being deleted, it was not there any more. */
  | ({ readonly kind: "deleting"; readonly vanished?: true } & OfJob)
  // What only an authoritative look may say.
  | ({ readonly kind: "lookedDeleted"; readonly evidence: Evidence } & OfJob)
  /** It is being deleted with its pods, they are still to be seen, and no container of theirs ever started. */
  | ({ readonly kind: "unstarted" } & OfJob)
  | { readonly kind: "gone"; readonly uid: Uid }
  | { readonly kind: "occupied"; readonly uid: Uid }
  | { readonly kind: "fencePassed"; readonly claimNo: number; readonly begunAtMs: number; readonly found: "nothing" | "foreign" }
  | { readonly kind: "released"; readonly found: "released" | "missing" | "foreign"; readonly begunAtMs: number }
  // Decisions and timers.
  | { readonly kind: "cancel"; readonly diagnosis: Diagnosis }
  | { readonly kind: "waitExpired" }
  /** No group that was wanted ever worked, or each forbids it: waiting cannot help. */
  | { readonly kind: "hopeless"; readonly diagnosis: Diagnosis }
  | { readonly kind: "startExpired"; readonly diagnosis: Diagnosis }
  /** It waits for a node, and another group of the request could take it now. */
  | { readonly kind: "elsewhere"; readonly diagnosis: Diagnosis }
  /** It got a node after all, before anything was done about that. */
  | { readonly kind: "scheduled" }
  | { readonly kind: "deadline" }
  | { readonly kind: "abandon"; readonly diagnosis: Diagnosis };

export type InputKind = AttemptInput["kind"];
type ByKind = { readonly [I in AttemptInput as I["kind"]]: I };
export type InputOf<K extends InputKind> = ByKind[K];
