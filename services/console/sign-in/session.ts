/**
 * Who asks: the session's cookie, and the checks by which a request of another page is told from one of ours.
 *
 * The failure this prevents: a page of somebody else that a signed-in person has open, and that runs jobs in their name.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { SignIns } from "@longshore/ledger/pages.ts";
import type { FastifyRequest } from "fastify";
import type { Parts } from "../parts.ts";
import { hashOf, newToken, SESSION_MS } from "./tokens.ts";

/** Cookies know no ports: two consoles on one machine would sign each other's people out, if the name were the same. */
export const cookieName = (port: number, secure: boolean): string => (secure ? "__Host-longshore" : `longshore-${port}`);

export async function begin(signIns: SignIns, link: string): Promise<{ asker: Asker; token: string } | undefined> {
  const token = newToken();
  const asker = await signIns.redeem(hashOf(link), hashOf(token), SESSION_MS);
  return asker && { asker, token };
}

/** Returns whose session the request's cookie names. */
export async function signedIn(
  { cookies }: FastifyRequest,
  { pages, port }: Pick<Parts, "pages" | "port">,
): Promise<Asker | undefined> {
  const token = cookies[cookieName(port(), false)];
  return token === undefined ? undefined : await pages.signIns.whose(hashOf(token));
}

/** True if the request has effects only at our own page's wish: browsers say from where a request comes. */
export function isOwn(headers: IncomingHttpHeaders, host: string): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site === "same-origin";
  const { origin } = headers;
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
}
