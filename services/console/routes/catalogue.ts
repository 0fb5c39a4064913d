/** The catalogue: every definition as a card, and one definition with its form. */
import { DefinitionName } from "@longshore/contract/ids.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { cardOf } from "../views/card.ts";
import { newRun } from "../new-run.ts";

const MARKS = 10;

export function catalogue(plain: FastifyInstance, { pages, clock }: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();

  server.get("/v1/definitions", { config: { for: "signed-in" } }, async () => {
    const all = (await pages.definitions()).map(({ body }) => body);
    const recent = await pages.recent(
      all.map(({ name }) => name),
      MARKS,
    );
    return { nowMs: clock.now(), cards: all.map((it) => cardOf(it, recent.get(it.name) ?? [])) };
  });

  /** The form gets its run's id with it: one form is one run, however often it is sent. */
  server.get(
    "/v1/definition",
    { config: { for: "signed-in" }, schema: { querystring: z.object({ name: DefinitionName }) } },
    async ({ query: { name } }) => {
      const found = await pages.definition(name);
      if (found === undefined) throw new Refused(404, "No such job", `Nothing is prepared under the name ${name}.`);
      const recent = await pages.recent([name], MARKS);
      return {
        card: cardOf(found, recent.get(name) ?? []),
        parameters: found.parameters ?? { type: "object", properties: {} },
        run: newRun(name, clock.now()),
      };
    },
  );
}
