/**
 * Tells open pages of changes, as server-sent events.
 *
 * The failure this prevents: a page that missed a message and shows an old state for ever. A run's stream sends the whole view as
 * the ledger has it, and looks again by itself, so that the next look heals every gap.
 */
import type { ServerResponse } from "node:http";
import { RunId } from "@longshore/contract/ids.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import { onAbort } from "@longshore/runtime/clock.ts";
import { wakeUp } from "@longshore/runtime/loop.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Parts } from "../parts.ts";
import { askerOf } from "../sign-in/person.ts";
import { signedIn } from "../sign-in/session.ts";
import { viewOf } from "../views/read.ts";

const PING_MS = 15_000;
/** A change that no message told of is seen after this time. */
const LOOK_MS = 5_000;
/** While the broker is away, open runs are looked at this often. */
const AWAY_LOOK_MS = 2_000;
/** A person who signed out in another tab hears nothing more after this time. */
const RIGHTS_MS = 60_000;
/** Changes that come together are one. */
const TOGETHER_MS = 100;
/** A reader that stopped reading would fill our memory. Its browser connects again, and gets what is true then. */
const UNREAD_BYTES_MAX = 1024 * 1024;

export function events(plain: FastifyInstance, options: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/events",
    { config: { for: "see" }, schema: { querystring: z.object({ run: RunId.optional() }) } },
    async (request, reply) => {
      const { run } = request.query;
      // An unknown run is refused before the stream begins.
      if (run !== undefined) await viewOf(options, askerOf(request), run);
      const last = request.headers["last-event-id"];
      reply.hijack();
      await stream(
        options,
        { run, asker: askerOf(request) },
        {
          raw: reply.raw,
          headers: reply.getHeaders() as Record<string, string>,
          last: typeof last === "string" ? last : undefined,
          isStillSignedIn: async () => (await signedIn(request, options)) !== undefined,
        },
      );
    },
  );
}

interface News {
  /** Absent for all runs: no stream of those is replayed. */
  readonly id: string | undefined;
  readonly event: "run" | "changed";
  readonly data: string;
}

interface Reader {
  readonly raw: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  /** The id of the last event that it has. */
  readonly last: string | undefined;
  readonly isStillSignedIn: () => Promise<boolean>;
}

interface Wanted {
  /** Absent: all runs. */
  readonly run: RunId | undefined;
  readonly asker: Asker;
}

async function stream(options: Parts, { run, asker }: Wanted, reader: Reader): Promise<void> {
  const { live, clock, log } = options;
  const { raw, headers, last, isStillSignedIn } = reader;
  raw.writeHead(200, { ...headers, "content-type": "text/event-stream", "cache-control": "no-store" });
  const gone = new AbortController();
  raw.once("close", () => gone.abort());
  const stopListening = onAbort(options.signal, () => raw.end());
  const changed = wakeUp(clock);
  let changes = 0;
  const off = live.on(run, () => {
    changes++;
    changed.wake();
  });
  raw.write(`retry: ${Math.round(1_000 + 2_000 * clock.random())}\n\n`);
  let sent: Sent = run === undefined ? { id: undefined, data: "0" } : { id: last };
  let askedAtMs = clock.now();
  try {
    for (let saidAtMs = clock.now(); !gone.signal.aborted; ) {
      const news = await newsOf(options, { run, asker }, changes);
      if (isFresh(news, sent)) {
        raw.write(`${news.id === undefined ? "" : `id: ${news.id}\n`}event: ${news.event}\ndata: ${news.data}\n\n`);
        saidAtMs = clock.now();
      } else if (clock.now() - saidAtMs >= PING_MS) {
        raw.write(": still here\n\n");
        saidAtMs = clock.now();
      }
      sent = news;
      if (clock.now() - askedAtMs >= RIGHTS_MS) {
        if (!(await isStillSignedIn())) return void raw.end();
        askedAtMs = clock.now();
      }
      if (raw.writableLength > UNREAD_BYTES_MAX) return void raw.destroy();
      const how = await changed.wait(live.isHeard() ? LOOK_MS : AWAY_LOOK_MS, gone.signal);
      if (how === "woken") await clock.sleep(TOGETHER_MS, gone.signal);
      if (how === "passed" && run === undefined && !live.isHeard()) changes++;
    }
  } catch (error) {
    log.debug("a stream ended", { error });
    raw.end();
  } finally {
    off();
    stopListening();
  }
}

interface Sent {
  readonly id: string | undefined;
  readonly data?: string;
}

/** A page that comes back with the newest event's id has this view already. */
const isFresh = ({ id, data }: News, sent: Sent): boolean => (sent.data === undefined ? id !== sent.id : data !== sent.data);

/** Of all runs, only that something changed: the page then asks for what it shows. */
async function newsOf(options: Parts, { run, asker }: Wanted, changes: number): Promise<News> {
  if (run === undefined) return { id: undefined, event: "changed", data: String(changes) };
  const view = await viewOf(options, asker, run);
  return { id: `${view.generation}.${view.sequence}`, event: "run", data: JSON.stringify(view) };
}
