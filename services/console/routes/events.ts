/**
 * Open pages are told of changes as server-sent events. A run's stream sends the whole view: it is small, and a page that missed
 * some events shows the truth with the next.
 */
import { RunId } from "@longshore/contract/ids.ts";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { ServeOptions } from "../serve.ts";
import { isOver } from "../views/state.ts";
import { viewOf } from "./runs.ts";

const PING_MS = 15_000;
/** A change that no message told of is seen after this time. */
const LOOK_MS = 5_000;
/** Changes that come together are one. */
const TOGETHER_MS = 100;
const UNREAD_BYTES_MAX = 1024 * 1024;

export function events(plain: FastifyInstance, options: ServeOptions): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.get(
    "/v1/events",
    { config: { for: "signed-in" }, schema: { querystring: z.object({ run: RunId.optional() }) } },
    async ({ query: { run } }, reply) => {
      reply.hijack();
      await stream(options, run, reply);
    },
  );
}

async function stream(options: ServeOptions, run: RunId | undefined, reply: FastifyReply): Promise<void> {
  const { live, clock, log } = options;
  const { raw } = reply;
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    "content-type": "text/event-stream",
    "cache-control": "no-store",
  });
  const gone = new AbortController();
  raw.once("close", () => gone.abort());
  options.signal.addEventListener("abort", () => raw.end(), { once: true });
  let due = true;
  let wake = (): void => undefined;
  const off = live.on(run, () => {
    due = true;
    wake();
  });
  let last = "";
  try {
    for (let quietMs = 0; !gone.signal.aborted; ) {
      if (due) {
        due = false;
        const [text, over] = await news(options, run);
        if (text !== last) raw.write(`event: ${run === undefined ? "changed" : "run"}\ndata: ${text}\n\n`);
        last = text;
        if (over) quietMs = 0;
      } else if (quietMs >= PING_MS) {
        raw.write(": still here\n\n");
        quietMs = 0;
      }
      // A reader that stopped reading would fill our memory: it comes again, and gets what is true then.
      if (raw.writableLength > UNREAD_BYTES_MAX) return void raw.destroy();
      const woken = await new Promise<boolean>((resolve) => {
        const off = clock.alarm(due ? TOGETHER_MS : LOOK_MS, () => resolve(false));
        wake = () => void (off(), resolve(true));
        gone.signal.addEventListener("abort", () => void (off(), resolve(true)), { once: true });
      });
      quietMs += woken ? 0 : LOOK_MS;
      if (woken) await clock.sleep(TOGETHER_MS, gone.signal).catch(() => undefined);
      due = true;
    }
  } catch (error) {
    log.debug("a stream ended", { error });
    raw.end();
  } finally {
    off();
  }
}

/** What the stream says now. For all runs only that something changed: the page then asks for what it shows. */
async function news(options: ServeOptions, run: RunId | undefined): Promise<readonly [string, boolean]> {
  if (run === undefined) return [String(options.clock.now()), false];
  const view = await viewOf(options, run);
  return [JSON.stringify(view), isOver(view.state)];
}
