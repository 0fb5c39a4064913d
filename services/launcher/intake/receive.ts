/**
 * Takes messages from a queue, has each one decided, and settles it. Nothing else in Longshore settles a message.
 *
 * The bugs this prevents: an ack before the commit, after which a crash loses the run; a requeue while the ledger is down,
 * which brings the same messages round and round; and one message that kills us again and again, until the broker's own limits
 * throw away the innocent messages beside it.
 */
import { createHash } from "node:crypto";
import type { Delivery, Queue } from "@longshore/broker/port.ts";
import { isTransient, type Problem } from "@longshore/contract/problems/problem.ts";
import { lanes } from "@longshore/runtime/loop.ts";
import type { Parts } from "../parts.ts";

/** What could be read of who sent a message. */
interface Named {
  readonly id: string | undefined;
  readonly source: string | undefined;
  readonly run: string | undefined;
}

export type Outcome =
  /** Committed. Duplicates and refusals are committed too. */
  | { readonly kind: "recorded" }
  /** The message cannot be read: it goes to quarantine. */
  | { readonly kind: "unreadable"; readonly problems: readonly Problem[]; readonly named?: Named }
  /** We are stopping, or the ledger was away too long: the message goes back to its queue. */
  | { readonly kind: "interrupted" };

/** RabbitMQ closes a channel that holds a delivery for half an hour; the message is given back long before that. */
const HELD_MOST_MS = 5 * 60_000;
/**
 * A message that came back this often may be the one that kills us: from then on its deliveries are counted, and it is handled
 * alone.
 */
const SUSPECT_FROM = 3;
const SUSPECT_MOST = 5;

/** In the words of a refusal's line of the log. */
const senderIn = ({ named }: { readonly named?: Named }): object =>
  named === undefined ? {} : { run: named.run, source: named.source, command: named.id };

export type Receiving = Pick<Parts, "broker" | "ledger" | "clock" | "log" | "pause" | "lanes" | "fail">;

export async function receive(
  parts: Receiving,
  queue: Queue,
  decide: (delivery: Delivery) => Promise<Outcome>,
  signal: AbortSignal,
): Promise<void> {
  const { broker, ledger, clock, log, pause } = parts;
  let alone: Promise<unknown> = Promise.resolve();
  const source = (stop: AbortSignal): AsyncIterable<Delivery> =>
    broker.receive(queue, { inFlightMax: parts.lanes, signal: stop });
  await lanes(parts.lanes, source, handle, signal);

  async function handle(delivery: Delivery, stop: AbortSignal): Promise<void> {
    const outcome =
      delivery.redeliveries >= SUSPECT_FROM ? await suspected(delivery, stop) : await outlast(() => decide(delivery), stop);
    await parts.fail("afterCommit");
    await settle(delivery, outcome, stop);
  }

  /** Handles suspects one at a time, and counts each before it is parsed. */
  function suspected(delivery: Delivery, stop: AbortSignal): Promise<Outcome> {
    const turn = alone.then(async (): Promise<Outcome> => {
      const digest = createHash("sha256").update(delivery.body).digest("hex");
      let count = 0;
      const counted = await outlast(async () => {
        count = await ledger.suspect(digest);
        return { kind: "recorded" };
      }, stop);
      if (counted.kind === "interrupted") return counted;
      if (count < SUSPECT_MOST) return await outlast(() => decide(delivery), stop);
      const message = `it was delivered ${delivery.redeliveries + 1} times and never settled: working on it may be what ends the launcher`;
      return { kind: "unreadable", problems: [{ path: "", code: "Poison", message }] };
    });
    alone = turn.catch(() => undefined);
    return turn;
  }

  /** Keeps a message through an outage of the ledger: giving it back would only bring it round again. */
  async function outlast(decideIt: () => Promise<Outcome>, stop: AbortSignal): Promise<Outcome> {
    const since = clock.now();
    for (let failures = 0; !stop.aborted && clock.now() - since < HELD_MOST_MS; await pause(++failures, stop)) {
      try {
        return await decideIt();
      } catch (error) {
        if (!isTransient(error)) throw error;
        log.warn("a message waits, since it could not be written down", { queue, code: error.code, error: error.message });
      }
    }
    return { kind: "interrupted" };
  }

  async function settle(delivery: Delivery, outcome: Outcome, stop: AbortSignal): Promise<void> {
    switch (outcome.kind) {
      case "recorded":
        return await delivery.ack();
      case "unreadable":
        log.warn("a message was put into quarantine", { queue, ...senderIn(outcome), problems: outcome.problems });
        return await delivery.quarantine(outcome.problems);
      case "interrupted":
        await delivery.requeue();
        // Pauses until the ledger may have come back: without a pause, the same message would come and go without end.
        if (!stop.aborted) await clock.sleep(HELD_MOST_MS / 10, stop);
        return;
    }
  }
}
