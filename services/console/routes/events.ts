/**
 * Events for programs, as they were published: the story of a run, and all that the asker reaches, as a stream or by long polls.
 *
 * The failure this prevents: a program that was away and missed an event. Each event has a place, and whoever comes back with the
 * last place they have gets what stands behind it, from the ledger.
 */
import { RunId } from "@longshore/contract/ids.ts";
import { writeEvent } from "@longshore/contract/messages/envelope.ts";
import type { FeedPlace } from "@longshore/ledger/pages.ts";
import type { OutboxEvent } from "@longshore/ledger/port.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { EVENT_STREAM, News, refusals, Request, Story } from "../answers.ts";
import type { Parts } from "../parts.ts";
import { noSuchRun, Refused } from "../problem.ts";
import { askerOf, mayAbout, reachWith } from "../sign-in/person.ts";
import { lastOf, LOOK_MS, type Source, stream, waitFor } from "../stream.ts";
import { withheldFrom } from "../views/request.ts";

const EVENTS_MOST = 100;
/** The feed ends before the oldest transaction that is open, so that an event may be told before it stands there. */
const FEED_LOOK_MS = 1_000;
const WAIT_MOST_S = 60;

const Sequence = z.coerce.number().pipe(z.int().min(0).max(2 ** 31 - 1)); // biome-ignore format: one rule
const Place = z
  .string()
  .regex(/^\d{1,9}\.\d{1,19}\.\d{1,18}\.\d{1,9}$/, "A place is the id of an event, or `after` of an answer.");

const Wanted = z.object({
  run: RunId.optional().describe("Only this run. Without it, all runs that the asker may see."),
  after: z
    .string()
    .max(80)
    .optional()
    .describe(
      "The place behind which it begins: of a run, an event's number; of all, `after` of an answer. Of all, without it, now.",
    ),
  wait: z
    .string()
    .regex(/^\d{1,2}s$/, `Write a time such as "30s", of at most ${WAIT_MOST_S} seconds.`)
    .transform((it) => Math.min(Number(it.slice(0, -1)), WAIT_MOST_S) * 1_000)
    .optional()
    .describe("Answers as JSON, as soon as there is an event, and after this time without one. Without it, a stream."),
});

