/**
 * How one launcher finds a group: what its API server answered this launcher, and until it answers, what the ledger has of it.
 *
 * The bug this prevents: a view made of flags, of which some combinations mean nothing. Each state here carries what holds in it.
 * The moves between states stand in health.ts, and what a launcher may do in each in may.ts.
 */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";

/** Kept when the state changes. */
export interface Noted {
  /** The API server has too much to do, or we hold back for its sake. That says nothing of its health. */
  readonly quiet?: Quiet;
  /** Kept after the rest is over: after the next refusal the group rests longer, until a write is taken. */
  readonly refusals?: Refusals;
}

export interface Quiet {
  readonly untilMs: number;
  readonly why: string;
}

/** Writes that were refused in a row, and until when the group rests. */
export interface Refusals {
  readonly times: number;
  readonly untilMs: number;
  readonly diagnosis: Diagnosis;
}

interface Named extends Noted {
  /** Proofs are made with this UID. The ledger keeps the first one that any launcher was answered. */
  readonly namespaceUid: string;
}

interface Unwell {
  readonly diagnosis: Diagnosis;
  /** Another launcher finds the group healthy, and its word stands in the ledger. */
  readonly overruled?: true;
}

/** A group's health in the ledger, by the launcher whose word stands there. */
export interface RecordedHealth {
  readonly namespaceUid: string | undefined;
  /** "unknown" until something was sent there: it is tried, since a first request is how one finds out. */
  readonly health: "unknown" | "healthy" | "unhealthy";
  readonly diagnosis: Diagnosis | undefined;
}

/** No launcher was answered yet, or none since a person accepted what is there. */
export const UNREACHED: RecordedHealth = { namespaceUid: undefined, health: "unknown", diagnosis: undefined };

export type GroupView =
  /**
   * Known from the ledger alone: the namespace may have been made anew while no launcher ran. `doubted`: healthy by the ledger's
   * word, and our first probe was not answered.
   */
  | (Noted & RecordedHealth & { readonly state: "unverified"; readonly doubted?: true })
  | (Named & { readonly state: "healthy" })
  /** One probe was not answered: a lost packet, or a busy minute. The group is asked again before anybody is told. */
  | (Named & { readonly state: "doubted" })
  /** The API server answers reads and refused our writes. */
  | (Named & Unwell & { readonly state: "refusing"; readonly refusals: Refusals })
  /** The namespace is being deleted, and we may still act there. */
  | (Named & Unwell & { readonly state: "terminating" })
  /** The API server answers and gives us no namespace: there is none, or our token or Role is refused. */
  | (Named & Unwell & { readonly state: "barred" })
  /** Asked in vain. The next answer may be another cluster's, so earlier answers of this one do not count any more. */
  | (Noted & Unwell & { readonly state: "away"; readonly namespaceUid: string | undefined })
  /** Another namespace of this name answers, or another cluster. */
  | (Named & Unwell & { readonly state: "moved" });

export type ViewState = GroupView["state"];
type ByState = { readonly [V in GroupView as V["state"]]: V };
export type ViewIn<S extends ViewState> = ByState[S];
export type UnwellState = Extract<GroupView, Unwell>["state"];

/** How a launcher that was just started finds the group. */
export const unverified = ({ namespaceUid, health, diagnosis }: RecordedHealth): ViewIn<"unverified"> => ({
  state: "unverified",
  namespaceUid,
  health,
  diagnosis,
});

export const diagnosisOf = (view: GroupView): Diagnosis | undefined => ("diagnosis" in view ? view.diagnosis : undefined);
