/** Signing in at an issuer of OpenID Connect: the way there, and back. */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Parts } from "../parts.ts";
import type { SignInFailure } from "../sign-in/failures.ts";
import { localPath } from "../sign-in/local-path.ts";
import { cookieOptions, keepSession, signingInCookie } from "../sign-in/session.ts";
import { SESSION_MS } from "../sign-in/tokens.ts";
import { PAGES } from "./page.ts";

const BACK = "/sign-in/back";
/** A person may have to look for their phone. */
const UNDER_WAY_MS = 10 * 60_000;

const To = z.object({ to: z.string().optional() });

export function signIn(plain: FastifyInstance, options: Parts): void {
  const { ways, origin, pages } = options;
  const { oidc } = ways;
  if (oidc === undefined) return;
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const name = () => signingInCookie(options);
  const failed = (why: SignInFailure, to: string) => `/signed-out?${new URLSearchParams({ why, to }).toString()}`;

  server.get(
    "/sign-in",
    { config: { for: "anybody", isSignIn: true }, schema: { hide: true, querystring: To } },
    async (request, reply) => {
      const to = localPath(request.query.to, PAGES);
      const begun = await oidc.begin(origin() + BACK);
      if (begun.kind === "failed") return reply.redirect(failed(begun.why, to));
      const kept = `${begun.secret}.${Buffer.from(to).toString("base64url")}`;
      return reply.setCookie(name(), kept, cookieOptions(options, UNDER_WAY_MS)).redirect(begun.to);
    },
  );

  server.get(BACK, { config: { for: "anybody", isSignIn: true }, schema: { hide: true } }, async (request, reply) => {
    const [secret, path = ""] = (request.cookies[name()] ?? "").split(".");
    const to = localPath(Buffer.from(path, "base64url").toString(), PAGES);
    reply.clearCookie(name(), cookieOptions(options, 0));
    const found = await oidc.finish(new URL(request.url, origin()), secret === "" ? undefined : secret);
    if (found.kind === "failed") return reply.redirect(failed(found.why, to));
    await keepSession(request, reply, options, async (session) => {
      await pages.signIns.begin(session, found.person, SESSION_MS);
      return found.person;
    });
    return reply.redirect(to);
  });
}
