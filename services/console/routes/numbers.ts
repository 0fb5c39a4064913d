/** How runs ended by the hour, for whoever operates: all runs are counted and none is named, as on a card. */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { refusals } from "../answers.ts";
import { Numbers } from "../answers-for-operators.ts";
import type { Parts } from "../parts.ts";
import { numbersOf } from "../views/numbers.ts";

const HOURS_MOST = 7 * 24;

export function numbers(plain: FastifyInstance, { pages }: Pick<Parts, "pages">): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/numbers",
    {
      config: { for: "operate" },
      schema: {
        summary: "Count how runs ended, by the hour.",
        querystring: z.object({ hours: z.coerce.number().int().min(1).max(HOURS_MOST).default(24) }),
        response: { 200: Numbers, ...refusals(401, 403, 422, 503) },
      },
    },
    async ({ query: { hours } }) => {
      const [rows, nowMs] = await Promise.all([pages.hours(hours), pages.now()]);
      return numbersOf(rows, nowMs, hours);
    },
  );
}
