/** The result of a cell of the attempt's table: the new attempt, the news of it, and the strays that have to go. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { EventData } from "@longshore/contract/event.ts";
import type { Evidence } from "@longshore/contract/fact.ts";
import type { InputKind, InputOf } from "../input.ts";
import type { Attempt, Limits, Stray } from "../../run/record.ts";

export interface Context {
  readonly nowMs: number;
  readonly limits: Limits;
}

/** News of an attempt, in order. Its end is told by the step's and the run's tables. */
export type News =
  | {
      readonly kind: "waiting";
      readonly reason: string;
      readonly considered: EventData<"run.waiting">["considered"];
      readonly diagnosis?: Diagnosis;
    }
  | { readonly kind: "launched"; readonly adopted: boolean }
  | { readonly kind: "started"; readonly evidence: Evidence }
  | { readonly kind: "stalled"; readonly diagnosis: Diagnosis }
  | { readonly kind: "resumed" };

/** `attempt` is the same object exactly if nothing of it changes. */
export interface Move {
  readonly attempt: Attempt;
  readonly news: readonly News[];
  readonly strays: readonly Stray[];
  readonly illegal: boolean;
}

/** The `in` lets a rule for several inputs serve as a rule for each of them. */
export type Rule<in K extends InputKind> = (attempt: Attempt, input: InputOf<K>, context: Context) => Move;

export const move = (attempt: Attempt, news: readonly News[] = [], strays: readonly Stray[] = []): Move => ({
  attempt,
  news,
  strays,
  illegal: false,
});

export const stay = (attempt: Attempt): Move => move(attempt);
/** An input that an attempt in this state should never get: it is counted and logged, and nothing changes. */
export const illegal = (attempt: Attempt): Move => ({ ...move(attempt), illegal: true });

/** Puts earlier news before the move's own. */
export const after = (news: readonly News[], then: Move): Move =>
  news.length === 0 ? then : { ...then, news: [...news, ...then.news] };
