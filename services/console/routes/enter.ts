/** Signing in by a link that works once, and out. */
import { VERBS } from "@longshore/contract/access-rule.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { askerOf, mayAnywhere } from "../sign-in/person.ts";
import { begin, cookieName } from "../sign-in/session.ts";
import { hashOf, SESSION_MS } from "../sign-in/tokens.ts";

const Me = z.object({ name: z.string(), installation: z.string(), may: z.array(z.enum(VERBS)) });

export function enter(plain: FastifyInstance, { pages, port, installation, access }: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const cookie = { httpOnly: true, sameSite: "lax", path: "/", maxAge: SESSION_MS / 1000 } as const;
  const name = () => cookieName(port(), false);
  const meOf = (asker: Asker): z.output<typeof Me> => ({
    name: asker.name,
    installation,
    may: VERBS.filter((verb) => mayAnywhere(asker, { access }, verb)),
  });

  server.post(
    "/v1/enter",
    {
      config: { for: "anybody" },
      schema: { body: z.strictObject({ token: z.string().min(1).max(200) }), response: { 200: Me } },
    },
    async (request, reply) => {
      const begun = await begin(pages.signIns, request.body.token);
      if (begun === undefined)
        throw new Refused(
          403,
          "This link does not work",
          "It was used already, or is older than 10 minutes. `npx longshore link` makes another.",
        );
      return reply.setCookie(name(), begun.token, cookie).send(meOf(begun.asker));
    },
  );
  server.get("/v1/me", { config: { for: "signed-in" }, schema: { response: { 200: Me } } }, async (request) =>
    meOf(askerOf(request)),
  );
  server.post("/v1/leave", { config: { for: "signed-in" } }, async (request, reply) => {
    const token = request.cookies[name()];
    if (token !== undefined) await pages.signIns.end(hashOf(token));
    return reply.clearCookie(name(), cookie).code(204).send();
  });
}
