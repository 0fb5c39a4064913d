/**
 * Signing in at an issuer of OpenID Connect: the code flow with PKCE.
 *
 *   /sign-in ─▶ issuer ─▶ /sign-in/back ─▶ session
 *
 * The failures this prevents: somebody who makes another person's browser finish a sign-in that they began themselves, and whoever
 * reads a code on its way and uses it. While the person is at the issuer, their browser alone holds a secret, in a cookie that no
 * script reads. State, nonce and PKCE's verifier are made from it, so that any replica can finish what another began.
 */
import { createHash } from "node:crypto";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { Log } from "@longshore/runtime/log.ts";
import * as client from "openid-client";
import { type Claims, type ClaimNames, personOf } from "./claims.ts";
import type { SignInFailure } from "./failures.ts";
import { newToken } from "./tokens.ts";

export interface OidcSettings extends ClaimNames {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly scopes: readonly string[];
}

export interface Oidc {
  /** Where the browser goes, and the secret that it keeps meanwhile. */
  begin(back: string): Promise<{ readonly kind: "go"; readonly to: string; readonly secret: string } | Failed>;
  /** `at`: the address with which the issuer sent the browser back. */
  finish(at: URL, secret: string | undefined): Promise<{ readonly kind: "person"; readonly person: Asker } | Failed>;
}

interface Failed {
  readonly kind: "failed";
  readonly why: SignInFailure;
}

const ANSWER_WITHIN_SECONDS = 5;

export function openOidc(settings: OidcSettings, log: Log): Oidc {
  const { issuer, clientId, clientSecret, scopes } = settings;
  let known: Promise<client.Configuration> | undefined;
  /** Asked at the first sign-in, and again if that failed: the console starts while the issuer is away. */
  const discovered = async (): Promise<client.Configuration> => {
    known ??= client.discovery(
      new URL(issuer),
      clientId,
      undefined,
      clientSecret === undefined ? client.None() : client.ClientSecretPost(clientSecret),
      {
        timeout: ANSWER_WITHIN_SECONDS,
        execute: [client.enableNonRepudiationChecks, ...(issuer.startsWith("http:") ? [client.allowInsecureRequests] : [])],
      },
    );
    try {
      return await known;
    } catch (error) {
      known = undefined;
      throw error;
    }
  };
  const failed = (error: unknown): Failed => {
    const why = whyOf(error);
    log.warn("nobody was signed in", { why, issuer, error });
    return { kind: "failed", why };
  };
  return {
    async begin(back) {
      try {
        const secret = newToken();
        const { state, nonce, verifier } = madeFrom(secret);
        const to = client.buildAuthorizationUrl(await discovered(), {
          ...{ redirect_uri: back, scope: scopes.join(" "), state, nonce },
          ...{ code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256" },
        });
        return { kind: "go", to: to.href, secret };
      } catch (error) {
        return failed(error);
      }
    },
    async finish(at, secret) {
      if (secret === undefined) return { kind: "failed", why: "stale" };
      const { state, nonce, verifier } = madeFrom(secret);
      if (at.searchParams.get("state") !== state) return { kind: "failed", why: "stale" };
      try {
        const issuers = await discovered();
        const tokens = await client.authorizationCodeGrant(issuers, at, {
          ...{ pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true },
        });
        const person = personOf(await claimsOf(issuers, tokens, settings), settings);
        return person === undefined ? { kind: "failed", why: "nobody" } : { kind: "person", person };
      } catch (error) {
        return failed(error);
      }
    },
  };
}

/** Different values of one secret: none of them tells another. */
function madeFrom(secret: string) {
  const made = (label: string): string => createHash("sha256").update(`${label} ${secret}`).digest("base64url");
  return { state: made("state"), nonce: made("nonce"), verifier: made("verifier") };
}

/** Some issuers tell names and teams only when they are asked for them. */
async function claimsOf(
  issuers: client.Configuration,
  tokens: Awaited<ReturnType<typeof client.authorizationCodeGrant>>,
  { idClaim, nameClaim, teamsClaim }: ClaimNames,
): Promise<Claims> {
  const claims: Claims = { ...tokens.claims() };
  const isWhole = [idClaim, nameClaim, teamsClaim].every((it) => claims[it] !== undefined);
  if (isWhole || issuers.serverMetadata().userinfo_endpoint === undefined) return claims;
  return { ...(await client.fetchUserInfo(issuers, tokens.access_token, String(claims["sub"]))), ...claims };
}

/** `error` codes of OAuth (RFC 6749) that say that the client is not the one it says. */
const NOT_THE_CLIENT = ["invalid_client", "unauthorized_client"];

function whyOf(error: unknown): SignInFailure {
  if (error instanceof client.AuthorizationResponseError) return error.error === "access_denied" ? "refused" : "failed";
  if (error instanceof client.WWWAuthenticateChallengeError) return "secret";
  if (error instanceof client.ResponseBodyError) {
    if (NOT_THE_CLIENT.includes(error.error)) return "secret";
    return error.status >= 500 ? "away" : error.error === "invalid_grant" ? "stale" : "failed";
  }
  return isAway(error) ? "away" : "failed";
}

/** No connection, no answer in time, or one that is none of an issuer's, as a proxy's in front of it. */
function isAway(error: unknown): boolean {
  const { code } = error as { readonly code?: unknown };
  return (
    code === "OAUTH_TIMEOUT" ||
    code === "OAUTH_RESPONSE_IS_NOT_CONFORM" ||
    (error instanceof TypeError && error.message === "fetch failed")
  );
}
