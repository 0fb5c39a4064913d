/**
 * Sessions: their cookie, how they begin and end, and the check by which a request of another page is told from one of ours.
 *
 * The failure this prevents: a page of somebody else that a signed-in person has open, and that runs jobs in their name.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Parts } from "../parts.ts";
import { Refused } from "../problem.ts";
import { hashOf, newToken, SESSION_MS } from "./tokens.ts";
import { programOf, tokenIn } from "./who-asks.ts";

/** Cookies know no ports: two consoles on one machine would sign each other's people out, if the name were the same. */
export const cookieName = (port: number, secure: boolean): string => (secure ? "__Host-longshore" : `longshore-${port}`);

type Cookies = Pick<Parts, "port" | "isSecure">;

export const sessionCookie = ({ port, isSecure }: Cookies): string => cookieName(port(), isSecure);
/** Where a person's browser keeps a sign-in that is under way. */
export const signingInCookie = (cookies: Cookies): string => `${sessionCookie(cookies)}-signing-in`;

export const cookieOptions = ({ isSecure }: Cookies, forMs: number) =>
  ({ httpOnly: true, sameSite: "lax", path: "/", secure: isSecure, maxAge: forMs / 1000 }) as const;

type Keeping = Pick<Parts, "pages" | "port" | "isSecure">;

/** Begins a session: the person who is known by it comes from `begun`. The browser's session from before ends. */
export async function keepSession<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  options: Keeping,
  begun: (session: Uint8Array) => Promise<T>,
): Promise<T> {
  if (request.asker?.token !== undefined)
    throw new Refused(403, "Not for programs", "A program asks with its token each time, and gets no session.");
  const token = newToken();
  const result = await begun(hashOf(token));
  if (result === undefined) return result;
  await endSession(request, options);
  reply.setCookie(sessionCookie(options), token, cookieOptions(options, SESSION_MS));
  return result;
}

export async function endSession({ cookies }: FastifyRequest, options: Keeping): Promise<void> {
  const token = cookies[sessionCookie(options)];
  if (token !== undefined) await options.pages.signIns.end(hashOf(token));
}

/** Returns who asks, if somebody does whom we know. Throws `Refused` for a token or an assertion that is not believed. */
export async function signedIn(
  request: FastifyRequest,
  options: Pick<Parts, "pages" | "port" | "isSecure" | "ways">,
): Promise<Asker | undefined> {
  const { pages, ways } = options;
  const program = tokenIn(request.headers);
  if (program !== undefined) return await programOf(program, pages);
  const named = await ways.named?.(request);
  if (named !== undefined) return named;
  const token = request.cookies[sessionCookie(options)];
  return token === undefined ? undefined : await pages.signIns.whose(hashOf(token));
}

/** Says to somebody whom we do not know how they become known. */
export function signedOut({ oidc, named }: Parts["ways"]): Refused {
  const how =
    oidc !== undefined
      ? "Sign in to go on."
      : named !== undefined
        ? "The proxy in front of this console did not say who you are. Load the page again to go through it."
        : "Sign in again: a new link comes from `npx longshore link`.";
  return new Refused(401, "Signed out", how, [], oidc === undefined ? {} : { signIn: "/sign-in" });
}

/**
 * True if the request has effects only at our own page's wish: browsers say from where a request comes. A request with a program's
 * token needs no such proof: no page of somebody else can have the token.
 */
export function isOwn(headers: IncomingHttpHeaders, host: string): boolean {
  if (tokenIn(headers) !== undefined) return true;
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site === "same-origin";
  const { origin } = headers;
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
}
