/**
 * Makes a person of what an issuer or a proxy says of them.
 *
 * The failure this prevents: somebody who has the rights of another, because an address that nobody confirmed was taken for who
 * they are, or because they are called as a program's token is.
 */
import type { Asker } from "@longshore/domain/access/access.ts";

export interface ClaimNames {
  /** Who it is: what rules name as `user`. */
  readonly idClaim: string;
  readonly nameClaim: string;
  readonly teamsClaim: string;
}

export type Claims = Readonly<Record<string, unknown>>;

const CHARACTERS_MOST = 200;
const TEAMS_MOST = 200;
/** So begins the id of a program's token. */
export const TOKEN_ID = "token:";

/** Returns `undefined` if the claims do not say for sure who it is. */
export function personOf(claims: Claims, { idClaim, nameClaim, teamsClaim }: ClaimNames): Asker | undefined {
  const id = textIn(claims[idClaim]);
  if (id === undefined || id.startsWith(TOKEN_ID)) return undefined;
  if (idClaim === "email" && claims["email_verified"] === false) return undefined;
  return { id, name: textIn(claims[nameClaim]) ?? id, teams: teamsIn(claims[teamsClaim]) };
}

function textIn(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  // Marks that turn the direction of writing would let a name read as another one.
  return text === "" || text.length > CHARACTERS_MOST || /[\p{Cc}\p{Bidi_Control}]/u.test(text) ? undefined : text;
}

function teamsIn(value: unknown): readonly string[] {
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  return all.flatMap((it) => textIn(it) ?? []).slice(0, TEAMS_MOST);
}
