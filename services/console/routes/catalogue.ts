/** The catalogue: every definition as a card, and one definition with its form. */
import { DefinitionName } from "@longshore/contract/ids.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import { type Asker, namedInVain } from "@longshore/domain/access/access.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { noSuchJob } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { askerOf, mayAnywhere, mayWith, reachWith } from "../sign-in/person.ts";
import { cardOf } from "../views/card.ts";
import { newRun } from "../new-run.ts";

const MARKS = 10;

export function catalogue(plain: FastifyInstance, { pages, clock, access }: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const mayRun = (asker: Asker, definition: string) => mayWith(asker, { access }, "run", definition);
  const mayKnow = (asker: Asker, definition: string) =>
    mayRun(asker, definition) || mayWith(asker, { access }, "see", definition);

  server.get("/v1/definitions", { config: { for: "signed-in" } }, async (request) => {
    const asker = askerOf(request);
    const prepared = (await pages.definitions()).map(({ body }) => body);
    const all = prepared.filter(({ name }) => mayKnow(asker, name));
    const recent = await pages.recent(
      all.map(({ name }) => name),
      { most: MARKS, reach: reachWith(request, { access }, "see") },
    );
    const card = (it: Definition) => cardOf(it, recent.get(it.name) ?? [], mayRun(asker, it.name));
    const inVain = mayAnywhere(asker, { access }, "administer")
      ? namedInVain(
          access,
          prepared.map(({ name }) => name),
        )
      : [];
    return { nowMs: clock.now(), cards: all.map(card), inVain };
  });

  /** The form gets its run's id with it: one form is one run, however often it is sent. */
  server.get(
    "/v1/definition",
    { config: { for: "signed-in" }, schema: { querystring: z.object({ name: DefinitionName }) } },
    async (request) => {
      const { name } = request.query;
      const asker = askerOf(request);
      const found = mayKnow(asker, name) ? await pages.definition(name) : undefined;
      if (found === undefined) throw noSuchJob(name);
      const recent = await pages.recent([name], { most: MARKS, reach: reachWith(request, { access }, "see") });
      return {
        card: cardOf(found, recent.get(name) ?? [], mayRun(asker, name)),
        parameters: found.parameters ?? { type: "object", properties: {} },
        run: newRun(name, clock.now()),
      };
    },
  );
}
