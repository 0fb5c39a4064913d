/**
 * Who asks, as a proxy in front of the console says it in a header: a JWT that only the proxy can have signed.
 *
 * The failure this prevents: a header that anybody can send. Each request brings its own assertion, so that nothing of it is kept.
 */
import type { Asker } from "@longshore/domain/access/access.ts";
import { createRemoteJWKSet, errors, jwtVerify, type JWTVerifyGetKey } from "jose";
import { Refused } from "../problem.ts";
import { type ClaimNames, personOf } from "./claims.ts";

export interface AssertionSettings extends ClaimNames {
  readonly header: string;
  readonly issuer: string;
  readonly audience: string;
  readonly jwks: string;
}

/** Signatures by a private key alone: with a shared key, whoever checks could also sign. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];
/** Two machines' clocks differ by so much. */
const CLOCKS_DIFFER_SECONDS = 30;
const KEYS_WITHIN_MS = 5_000;

export function openAssertions(
  { issuer, audience, jwks, ...names }: AssertionSettings,
  keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(jwks), { timeoutDuration: KEYS_WITHIN_MS }),
): (assertion: string) => Promise<Asker> {
  return async (assertion) => {
    const { payload } = await jwtVerify(assertion.replace(/^Bearer /i, ""), keys, {
      ...{ issuer, audience, algorithms: ALGORITHMS, requiredClaims: ["exp"], clockTolerance: CLOCKS_DIFFER_SECONDS },
    }).catch((error: unknown) => {
      throw refusalOf(error);
    });
    const person = personOf(payload, names);
    if (person === undefined)
      throw notBelieved(`It does not say for sure who you are: its claim "${names.idClaim}" is missing or unusable.`);
    return person;
  };
}

const notBelieved = (why: string): Refused =>
  new Refused(401, "Not signed in", `What the proxy in front of this console says of you is not believed. ${why}`, [], {
    reason: "assertion",
  });

function refusalOf(error: unknown): Refused {
  if (error instanceof errors.JWTExpired) return notBelieved("It has expired. Load the page again.");
  if (error instanceof errors.JWTClaimValidationFailed)
    return notBelieved(`Its claim "${error.claim}" is not the one that the console's settings name.`);
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed)
    return notBelieved("None of the proxy's keys has signed it.");
  if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError))
    return new Refused(
      503,
      "Not just now",
      "The keys of the proxy in front of this console cannot be read. Try again in a moment.",
    );
  return notBelieved("It is no signed JWT of a kind that is taken.");
}
