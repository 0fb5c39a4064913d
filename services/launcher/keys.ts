/**
 * Values computed from the key file: proofs on Jobs, digests of requests, and the hash in names.
 *
 * The bug this prevents: adopting a Job because its labels say that it is ours. Anybody who may create Jobs can copy labels.
 * Only a launcher with the key file can make the proof, which names one attempt in one namespace of one cluster. Keys are
 * derived from the file and not kept in the ledger, so they survive its loss.
 */
import { createHash, createHmac, createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from "node:crypto";
import type { GroupName, Installation, RunId, StepName, TenantName } from "@longshore/contract/ids.ts";
import { canonical } from "@longshore/contract/json.ts";
import type { SecretValues } from "@longshore/contract/request/secret-values.ts";
import { openSeal, type Sealed } from "@longshore/runtime/seal.ts";
import {
  anchorName,
  anchorProofInput,
  childLabels,
  jobName,
  nameOfOwned,
  ownedNameInput,
  proofInput,
  runLabel,
} from "@longshore/domain/run/identity.ts";

export interface Identity {
  readonly run: RunId;
  readonly step: StepName;
  readonly attempt: number;
}

export interface AnchorOfRun {
  readonly run: RunId;
  readonly number: number;
}

export interface Place {
  readonly group: GroupName;
  readonly namespaceUid: string;
}

export interface Keys {
  /** Tells this key from others in the ledger, and tells nothing else about it. */
  readonly mark: string;
  prove(identity: Identity, place: Place): string;
  isProof(proof: string | undefined, identity: Identity, place: Place): boolean;
  /** The digest of a request as it was received: two requests with the same digest have "the same content". */
  digest(tenant: TenantName, data: unknown): string;
  jobName(run: RunId, step: StepName, attempt: number): string;
  anchorName(run: RunId, number: number): string;
  proveAnchor(identity: AnchorOfRun, place: Place): string;
  isAnchorProof(proof: string | undefined, identity: AnchorOfRun, place: Place): boolean;
  /** The name of the claim of a volume, under the anchor with this UID. */
  claimName(anchorUid: string, volume: string): string;
  /** The same of the Secret with the secret values that came with a generation, and of a large file's ConfigMap. */
  secretName(anchorUid: string, generation: number): string;
  fileName(anchorUid: string, content: string): string;
  /** Seals a run's own secret values for the ledger, so that nobody reads them there, or opens them as another run's. */
  sealValues(run: RunId, values: SecretValues): string;
  /** `undefined`: they were sealed with another key, or changed. */
  openValues(run: RunId, sealed: string): SecretValues | undefined;
  runLabel(run: RunId): string;
  /** The labels of the pods that the step's program makes itself. */
  childLabels(run: RunId, step: StepName): Readonly<Record<string, string>>;
}

/** Least length of the key file: a shorter one could be guessed. */
export const KEY_BYTES_MIN = 32;

/** The hash that names and labels are made of (domain/run/identity.ts). */
export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

export function openKeys(master: Uint8Array, installation: Installation): Keys {
  // Key objects are made once: from bytes, Node would make one at every call, which costs four times the HMAC itself.
  const derive = (purpose: string): KeyObject =>
    createSecretKey(new Uint8Array(hkdfSync("sha256", master, installation, `longshore ${purpose}`, 32)));
  const proofKey = derive("proof");
  const digestKey = derive("digest");
  const nameKey = derive("names of claims");
  const seal = openSeal(
    Buffer.from(hkdfSync("sha256", master, installation, "longshore secret values", 32)).toString("hex"),
    installation,
  );
  const named = (what: "claim" | "secret" | "file", anchorUid: string, content: string, shown: string): string =>
    nameOfOwned(
      shown,
      createHmac("sha256", nameKey)
        .update(ownedNameInput(what, anchorUid, content))
        .digest("hex"),
    );
  const hmac = (key: KeyObject, text: string): string => createHmac("sha256", key).update(text).digest("base64url");

  const isSame = (proof: string | undefined, right: string): boolean => {
    const [expected, given] = [Buffer.from(right), Buffer.from(proof ?? "")];
    return given.length === expected.length && timingSafeEqual(given, expected);
  };

  const prove = (identity: Identity, place: Place): string => hmac(proofKey, proofInput({ installation, ...identity, ...place }));
  const proveAnchor = (identity: AnchorOfRun, place: Place): string =>
    hmac(proofKey, anchorProofInput({ installation, ...identity, ...place }));
  return {
    mark: hmac(derive("mark"), "the ledger's key"),
    prove,
    isProof: (proof, identity, place) => isSame(proof, prove(identity, place)),
    proveAnchor,
    isAnchorProof: (proof, identity, place) => isSame(proof, proveAnchor(identity, place)),
    anchorName: (run, number) => anchorName({ installation, run, number, hash: sha256 }),
    claimName: (anchorUid, volume) => named("claim", anchorUid, volume, volume),
    secretName: (anchorUid, generation) => named("secret", anchorUid, String(generation), "secret-values"),
    fileName: (anchorUid, content) => named("file", anchorUid, content, "file"),
    sealValues: (run, values) => JSON.stringify(seal.seal(JSON.stringify(values), run)),
    openValues: (run, sealed) => {
      const opened = seal.open(JSON.parse(sealed) as Sealed, run);
      return opened.kind === "opened" ? (JSON.parse(opened.text) as SecretValues) : undefined;
    },
    digest: (tenant, data) => hmac(digestKey, `${tenant}\n${canonical(data)}`),
    jobName: (run, step, attempt) => jobName({ installation, run, step, attempt, hash: sha256 }),
    runLabel: (run) => runLabel(run, sha256),
    childLabels: (run, step) => childLabels({ installation, run, step }, sha256),
  };
}