export function events(plain: FastifyInstance, options: Parts): void {
  const { pages } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const isReached = async (request: FastifyRequest, run: RunId): Promise<void> => {
    if (!(await pages.isReached(run, reachWith(request, options, "see")))) throw noSuchRun(run);
  };

  server.get(
    "/v1/story",
    {
      config: { for: "see" },
      schema: {
        summary: "Read the events of a run, as they were published.",
        querystring: z.object({ run: RunId, after: Sequence.default(0).describe("An event's number: only events behind it.") }),
        response: { 200: Story, ...refusals(401, 403, 404, 422, 503) },
      },
    },
    async (request) => {
      const { run, after } = request.query;
      await isReached(request, run);
      const told = await pages.events.ofRun(run, { after, ...readingOf(options, request) });
      return {
        events: told.map(messageOf(options)),
        after: told.length === EVENTS_MOST ? String(told.at(-1)?.sequence) : undefined,
      };
    },
  );

  server.get(
    "/v1/request",
    {
      config: { for: "see" },
      schema: {
        summary: "Read the request that a run was made of.",
        querystring: z.object({ run: RunId }),
        response: { 200: Request, ...refusals(401, 403, 404, 422, 503) },
      },
    },
    async (request) => {
      const { run } = request.query;
      await isReached(request, run);
      const found = await pages.find(run);
      if (found === undefined) throw noSuchRun(run);
      const { tenant, plan } = found.record.run;
      const mayOperate = mayAbout(askerOf(request), options, "operate", { tenant, definition: plan.definition?.name });
      return mayOperate ? { request: { ...found.request }, withheld: [] } : withheldFrom(found.request);
    },
  );

  server.get(
    "/v1/events",
    {
      config: { for: "see", isStream: true },
      schema: {
        summary: "Hear events as they are recorded, of one run or of all that the asker may see.",
        description:
          "A stream of server-sent events whose ids are places, to be resumed by `Last-Event-ID` or `after`; with `wait`, a long poll. The events of one run come in order. Of all runs, they come in the order in which they were committed: sort those of a run by their `sequence`. A place that is none of this server's is answered with `resync`.",
        querystring: Wanted,
        response: {
          200: { description: "The events.", content: { ...EVENT_STREAM.content, "application/json": { schema: News } } },
          ...refusals(401, 403, 404, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const { run, wait: waitMs } = request.query;
      const after = request.query.after ?? lastOf(request);
      if (run !== undefined) await isReached(request, run);
      const reader = run === undefined ? await ofAll(options, request, after) : ofRun(options, request, run, after);
      if (waitMs === undefined) return await stream(options, request, reply, sourceOf(reader, after === undefined));
      const found = await waitFor(options, reply, { ...reader, waitMs }, async () => {
        const read = await reader.read();
        return read.events.length > 0 || read.resync ? read : undefined;
      });
      const { events: told, resync } = found ?? { events: [], resync: false };
      const answer = { events: told.map(({ event }) => event), after: reader.place(), ...(resync && { resync }) };
      return await reply.type("application/json").send(answer);
    },
  );
}

interface Read {
  readonly events: readonly { readonly event: z.input<typeof News>["events"][number]; readonly place: string }[];
  readonly more: boolean;
  readonly resync: boolean;
}

/** Reads on from the place where it stands. */
interface Reader {
  readonly run: RunId | undefined;
  readonly lookMs: number;
  readonly place: () => string;
  readonly read: () => Promise<Read>;
}

const readingOf = (options: Parts, request: FastifyRequest) => ({
  most: EVENTS_MOST,
  see: reachWith(request, options, "see"),
  log: reachWith(request, options, "log"),
});

const decoder = new TextDecoder();
const messageOf =
  ({ installation }: Pick<Parts, "installation">) =>
  ({ atMs, ...event }: OutboxEvent): z.input<typeof News>["events"][number] =>
    JSON.parse(decoder.decode(writeEvent({ ...event, installation, time: new Date(atMs).toISOString() })));

function ofRun(options: Parts, request: FastifyRequest, run: RunId, from: string | undefined): Reader {
  let after = judged(Sequence, from ?? "0");
  return {
    run,
    lookMs: LOOK_MS,
    place: () => String(after),
    read: async () => {
      const told = await options.pages.events.ofRun(run, { after, ...readingOf(options, request) });
      after = told.at(-1)?.sequence ?? after;
      const message = messageOf(options);
      return {
        events: told.map((it) => ({ event: message(it), place: String(it.sequence) })),
        more: told.length === EVENTS_MOST,
        resync: false,
      };
    },
  };
}

async function ofAll(options: Parts, request: FastifyRequest, from: string | undefined): Promise<Reader> {
  const { pages } = options;
  let after = from === undefined ? await pages.events.end() : placeOf(judged(Place, from));
  return {
    run: undefined,
    lookMs: FEED_LOOK_MS,
    place: () => textOf(after),
    read: async () => {
      const before = after;
      const found = await pages.events.feed(before, readingOf(options, request));
      after = found.place;
      if (found.kind === "resync") return { events: [], more: false, resync: true };
      const message = messageOf(options);
      const told = found.events.map(({ event, place }) => ({ event: message(event), place: textOf(place) }));
      // Whoever reaches few of many runs reads on at once, and not a page with each look.
      return { events: told, more: textOf(before) !== textOf(after), resync: false };
    },
  };
}

/** The place goes with each event, and alone where nothing within reach was found: a reader that comes back goes on from there. */
function sourceOf({ run, lookMs, place, read }: Reader, tellPlace: boolean): Source {
  let told = tellPlace ? undefined : place();
  return {
    run,
    lookMs,
    next: async () => {
      const { events: found, more, resync } = await read();
      const news = [
        ...(resync ? [{ id: place(), event: "resync", data: "{}" }] : []),
        ...found.map(({ event, place: at }) => ({ id: at, data: JSON.stringify(event) })),
        ...(found.at(-1)?.place !== place() && told !== place() && !resync ? [{ id: place() }] : []),
      ];
      told = place();
      return { news, more };
    },
  };
}

const textOf = ({ epoch, xid, run, sequence }: FeedPlace): string => [epoch, xid, run, sequence].join(".");

function placeOf(text: string): FeedPlace {
  const [epoch = "", xid = "", run = "", sequence = ""] = text.split(".");
  return { epoch: Number(epoch), xid, run, sequence: Number(sequence) };
}

function judged<T>(rule: z.ZodType<T>, given: string): T {
  const { data, error } = rule.safeParse(given);
  if (error === undefined) return data;
  const message = error.issues.map((it) => it.message).join(" ");
  throw new Refused(422, "Not understood", `after: ${message}`, [{ path: "/after", message }]);
}
