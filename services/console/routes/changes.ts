/**
 * Tells open pages of changes, as server-sent events.
 *
 * The failure this prevents: a page that shows a run by the pieces that it heard. A run's stream sends the whole view as the ledger
 * has it, so that the next look heals every gap; of all runs it says only that something changed.
 */
import { RunId } from "@longshore/contract/ids.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { EVENT_STREAM, refusals } from "../answers.ts";
import type { Parts } from "../parts.ts";
import { askerOf } from "../sign-in/person.ts";
import { lastOf, LOOK_MS, type Source, stream } from "../stream.ts";
import { viewOf } from "../views/read.ts";

export function changes(plain: FastifyInstance, options: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/changes",
    {
      config: { for: "see", isStream: true },
      schema: {
        summary: "Hear of changes as a page does: of a run its whole view, of all runs that something changed.",
        querystring: z.object({ run: RunId.optional() }),
        response: { 200: EVENT_STREAM, ...refusals(401, 403, 404, 422, 503) },
      },
    },
    async (request, reply) => {
      const { run } = request.query;
      const asker = askerOf(request);
      // An unknown run is refused before the stream begins.
      if (run !== undefined) await viewOf(options, asker, run);
      await stream(options, request, reply, run === undefined ? ofAll(options) : ofRun(options, asker, run, lastOf(request)));
    },
  );
}

/** A page that comes back with the newest event's id has this view already. */
function ofRun(options: Parts, asker: Asker, run: RunId, last: string | undefined): Source {
  let sent: { readonly id: string | undefined; readonly data?: string } = { id: last };
  return {
    run,
    lookMs: LOOK_MS,
    next: async () => {
      const view = await viewOf(options, asker, run);
      const news = { id: `${view.generation}.${view.sequence}`, data: JSON.stringify(view) };
      const isFresh = sent.data === undefined ? news.id !== sent.id : news.data !== sent.data;
      sent = news;
      return { news: isFresh ? [{ ...news, event: "run" }] : [] };
    },
  };
}

/** While the broker is not heard, each look may be a change. */
function ofAll({ live }: Parts): Source {
  let changes = 0;
  return {
    run: undefined,
    lookMs: LOOK_MS,
    next: async (why) => {
      if (why === "first" || (why === "passed" && live.isHeard())) return { news: [] };
      changes++;
      return { news: [{ event: "changed", data: String(changes) }] };
    },
  };
}
