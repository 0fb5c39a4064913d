/**
 * The meaning of a create's answer: for its attempt, and for the group that it was sent to.
 *
 * The bugs this prevents: silence taken for a "no", after which the Job runs unknown; and a thousand runs that each meet the
 * same refusal, because the first refusal was not told to the group.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import { type Answer, classifyCreate } from "../diagnosis/replies.ts";
import { diagnoseTransport } from "../diagnosis/transport.ts";
import type { GroupInputOf } from "../group/input.ts";
import type { AttemptInput } from "./input.ts";

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
}

export type GroupNews =
  /** A refusal that every other run would meet counts for the whole group. */
  | GroupInputOf<"writeTaken" | "writeRefused">
  /** The API server has too much to do, or we send less for its sake. The group's health stays as it was. */
  | { readonly kind: "quiet"; readonly forMs: number; readonly why: string }
  /** A quota that counts Jobs is full for every run. */
  | { readonly kind: "noRoom"; readonly untilMs: number; readonly diagnosis: Diagnosis };

export type AfterCreate =
  | { readonly kind: "input"; readonly input: AttemptInput; readonly news?: GroupNews }
  /** The name is taken: a look tells whose Job has it. */
  | { readonly kind: "look" };

export function afterCreate(answer: CreateAnswer, { claimNo, group, namespace, nowMs, placeAgainMs }: Creating): AfterCreate {
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
      const verdict = classifyCreate(answer, { group, namespace });
      if (verdict.kind === "exists") return { kind: "look" };
      const { diagnosis } = verdict;
      if (verdict.kind === "refused") return { kind: "input", input: { kind: "refused", claimNo, diagnosis } };
      if (verdict.kind !== "deferred") return { kind: "input", input: { kind: "unanswered", claimNo } };
      const pauseMs = answer.retryAfterMs ?? placeAgainMs;
      // Another group may take the attempt meanwhile, so the attempt does not rest as long as the group does.
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
