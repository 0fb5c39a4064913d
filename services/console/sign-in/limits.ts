/**
 * Bounds what one person, or one address that nobody has signed in from, may ask in a minute. A stream is one request.
 *
 * The failure this prevents: a page that runs wild, or somebody who tries links, and a ledger that answers nobody else meanwhile.
 */
import rateLimit from "@fastify/rate-limit";
import { idOf } from "@longshore/domain/access/access.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { Refused } from "../problem.ts";

/** Whoever signs in needs two requests. Many people may share an address. */
const SIGN_INS = 100;
/** A page that finds itself signed out needs five requests. */
const SIGNED_OUT = 600;
const MINUTE_MS = 60_000;

export async function openLimits(
  server: FastifyInstance,
  { requestsPerMinute }: { readonly requestsPerMinute: number },
): Promise<(request: FastifyRequest) => Promise<void>> {
  await server.register(rateLimit, { global: false, timeWindow: MINUTE_MS });
  const [signIns, signedOut] = [SIGN_INS, SIGNED_OUT].map((max) => server.createRateLimit({ max }));
  const persons = server.createRateLimit({
    max: requestsPerMinute,
    keyGenerator: ({ asker, ip }) => (asker === undefined ? ip : idOf(asker)),
  });
  return async (request) => {
    const isSignIn = request.routeOptions.config.isSignIn === true;
    const counted = await (isSignIn ? signIns : request.asker === undefined ? signedOut : persons)?.(request);
    if (counted === undefined || counted.isAllowed || !counted.isExceeded) return;
    const { ttlInSeconds: seconds } = counted;
    throw new Refused(429, "Too much at once", `More was asked than one may ask in a minute. Try again in ${seconds} s.`, [], {
      retryAfterSeconds: seconds,
    });
  };
}
