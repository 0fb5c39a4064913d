/**
 * What is told by a stream, or answers a question that waits: both look again whenever the broker says that something changed, and
 * by themselves.
 *
 * The failure this prevents: a page that missed a message and shows an old state for ever. The next look heals every gap.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import { onAbort } from "@longshore/runtime/clock.ts";
import { wakeUp } from "@longshore/runtime/loop.ts";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Parts } from "./parts.ts";
import { sendEvents, type SentEvent } from "./routes/sent-events.ts";

/** A change that no message told of is seen after this time. */
export const LOOK_MS = 5_000;
/** While the broker is away, open streams look this often. */
export const AWAY_LOOK_MS = 2_000;
/** Changes that come together are one. */
const TOGETHER_MS = 100;

/** Why a source is asked: at first, since something changed, or since time passed. */
export type Why = "first" | "changed" | "passed";

export interface Source {
  /** The run whose changes are listened for; absent: of all runs. */
  readonly run: RunId | undefined;
  readonly lookMs: number;
  /** Returns what is new since it was asked last. `more`: it has more to tell at once. */
  readonly next: (why: Why) => Promise<{ readonly news: readonly SentEvent[]; readonly more?: boolean }>;
}

/** The id of the last event that the reader has. */
export const lastOf = ({ headers }: FastifyRequest): string | undefined => {
  const last = headers["last-event-id"];
  return typeof last === "string" && last !== "" ? last : undefined;
};

/** Each look asks again whether the person may see what it tells. */
export async function stream(parts: Parts, request: FastifyRequest, reply: FastifyReply, source: Source): Promise<void> {
  await sendEvents(parts, { request, reply, isOpen: async () => true }, async (reader) => {
    const changes = listen(parts, source.run);
    try {
      for (let why: Why = "first"; await reader.goesOn(); ) {
        const { news, more = false } = await source.next(why);
        for (const it of news) reader.send(it);
        if (!more) why = await changes.next(source.lookMs, reader.gone);
      }
    } finally {
      changes.off();
    }
  });
}

/** Waits until `look` returns something, for so long at most. Returns `undefined` if the time passed. */
export async function waitFor<T>(
  parts: Parts,
  reply: FastifyReply,
  { run, lookMs, waitMs }: { readonly run: RunId | undefined; readonly lookMs: number; readonly waitMs: number },
  look: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const { clock, signal } = parts;
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  const stopListening = onAbort(signal, () => gone.abort());
  const changes = listen(parts, run);
  const untilMs = clock.now() + waitMs;
  try {
    for (;;) {
      const found = await look();
      const leftMs = untilMs - clock.now();
      if (found !== undefined || leftMs <= 0 || gone.signal.aborted) return found;
      await changes.next(Math.min(lookMs, leftMs), gone.signal);
    }
  } finally {
    changes.off();
    stopListening();
  }
}

function listen({ live, clock }: Parts, run: RunId | undefined) {
  const changed = wakeUp(clock);
  const off = live.on(run, changed.wake);
  return {
    off,
    next: async (lookMs: number, signal: AbortSignal): Promise<Why> => {
      const how = await changed.wait(live.isHeard() ? lookMs : Math.min(lookMs, AWAY_LOOK_MS), signal);
      if (how !== "woken") return "passed";
      await clock.sleep(TOGETHER_MS, signal);
      return "changed";
    },
  };
}
