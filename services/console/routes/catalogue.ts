/** The catalogue: every definition as a card, and one definition with its form. */
import type { Verb } from "@longshore/contract/access-rule.ts";
import { DefinitionName, ONLY_TENANT } from "@longshore/contract/ids.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import { type Asker, reaches, reachOf } from "@longshore/domain/access/access.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { askerOf, reachWith } from "../sign-in/person.ts";
import { cardOf } from "../views/card.ts";
import { newRun } from "../new-run.ts";

const MARKS = 10;

export function catalogue(plain: FastifyInstance, { pages, clock, access }: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const may = (asker: Asker, verb: Verb, definition: string) =>
    reaches(reachOf(access, asker, verb), { definition, tenant: ONLY_TENANT });
  const mayKnow = (asker: Asker, definition: string) => may(asker, "run", definition) || may(asker, "see", definition);

  server.get("/v1/definitions", { config: { for: "signed-in" } }, async (request) => {
    const asker = askerOf(request);
    const all = (await pages.definitions()).map(({ body }) => body).filter(({ name }) => mayKnow(asker, name));
    const recent = await pages.recent(
      all.map(({ name }) => name),
      { most: MARKS, reach: reachWith(request, { access }, "see") },
    );
    const card = (it: Definition) => cardOf(it, recent.get(it.name) ?? [], may(asker, "run", it.name));
    return { nowMs: clock.now(), cards: all.map(card) };
  });

  /** The form gets its run's id with it: one form is one run, however often it is sent. */
  server.get(
    "/v1/definition",
    { config: { for: "signed-in" }, schema: { querystring: z.object({ name: DefinitionName }) } },
    async (request) => {
      const { name } = request.query;
      const asker = askerOf(request);
      const found = mayKnow(asker, name) ? await pages.definition(name) : undefined;
      if (found === undefined) throw new Refused(404, "No such job", `Nothing is prepared under the name ${name}.`);
      const recent = await pages.recent([name], { most: MARKS, reach: reachWith(request, { access }, "see") });
      return {
        card: cardOf(found, recent.get(name) ?? [], may(asker, "run", name)),
        parameters: found.parameters ?? { type: "object", properties: {} },
        run: newRun(name, clock.now()),
      };
    },
  );
}
