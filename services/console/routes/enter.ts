/** Signing in by a link that works once, who is signed in, and signing out. */
import { VERBS } from "@longshore/contract/access-rule.ts";
import { type Asker, reachesTenants, reachOf } from "@longshore/domain/access/access.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Me, refusals } from "../answers.ts";
import { markOf } from "../mark.ts";
import { Refused } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { askerOf, mayAnywhere } from "../sign-in/person.ts";
import { cookieOptions, endSession, keepSession, sessionCookie } from "../sign-in/session.ts";
import { hashOf, SESSION_MS } from "../sign-in/tokens.ts";

export function enter(plain: FastifyInstance, options: Parts): void {
  const { pages, installation, access } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const meOf = (asker: Asker, hasSession: boolean): Me => ({
    ...{ name: asker.name, installation, hasSession },
    may: VERBS.filter((verb) => mayAnywhere(asker, { access }, verb)),
    seesRefused: reachesTenants(reachOf(access, asker, "see")),
    mark: markOf(asker),
  });
  const hasSession = ({ cookies, asker }: FastifyRequest): boolean =>
    asker?.token === undefined && cookies[sessionCookie(options)] !== undefined;

  server.post(
    "/v1/enter",
    {
      config: { for: "anybody", isSignIn: true },
      schema: {
        summary: "Sign in by a link that works once.",
        body: z.strictObject({ token: z.string().min(1).max(200) }),
        response: { 200: Me, ...refusals(403, 422, 503) },
      },
    },
    async (request, reply) => {
      const link = hashOf(request.body.token);
      const asker = await keepSession(request, reply, options, (session) => pages.signIns.redeem(link, session, SESSION_MS));
      if (asker === undefined)
        throw new Refused(
          403,
          "This link does not work",
          "It was used already, or is older than 10 minutes. `npx longshore link` makes another.",
          [],
          { reason: "link" },
        );
      return meOf(asker, true);
    },
  );
  const who = { summary: "Read who is signed in, and what they may do.", response: { 200: Me, ...refusals(401, 503) } };
  server.get("/v1/me", { config: { for: "signed-in" }, schema: who }, async (request) =>
    meOf(askerOf(request), hasSession(request)),
  );
  const left = {
    summary: "Sign out.",
    response: { 204: z.void().describe("Nobody is signed in any more."), ...refusals(401, 503) },
  };
  server.post("/v1/leave", { config: { for: "signed-in" }, schema: left }, async (request, reply) => {
    await endSession(request, options);
    return reply.clearCookie(sessionCookie(options), cookieOptions(options, 0)).code(204).send();
  });
}
