/** All that a launcher can hear of a group: what its API server answers, what the ledger has, and what became of our own word. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { Quiet, RecordedHealth } from "./view.ts";

export type GroupInput =
  // What a probe, which reads the namespace, was answered.
  | { readonly kind: "answered"; readonly uid: string; readonly deleting: boolean }
  /** By an API server that has no such namespace. */
  | { readonly kind: "missing" }
  | { readonly kind: "refused"; readonly diagnosis: Diagnosis }
  | { readonly kind: "silent"; readonly diagnosis: Diagnosis }
  /** `quiet`: for how long it is known. */
  | { readonly kind: "throttled"; readonly quiet?: Quiet }
  // What a create was answered that means the same for every other create.
  | { readonly kind: "writeRefused"; readonly diagnosis: Diagnosis }
  | { readonly kind: "writeTaken" }
  // What the ledger has.
  | ({ readonly kind: "recorded"; readonly namespaceUid: string } & RecordedHealth)
  /** The ledger has no UID: nobody was answered yet, a person accepted what is there, or the groups file names another namespace. */
  | ({ readonly kind: "unnamed"; readonly namespaceUid: undefined } & RecordedHealth)
  // What became of our own word.
  | { readonly kind: "heeded" }
  | { readonly kind: "overruled" };

export type GroupInputKind = GroupInput["kind"];
type ByKind = { readonly [I in GroupInput as I["kind"]]: I };
export type GroupInputOf<K extends GroupInputKind> = ByKind[K];

export const ledgerInput = ({ namespaceUid, health, diagnosis }: RecordedHealth): GroupInput =>
  namespaceUid === undefined
    ? { kind: "unnamed", namespaceUid, health, diagnosis }
    : { kind: "recorded", namespaceUid, health, diagnosis };
