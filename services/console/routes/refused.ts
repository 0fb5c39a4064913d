/**
 * Requests that were refused, and a check of a message before it is sent.
 *
 * The failure this prevents: an author who learns one mistake with each message sent. The check reads the message by the launcher's
 * own rules, and says all that is wrong, or what would run.
 */
import { whyUnusable } from "@longshore/domain/prepared/usable.ts";
import { resolve } from "@longshore/domain/run/resolve.ts";
import { reachesTenants } from "@longshore/domain/access/access.ts";
import { type ReadCommand, readCommand } from "@longshore/contract/messages/envelope.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Checked, RefusedRows, refusals } from "../answers.ts";
import type { Parts } from "../parts.ts";
import { NOT_OPEN, Refused, UNUSABLE } from "../problem.ts";
import { askerOf, mayKnow, reachWith } from "../sign-in/person.ts";

const ROWS = 50;
const MESSAGE_MOST = 200_000;
const Cursor = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z[\w-]{1,100}$/);

export function refused(plain: FastifyInstance, options: Parts): void {
  const { pages } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();

  server.get(
    "/v1/refused",
    {
      config: { for: "see" },
      schema: {
        summary: "List the requests that were refused within a week, the newest first.",
        description: "For those who may see all runs of a tenant: a refused request is of no definition.",
        querystring: z.object({ before: Cursor.optional() }),
        response: { 200: RefusedRows, ...refusals(401, 403, 422, 503) },
      },
    },
    async (request) => {
      const reach = reachWith(request, options, "see");
      if (!reachesTenants(reach)) {
        await pages.audit.deny({ person: askerOf(request), deed: "see", about: "refused requests" });
        throw new Refused(403, "Not open to you", NOT_OPEN);
      }
      const rows = await pages.refusals({ reach, before: request.query.before, most: ROWS });
      return {
        rows: rows.map(({ atMs, run, command, problems }) => ({ atMs, run, message: command, problems: [...problems] })),
        before: rows.length === ROWS ? rows.at(-1)?.cursor : undefined,
      };
    },
  );

  server.post(
    "/v1/check",
    {
      config: { for: "see" },
      schema: {
        summary: "Check a message without sending it.",
        body: z.strictObject({ message: z.string().max(MESSAGE_MOST).describe("The whole message, as its text.") }),
        response: { 200: Checked, ...refusals(400, 401, 403, 422, 503) },
      },
    },
    async (request) => {
      return await checked(options, request, readCommand(new TextEncoder().encode(request.body.message)));
    },
  );
}

/** A definition that the asker may not know is answered as one that is not there. Its image is for those who wrote it. */
async function checked(options: Parts, request: FastifyRequest, read: ReadCommand): Promise<z.input<typeof Checked>> {
  if (read.kind !== "command") return { kind: "refused", problems: read.problems };
  const { type, data } = read.command;
  if ("group" in data) return { kind: "taken", type, group: data.group, steps: [] };
  const { run } = data;
  if (type !== "run.requested") return { kind: "taken", type, run, steps: [] };
  if (!("definition" in data)) {
    const steps = "steps" in data ? data.steps : [{ name: "main", image: data.image }];
    return { kind: "taken", type, run, steps: steps.map(({ name, image }) => ({ name, image })) };
  }
  const name = data.definition;
  const found = mayKnow(askerOf(request), options, name) ? await options.pages.definition(name) : undefined;
  const unknown = { path: "/data/definition", code: "DefinitionUnknown", message: `No definition is named "${name}".` } as const;
  if (found === undefined) return { kind: "refused", problems: [unknown] };
  const unusable = { path: "/data/definition", code: "DefinitionUnusable", message: UNUSABLE } as const;
  if (whyUnusable(found) !== undefined) return { kind: "refused", problems: [unusable] };
  const { run: _, actor: _actor, ...invocation } = data;
  const resolved = resolve(found.body, invocation, run);
  if (resolved.kind === "refused") return { kind: "refused", problems: resolved.problems };
  const steps = "steps" in resolved.request ? resolved.request.steps.map((it) => it.name) : ["main"];
  return { kind: "taken", type, run, definition: name, steps: steps.map((step) => ({ name: step })) };
}
