/**
 * A group as one launcher finds it: what the group's API server answered this launcher, and until then, the ledger's word.
 *
 * The bug this prevents: a view made of flags, some combinations of which mean nothing. Each state here carries the values that
 * are valid in it. The moves between states stand in health.ts, and a launcher's permissions in each state in may.ts.
 */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";

/** These values are kept when the state changes. */
export interface Noted {
  /** The API server has too much to do, or we send less for its sake. That says nothing of its health. */
  readonly quiet?: Quiet;
  /** Kept after the rest is over, until a write is accepted: after the next refusal the group rests longer. */
  readonly refusals?: Refusals;
}

export interface Quiet {
  readonly untilMs: number;
  readonly why: string;
}

/** Counts the writes that were refused in a row; the group rests until `untilMs`. */
export interface Refusals {
  readonly times: number;
  readonly untilMs: number;
  readonly diagnosis: Diagnosis;
}

interface Named extends Noted {
  /** Proofs are made with this UID. The ledger keeps the first UID that any launcher got as an answer. */
  readonly namespaceUid: string;
}

interface Unwell {
  readonly diagnosis: Diagnosis;
  /** Another launcher finds the group healthy, and its word stands in the ledger. */
  readonly overruled?: true;
}

/** A group's health in the ledger, as the launcher whose word stands there found it. */
export interface RecordedHealth {
  readonly namespaceUid: string | undefined;
  /** "unknown" until a request was sent there. An unknown group is tried, since only a first request can show its health. */
  readonly health: "unknown" | "healthy" | "unhealthy";
  readonly diagnosis: Diagnosis | undefined;
}

/** No launcher got an answer yet, or none since a person accepted the namespace that is there. */
export const UNREACHED: RecordedHealth = { namespaceUid: undefined, health: "unknown", diagnosis: undefined };

export type GroupView =
  /**
   * Known from the ledger alone: the namespace may have been made anew while no launcher ran. `doubted`: the ledger says
   * healthy, and our first probe got no answer.
   */
  | (Noted & RecordedHealth & { readonly state: "unverified"; readonly doubted?: true })
  | (Named & { readonly state: "healthy" })
  /** One probe got no answer: a lost packet, or a busy minute. The group is asked again before anybody is told. */
  | (Named & { readonly state: "doubted" })
  /** The API server answers reads and refused our writes. */
  | (Named & Unwell & { readonly state: "refusing"; readonly refusals: Refusals })
  /** The namespace is being deleted, and we may still act there. */
  | (Named & Unwell & { readonly state: "terminating" })
  /** The API server answers, but gives us no namespace: there is none, or our token or Role is refused. */
  | (Named & Unwell & { readonly state: "barred" })
  /** Probes got no answer. The next answer may come from another cluster, so earlier answers of this one no longer count. */
  | (Noted & Unwell & { readonly state: "away"; readonly namespaceUid: string | undefined })
  /** Another namespace of this name answers, or another cluster does. */
  | (Named & Unwell & { readonly state: "moved" });

export type ViewState = GroupView["state"];
type ByState = { readonly [V in GroupView as V["state"]]: V };
export type ViewIn<S extends ViewState> = ByState[S];
export type UnwellState = Extract<GroupView, Unwell>["state"];

/** Returns the view of a group for a launcher that was just started. */
export const unverified = ({ namespaceUid, health, diagnosis }: RecordedHealth): ViewIn<"unverified"> => ({
  state: "unverified",
  namespaceUid,
  health,
  diagnosis,
});

export const diagnosisOf = (view: GroupView): Diagnosis | undefined => ("diagnosis" in view ? view.diagnosis : undefined);
