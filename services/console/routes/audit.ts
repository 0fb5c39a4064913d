/** The deeds of people, the newest first. */
import type { AuditRow } from "@longshore/ledger/pages.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { refusals } from "../answers.ts";
import { AuditRows } from "../answers-for-operators.ts";
import type { Parts } from "../parts.ts";

const ROWS = 100;

export function audit(plain: FastifyInstance, { pages }: Pick<Parts, "pages">): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/audit",
    {
      config: { for: "administer" },
      schema: {
        summary: "List the deeds of people, the newest first.",
        querystring: z.object({ before: z.string().regex(/^\d{1,18}$/).optional() }),
        response: { 200: AuditRows, ...refusals(401, 403, 422, 503) },
      },
    }, // biome-ignore format: one question
    async ({ query: { before } }) => {
      const rows = await pages.audit.list({ most: ROWS, ...(before !== undefined && { before }) });
      return {
        rows: rows.map(rowOf),
        before: rows.length === ROWS ? rows.at(-1)?.cursor : undefined,
      };
    },
  );
}

const rowOf = ({ atMs, person: { name, id }, deed, about, state }: AuditRow): AuditRows["rows"][number] => ({
  ...{ atMs, deed, about, state },
  by: { name, ...(id !== undefined && { id }) },
});
