/** The deeds of people, the newest first. */
import type { AuditRow } from "@longshore/ledger/pages.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Parts } from "../parts.ts";

const ROWS = 100;

export function audit(plain: FastifyInstance, { pages }: Pick<Parts, "pages">): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/audit",
    { config: { for: "administer" }, schema: { querystring: z.object({ before: z.string().regex(/^\d{1,18}$/).optional() }) } }, // biome-ignore format: one question
    async ({ query: { before } }) => {
      const rows = await pages.audit.list({ most: ROWS, ...(before !== undefined && { before }) });
      return {
        rows: rows.map(rowOf),
        ...(rows.length === ROWS && { before: rows.at(-1)?.cursor }),
      };
    },
  );
}

const rowOf = ({ atMs, person: { name, id }, deed, about, state }: AuditRow): object => ({
  ...{ atMs, deed, about, state },
  by: { name, ...(id !== undefined && { id }) },
});
