/**
 * Who asks: a program by its token, a person whom a proxy in front of us names, or a person by a session.
 *
 * The failure this prevents: a header that names a person and was written by that person. Plain headers count only if the proxy's
 * own address sent them.
 */
import type { BlockList } from "node:net";
import type { IncomingHttpHeaders } from "node:http";
import { isIPv6 } from "node:net";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { Pages } from "@longshore/ledger/pages.ts";
import { listOf, rangeOf } from "@longshore/runtime/networks.ts";
import type { FastifyRequest } from "fastify";
import { Refused } from "../problem.ts";
import { openAssertions, type AssertionSettings } from "./assertion.ts";
import { personOf, TOKEN_ID } from "./claims.ts";
import type { Oidc } from "./oidc.ts";
import { hashOf, PROGRAM } from "./tokens.ts";

export interface HeaderSettings {
  /** The proxy's addresses, or networks of nobody but it. */
  readonly peers: readonly string[];
  readonly user: string;
  readonly teams: string;
}

/** The ways to sign in, besides links and tokens. */
export interface Ways {
  readonly oidc: Oidc | undefined;
  /** Returns the person whom a proxy names, if it names one. */
  readonly named: ((asking: Asking) => Promise<Asker | undefined>) | undefined;
}

type Asking = Pick<FastifyRequest, "headers" | "socket">;

/** Returns a program's token, if the request brings one of ours. */
export const tokenIn = ({ authorization = "" }: IncomingHttpHeaders): string | undefined =>
  new RegExp(`^Bearer +(${PROGRAM}\\S*)$`, "i").exec(authorization)?.[1];

export async function programOf(token: string, { tokens }: Pick<Pages, "tokens">): Promise<Asker> {
  const found = await tokens.which(hashOf(token));
  const refused = (why: string): Refused => new Refused(401, "Not this token", why, [], { reason: "token" });
  if (found === undefined)
    throw refused(
      "There is no such token. `npx longshore token list` names those that there are, and `token add NAME` makes one.",
    );
  const { name, isExpired, untilMs } = found;
  if (isExpired)
    throw refused(
      `The token ${name} was good until ${new Date(untilMs).toISOString()}. Remove it and make another: \`npx longshore token remove ${name}\`, then \`npx longshore token add ${name}\`.`,
    );
  // No person has an id that begins so: a program reaches no runs of a person who is called as it is.
  return { name, id: TOKEN_ID + name, token: name };
}

export function namedByProxy(
  proxy: AssertionSettings | undefined,
  headers: HeaderSettings | undefined,
): ((asking: Asking) => Promise<Asker | undefined>) | undefined {
  if (proxy === undefined && headers === undefined) return undefined;
  const asserted = proxy && openAssertions(proxy);
  const peers = headers && listOf(headers.peers.map(rangeOf));
  return async (asking) => {
    const assertion = proxy && asking.headers[proxy.header];
    if (asserted !== undefined && typeof assertion === "string") return await asserted(assertion);
    return headers && peers && personInHeaders(asking, headers, peers);
  };
}

function personInHeaders({ headers, socket }: Asking, names: HeaderSettings, peers: BlockList): Asker | undefined {
  const { remoteAddress = "" } = socket;
  const user = headers[names.user];
  if (user === undefined || !peers.check(remoteAddress, isIPv6(remoteAddress) ? "ipv6" : "ipv4")) return undefined;
  const teams = headers[names.teams];
  const claims = { user, teams: typeof teams === "string" ? teams.split(",") : [] };
  return personOf(claims, { idClaim: "user", nameClaim: "user", teamsClaim: "teams" });
}
