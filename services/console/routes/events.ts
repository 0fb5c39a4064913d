/**
 * Tells open pages of changes, as server-sent events.
 *
 * The failure this prevents: a page that missed a message and shows an old state for ever. A run's stream sends the whole view as
 * the ledger has it, and looks again by itself, so that the next look heals every gap.
 */
import { RunId } from "@longshore/contract/ids.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import { wakeUp } from "@longshore/runtime/loop.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Parts } from "../parts.ts";
import { askerOf } from "../sign-in/person.ts";
import { viewOf } from "../views/read.ts";
import { type Reader, sendEvents, type SentEvent } from "./sent-events.ts";

/** A change that no message told of is seen after this time. */
export const LOOK_MS = 5_000;
/** While the broker is away, open runs are looked at this often. */
export const AWAY_LOOK_MS = 2_000;
/** Changes that come together are one. */
const TOGETHER_MS = 100;

export function events(plain: FastifyInstance, options: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/events",
    { config: { for: "see", isStream: true }, schema: { querystring: z.object({ run: RunId.optional() }) } },
    async (request, reply) => {
      const { run } = request.query;
      const asker = askerOf(request);
      // An unknown run is refused before the stream begins.
      if (run !== undefined) await viewOf(options, asker, run);
      const last = request.headers["last-event-id"];
      // Each view asks again whether the person may see the run.
      await sendEvents(options, { request, reply, isOpen: async () => true }, (reader) =>
        tell(options, { run, asker, last: typeof last === "string" ? last : undefined }, reader),
      );
    },
  );
}

interface Wanted {
  /** Absent: all runs. */
  readonly run: RunId | undefined;
  readonly asker: Asker;
}

async function tell(
  options: Parts,
  { run, asker, last }: Wanted & { /** The id of the last event that it has. */ readonly last: string | undefined },
  reader: Reader,
): Promise<void> {
  const { live, clock } = options;
  const changed = wakeUp(clock);
  let changes = 0;
  const off = live.on(run, () => {
    changes++;
    changed.wake();
  });
  let sent: Sent = run === undefined ? { id: undefined, data: "0" } : { id: last };
  try {
    while (await reader.goesOn()) {
      const news = await newsOf(options, { run, asker }, changes);
      if (isFresh(news, sent)) reader.send(news);
      sent = news;
      const how = await changed.wait(live.isHeard() ? LOOK_MS : AWAY_LOOK_MS, reader.gone);
      if (how === "woken") await clock.sleep(TOGETHER_MS, reader.gone);
      if (how === "passed" && run === undefined && !live.isHeard()) changes++;
    }
  } finally {
    off();
  }
}

interface Sent {
  readonly id: string | undefined;
  readonly data?: string;
}

/** A page that comes back with the newest event's id has this view already. */
const isFresh = ({ id, data }: SentEvent, sent: Sent): boolean => (sent.data === undefined ? id !== sent.id : data !== sent.data);

/**
 * Of all runs, only that something changed: the page then asks for what it shows. Those have no id, since nothing of them is
 * replayed.
 */
async function newsOf(options: Parts, { run, asker }: Wanted, changes: number): Promise<SentEvent & Sent> {
  if (run === undefined) return { id: undefined, event: "changed", data: String(changes) };
  const view = await viewOf(options, asker, run);
  return { id: `${view.generation}.${view.sequence}`, event: "run", data: JSON.stringify(view) };
}
