/**
 * Every input that a launcher can get about a group: its API server's answers, the ledger's word, and the fate of our own word.
 */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { Quiet, RecordedHealth } from "./view.ts";

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
  // The ledger's word.
  | ({ readonly kind: "recorded"; readonly namespaceUid: string } & RecordedHealth)
  /**
   * The ledger has no UID: no launcher got an answer yet, a person accepted the namespace that is there, or the groups file
   * names another namespace.
   */
  | ({ readonly kind: "unnamed"; readonly namespaceUid: undefined } & RecordedHealth)
  // The fate of our own word: it stands in the ledger, or another launcher's word does.
  | { readonly kind: "heeded" }
  | { readonly kind: "overruled" };

export type GroupInputKind = GroupInput["kind"];
type ByKind = { readonly [I in GroupInput as I["kind"]]: I };
export type GroupInputOf<K extends GroupInputKind> = ByKind[K];

export const ledgerInput = ({ namespaceUid, health, diagnosis }: RecordedHealth): GroupInput =>
  namespaceUid === undefined
    ? { kind: "unnamed", namespaceUid, health, diagnosis }
    : { kind: "recorded", namespaceUid, health, diagnosis };
