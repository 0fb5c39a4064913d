/**
 * A group as one launcher finds it, everything that can change this view, and what the launcher may do with the group then.
 *
 * The bugs this prevents: a view made of flags, some combinations of which mean nothing; and loops that each read another flag,
 * so that one of them creates Jobs before the namespace is known to be ours. The moves between the states are in health.ts.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";

/** These values are kept when the state changes. */
export interface Noted {
  /** The API server is busy, or we send less to spare it; its health is another matter. */
  readonly quiet?: Quiet;
  /** Kept when the group's rest is over, until a write is accepted: the next refusal then brings a longer rest. */
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
  /** Another launcher finds the group healthy, and the ledger keeps its word. */
  readonly overruled?: true;
}

/** A group's health in the ledger: the word of a launcher (see recorded-health.ts). */
export interface RecordedHealth {
  readonly namespaceUid: string | undefined;
  /**
   * "unknown" until a request was sent to the group. An unknown group is tried, since only a first request can show its health.
   */
  readonly health: "unknown" | "healthy" | "unhealthy";
  readonly diagnosis: Diagnosis | undefined;
}

/** The cluster has not answered any launcher yet, or not since a person accepted its namespace. */
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
  /** The namespace is being deleted, and we may still act in it. */
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

// ── Inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export type GroupInput =
  // A probe's answer. A probe reads the namespace.
  | { readonly kind: "answered"; readonly uid: string; readonly deleting: boolean }
  /** The API server says that there is no such namespace. */
  | { readonly kind: "missing" }
  | { readonly kind: "refused"; readonly diagnosis: Diagnosis }
  | { readonly kind: "silent"; readonly diagnosis: Diagnosis }
  /** `quiet`: the end of the pause, if known. */
  | { readonly kind: "throttled"; readonly quiet?: Quiet }
  // A create's answer that would be the same for every other create.
  | { readonly kind: "writeRefused"; readonly diagnosis: Diagnosis }
  | { readonly kind: "writeTaken" }
  // The group as the ledger has it.
  | ({ readonly kind: "recorded"; readonly namespaceUid: string } & RecordedHealth)
  /**
   * The ledger has no UID: no launcher got an answer yet, a person accepted the namespace that answers now, or the groups file
   * names another namespace.
   */
  | ({ readonly kind: "unnamed"; readonly namespaceUid: undefined } & RecordedHealth)
  // Whether the ledger took our word, or keeps another launcher's.
  | { readonly kind: "heeded" }
  | { readonly kind: "overruled" };

export type GroupInputKind = GroupInput["kind"];
type ByKind = { readonly [I in GroupInput as I["kind"]]: I };
export type GroupInputOf<K extends GroupInputKind> = ByKind[K];

export const ledgerInput = ({ namespaceUid, health, diagnosis }: RecordedHealth): GroupInput =>
  namespaceUid === undefined
    ? { kind: "unnamed", namespaceUid, health, diagnosis }
    : { kind: "recorded", namespaceUid, health, diagnosis };

// ── Permissions ──────────────────────────────────────────────────────────────────────────────────────────────────────

type Answered = ViewIn<"healthy" | "doubted" | "refusing" | "terminating">;

/**
 * True if the last answer came from the group's own namespace. If a create there is refused, its answer moves the attempt on.
 */
export const mayCreate = (view: GroupView): view is Answered => {
  switch (view.state) {
    case "healthy":
    case "doubted":
    case "refusing":
    case "terminating":
      return true;
    case "unverified":
    case "away":
    case "barred":
    case "moved":
      return false;
  }
};

/** True if the answer "missing" means that our Job is gone. This holds for "barred", too: Jobs go with their namespace. */
export const mayJudge = (view: GroupView): view is Answered | ViewIn<"barred"> => view.state === "barred" || mayCreate(view);

/** Returns why no Job may be created in this group, and why sightings in it prove nothing. */
export const whyNot = (view: GroupView, group: GroupName): Diagnosis =>
  view.state !== "unverified" && "diagnosis" in view
    ? view.diagnosis
    : diagnose("EndpointUnreachable", `The group ${group} was not reached yet.`);

/**
 * True if this launcher may claim, even if it may not create: the attempt is then given back, for another group to take. False
 * until the group has answered us or failed to, and while another launcher's "healthy" overrules us: then only other launchers
 * claim.
 */
export const mayClaim = (view: GroupView): boolean => view.state !== "unverified" && !("overruled" in view);

/** The group is asked again before its silence has any consequence. */
export const isDoubted = (view: GroupView): boolean => view.state === "doubted" || ("doubted" in view && view.doubted);

export const isWell = ({ state }: GroupView): boolean => state === "healthy" || state === "doubted";

/**
 * Returns why this launcher places nothing in the group now: each claim would cost two writes for a create that is not sent.
 */
export const quietIn = ({ quiet }: GroupView, nowMs: number): string | undefined =>
  quiet !== undefined && nowMs < quiet.untilMs ? quiet.why : undefined;

const DOUBT_MS = 2_000;
const UNWELL_MS = 1_000;

/** Returns the time until the next probe, if it comes sooner than usual: a run may be waiting for its answer. */
export const probeAgainMs = (view: GroupView): number | undefined => {
  if (isDoubted(view)) return DOUBT_MS;
  return isWell(view) ? undefined : UNWELL_MS;
};

const LOOK_MS = 2_000;

/**
 * The time between looks at a Job that is being deleted. If the cluster cannot be reached, a look shows nothing, yet each look
 * is a write to the ledger: a thousand every two seconds for a thousand cancelled runs.
 */
export const lookAgainMs = ({ state }: GroupView, leaseMs: number): number =>
  state === "away" || state === "barred" || state === "moved" ? Math.max(LOOK_MS, leaseMs) : LOOK_MS;
