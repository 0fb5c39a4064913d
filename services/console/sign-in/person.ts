/**
 * Who may ask a route, and who asked it.
 *
 * The failure this prevents: a route that is written without a thought of who may ask it, and is open to everybody.
 */
import type { AccessRule, Verb } from "@longshore/contract/access-rule.ts";
import { ONLY_TENANT } from "@longshore/contract/ids.ts";
import { type About, type Asker, type Reach, reaches, reachesAny, reachOf } from "@longshore/domain/access/access.ts";
import type { FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Who may ask: anybody, somebody who is signed in, or only somebody who may do this with anything at all. */
    readonly for?: "anybody" | "signed-in" | Verb;
    /** Somebody tries to sign in: fewer such requests are taken than others. */
    readonly isSignIn?: true;
    /** The answer goes on for as long as it is read. */
    readonly isStream?: true;
  }
  interface FastifyRequest {
    asker: Asker | undefined;
  }
}

type Asking = Pick<FastifyRequest, "asker">;

export const askerOf = ({ asker }: Asking): Asker => {
  if (asker === undefined) throw new TypeError("a route for people who are signed in was asked by somebody else");
  return asker;
};

interface Ruled {
  readonly access: readonly AccessRule[];
}

/** What whoever asks may reach with this verb. */
export const reachWith = (request: Asking, { access }: Ruled, verb: Verb): Reach => reachOf(access, askerOf(request), verb);

/** True if whoever asks may do this with the definition itself, whoever asked for runs of it. */
export const mayWith = (asker: Asker, ruled: Ruled, verb: Verb, definition: string): boolean =>
  mayAbout(asker, ruled, verb, { definition, tenant: ONLY_TENANT });

/** True if whoever asks may hear of the definition at all. */
export const mayKnow = (asker: Asker, ruled: Ruled, definition: string): boolean =>
  (["run", "see"] as const).some((verb) => mayWith(asker, ruled, verb, definition));

export const mayAbout = (asker: Asker, { access }: Ruled, verb: Verb, about: About): boolean =>
  reaches(reachOf(access, asker, verb), about);

export const mayAnywhere = (asker: Asker, { access }: Ruled, verb: Verb): boolean => reachesAny(reachOf(access, asker, verb));
