/** Signing in by a link that works once, who is signed in, and signing out. */
import { VERBS } from "@longshore/contract/access-rule.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { askerOf, mayAnywhere } from "../sign-in/person.ts";
import { cookieOptions, endSession, keepSession, sessionCookie } from "../sign-in/session.ts";
import { hashOf, SESSION_MS } from "../sign-in/tokens.ts";

const Me = z.object({
  name: z.string(),
  installation: z.string(),
  may: z.array(z.enum(VERBS)),
  /** False if each request names the person anew: there is no session to end. */
  hasSession: z.boolean(),
});

export function enter(plain: FastifyInstance, options: Parts): void {
  const { pages, installation, access } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const meOf = (asker: Asker, hasSession: boolean): z.output<typeof Me> => ({
    ...{ name: asker.name, installation, hasSession },
    may: VERBS.filter((verb) => mayAnywhere(asker, { access }, verb)),
  });
  const hasSession = ({ cookies, asker }: FastifyRequest): boolean =>
    asker?.token === undefined && cookies[sessionCookie(options)] !== undefined;

  server.post(
    "/v1/enter",
    {
      config: { for: "anybody", isSignIn: true },
      schema: { body: z.strictObject({ token: z.string().min(1).max(200) }), response: { 200: Me } },
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
  server.get("/v1/me", { config: { for: "signed-in" }, schema: { response: { 200: Me } } }, async (request) =>
    meOf(askerOf(request), hasSession(request)),
  );
  server.post("/v1/leave", { config: { for: "signed-in" } }, async (request, reply) => {
    await endSession(request, options);
    return reply.clearCookie(sessionCookie(options), cookieOptions(options, 0)).code(204).send();
  });
}
