/** All that a launcher can hear of a group: what its API server answers, what the ledger has, and what became of our own word. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { Quiet, RecordedHealth } from "./view.ts";

export type GroupInput =
  // A probe's answer. A probe reads the namespace.
  | { readonly kind: "answered"; readonly uid: string; readonly deleting: boolean }
  /** The API server has no such namespace. */
  | { readonly kind: "missing" }
  | { readonly kind: "refused"; readonly diagnosis: Diagnosis }
  | { readonly kind: "silent"; readonly diagnosis: Diagnosis }
  /** `quiet`: until when, if that is known. */
  | { readonly kind: "throttled"; readonly quiet?: Quiet }
  // A create's answer that means the same for every other create.
  | { readonly kind: "writeRefused"; readonly diagnosis: Diagnosis }
  | { readonly kind: "writeTaken" }
  // The ledger's word.
  | ({ readonly kind: "recorded"; readonly namespaceUid: string } & RecordedHealth)
  /** The ledger has no UID: nobody was answered yet, a person accepted what is there, or the groups file names another namespace. */
  | ({ readonly kind: "unnamed"; readonly namespaceUid: undefined } & RecordedHealth)
  // Our own word: it stands, or another launcher's does.
  | { readonly kind: "heeded" }
  | { readonly kind: "overruled" };

export type GroupInputKind = GroupInput["kind"];
type ByKind = { readonly [I in GroupInput as I["kind"]]: I };
export type GroupInputOf<K extends GroupInputKind> = ByKind[K];

export const ledgerInput = ({ namespaceUid, health, diagnosis }: RecordedHealth): GroupInput =>
  namespaceUid === undefined
    ? { kind: "unnamed", namespaceUid, health, diagnosis }
    : { kind: "recorded", namespaceUid, health, diagnosis };
