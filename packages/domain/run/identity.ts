/**
 * An attempt's name in a cluster, and the texts that its name and its proof are computed from.
 *
 * The bug this prevents: a create that is tried again under a new name, which runs the work twice. The name follows from the
 * attempt alone, so a second try meets the Job of the first. The hash, not the readable part, keeps names apart.
 */
import type { GroupName, Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import { LABELS } from "./marks.ts";

/** SHA-256 of the text's UTF-8, in lower-case hex. The caller supplies it: the domain has no library for hashes. */
export type Sha256Hex = (text: string) => string;

export interface AttemptIdentity {
  readonly installation: Installation;
  readonly run: RunId;
  readonly step: StepName;
  readonly attempt: number;
}

/** The pods of an Indexed Job add their index and five characters to this name, and the sum must fit into 63. */
const NAME_MOST = 52;
const STEP_MOST = 16;
/** 55 bits: two attempts in a namespace share a hash once in about 190 million attempts. */
const HASH_LENGTH = 11;

/** "orders-8812-export-main-1-k3xq5zt7ab2": readable for people, unique by its last part, a DNS label of at most 52 characters. */
export function jobName(identity: AttemptIdentity & { readonly hash: Sha256Hex }): string {
  const unique = `${identity.attempt}-${base32(identity.hash(jobNameInput(identity)), HASH_LENGTH)}`;
  const step = slug(identity.step, STEP_MOST);
  const run = slug(identity.run, NAME_MOST - unique.length - step.length - 2);
  return [run, step, unique].filter((part) => part !== "").join("-");
}

/** "orders-8812-export-volumes-1-k3xq5zt7ab2": the run's anchor of this number. */
export function anchorName({ installation, run, number, hash }: AnchorIdentity & { readonly hash: Sha256Hex }): string {
  const unique = `volumes-${number}-${base32(hash(JSON.stringify(["longshore.dev/anchor-name", installation, run, number])), HASH_LENGTH)}`;
  const readable = slug(run, NAME_MOST - unique.length - 1);
  return readable === "" ? unique : `${readable}-${unique}`;
}

export interface AnchorIdentity {
  readonly installation: Installation;
  readonly run: RunId;
  readonly number: number;
}

/** The text whose HMAC is the proof of an anchor. */
export const anchorProofInput = (of: AnchorIdentity & { readonly group: GroupName; readonly namespaceUid: string }): string =>
  JSON.stringify(["longshore.dev/anchor-proof", of.installation, of.group, of.namespaceUid, of.run, of.number]);

/**
 * The text whose HMAC stands in the name of what an anchor owns. The anchor's UID is new with each anchor, so a name that is taken
 * can only be taken by our own earlier create for the same anchor. `content`: which volume, which values, or what a file holds.
 */
export const ownedNameInput = (what: "claim" | "secret" | "file", anchorUid: string, content: string): string =>
  JSON.stringify([`longshore.dev/${what}-name`, anchorUid, content]);

/** `hmac` is of `ownedNameInput`, in hex; `shown` is for people. */
export const nameOfOwned = (shown: string, hmac: string): string => `${slug(shown, 63 - 27)}-${base32(hmac, 26)}`;

/** JSON of a list: no two attempts give the same text, whatever characters their names contain. */
export const jobNameInput = ({ installation, run, step, attempt }: AttemptIdentity): string =>
  JSON.stringify(["longshore.dev/job-name", installation, run, step, attempt]);

/**
 * The text whose HMAC is the proof. The namespace's UID ties the proof to one cluster: a Job restored elsewhere proves nothing
 * there.
 */
export const proofInput = (of: AttemptIdentity & { readonly group: GroupName; readonly namespaceUid: string }): string =>
  JSON.stringify(["longshore.dev/proof", of.installation, of.group, of.namespaceUid, of.run, of.step, of.attempt]);

/**
 * The labels of the pods that a step's program makes itself, its children. The hash is over the installation, too: a namespace may
 * have runs of the same id from two of them, and neither may delete the other's children.
 */
export const childLabels = (
  { installation, run, step }: Omit<AttemptIdentity, "attempt">,
  hash: Sha256Hex,
): Readonly<Record<string, string>> => ({
  [LABELS.parent]: base32(hash(JSON.stringify(["longshore.dev/parent", installation, run])), 26),
  [LABELS.parentStep]: step,
});

/** Labels as kubectl takes them, and as a selector: "a=1,b=2". */
export const wordsOfLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(",");

/** The value of the run's label: 130 bits, as text that is allowed in any label. */
export const runLabel = (run: RunId, hash: Sha256Hex): string => base32(hash(run), 26);

/** Keeps lower-case letters, digits and single dashes, no dash at either end; cuts to `most` characters. */
function slug(text: string, most: number): string {
  const plain = text.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return plain.slice(0, Math.max(0, most)).replaceAll(/^-+|-+$/g, "");
}

/** Returns the first `length` base32 digits (RFC 4648, lower case) of a number written in hex. */
function base32(hex: string, length: number): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const digit of hex) {
    held = (held << 4) | Number.parseInt(digit, 16);
    bits += 4;
    if (bits < 5) continue;
    bits -= 5;
    text += "abcdefghijklmnopqrstuvwxyz234567".charAt((held >> bits) & 31);
    held &= (1 << bits) - 1;
    if (text.length === length) return text;
  }
  throw new RangeError(`A hash of ${hex.length} hex digits is too short for ${length} base32 digits.`);
}
