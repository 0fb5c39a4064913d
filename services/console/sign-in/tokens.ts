/** Tokens of links, sessions and programs: long enough that nobody guesses one, and kept only as hashes. */
import { createHash, randomBytes } from "node:crypto";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { SignIns } from "@longshore/ledger/pages.ts";

export const LINK_MS = 10 * 60_000;
export const SESSION_MS = 12 * 3_600_000;
const TOKEN_BYTES = 24;

export const newToken = (): string => randomBytes(TOKEN_BYTES).toString("base64url");

/** So begins a program's token: whoever finds one in a repository or a log sees what it is. */
export const PROGRAM = "lsk_";
export const newProgramToken = (): string => `${PROGRAM}${newToken()}`;

export const hashOf = (token: string): Uint8Array => createHash("sha256").update(token).digest();

/** Makes a link that signs this person in once. The token stands behind `#`: browsers send that to no server and to no log. */
export async function newLink(signIns: Pick<SignIns, "offer">, at: string, person: Asker): Promise<string> {
  const token = newToken();
  await signIns.offer(hashOf(token), person, LINK_MS);
  return `${at}/enter#${token}`;
}
