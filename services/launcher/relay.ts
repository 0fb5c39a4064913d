/**
 * The outbox: events to the broker, one unconfirmed message per run, many runs at once. Nothing else publishes events.
 *
 * The bugs this prevents: a 3 that the broker refused behind a 4 that it took, which is lost to whoever drops what is out of
 * order; and an event marked as sent that nobody received (confirmed, but returned).
 */
import { eventId, routingKey, writeEvent, writeNotice } from "@longshore/contract/envelope.ts";
import { Failure } from "@longshore/contract/problem.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import type { Notice, OutboxEvent } from "@longshore/ledger/port.ts";
import { batch } from "@longshore/runtime/loop.ts";
import type { Parts } from "./parts.ts";
import { drain, steadily } from "./steadily.ts";

const MOST = 1_000;
const NOTICES = 200;

export function relay(parts: Parts) {
  return async (signal: AbortSignal): Promise<void> => {
    await Promise.all([story(parts, signal), notices(parts, signal)]);
  };
}

function story(parts: Parts, signal: AbortSignal): Promise<void> {
  const { ledger, clock, log, timing, owner } = parts;
  const inFlight = new Set<RunId>();
  let partitions: readonly number[] = [];
  let heldUntilMs = 0;
  const sent = batch<OutboxEvent, void>({ most: MOST }, async (events) => {
    await ledger.sent(events);
    return events.map(() => undefined);
  });

  async function tell(event: OutboxEvent): Promise<void> {
    try {
      await publishEvent(parts, event, signal);
      await parts.fail("afterPublish");
      await sent(event);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Failure && error.disposition === "retry")) throw error;
      // This run waits by itself: others must not, and its next event may not overtake this one.
      log.warn("an event could not be published yet", { run: event.run, sequence: event.sequence, error: error.message });
      await clock.sleep(1_000 + 1_000 * clock.random(), signal);
    } finally {
      inFlight.delete(event.run);
      parts.bells.outbox.ring();
    }
  }

  return steadily(parts, { what: "relay", ms: timing.pollMs, bell: parts.bells.outbox, signal }, async (signal) => {
    if (clock.now() >= heldUntilMs - timing.partitionLeaseMs / 2) {
      const began = clock.now();
      partitions = await ledger.holdPartitions(owner, timing.partitionLeaseMs);
      heldUntilMs = began + timing.partitionLeaseMs;
    }
    await drain(signal, async () => {
      const most = MOST - inFlight.size;
      // Past the lease another relay may be telling these stories: two would tell them out of order.
      if (most <= 0 || partitions.length === 0 || clock.now() >= heldUntilMs) return false;
      const events = await ledger.unsent({ partitions, busy: [...inFlight], most });
      for (const event of events) {
        if (inFlight.has(event.run)) continue;
        inFlight.add(event.run);
        void tell(event);
      }
      return events.length === most;
    });
  });
}

async function publishEvent({ broker, installation }: Parts, event: OutboxEvent, signal: AbortSignal): Promise<void> {
  const { run, tenant, sequence, generation, group, type, data, atMs } = event;
  const body = writeEvent({
    installation,
    tenant,
    run,
    sequence,
    generation,
    group,
    type,
    data,
    time: new Date(atMs).toISOString(),
  });
  const published = await broker.publish(
    "events",
    { id: eventId(installation, run, sequence), key: routingKey(tenant, group, type), body },
    signal,
  );
  if (published === "unrouted")
    throw new Failure("retry", "Unrouted", `the event ${type} of ${run} came back: the exchange for events has lost its history`);
}

/** Refusals: they belong to no run's story, so their order does not matter. */
function notices(parts: Parts, signal: AbortSignal): Promise<void> {
  return steadily(parts, { what: "notices", ms: parts.timing.pollMs, bell: parts.bells.notices, signal }, (signal) =>
    drain(signal, async () => {
      const waiting = await parts.ledger.unsentNotices(NOTICES);
      await Promise.all(waiting.map((notice) => publishNotice(parts, notice, signal)));
      if (waiting.length > 0) await parts.ledger.sentNotices(waiting.map(({ id }) => id));
      return waiting.length === NOTICES;
    }),
  );
}

async function publishNotice(
  { broker, installation }: Parts,
  { id, tenant, type, data, replyTo, atMs }: Notice,
  signal: AbortSignal,
): Promise<void> {
  const body = writeNotice({ installation, tenant, id, type, data, time: new Date(atMs).toISOString() });
  const outgoing = { id, key: routingKey(tenant, undefined, type), body };
  await broker.publish("events", outgoing, signal);
  // A reply queue that is gone by now is its owner's affair; the refusal is in the events as well.
  if (replyTo !== undefined) await broker.reply(replyTo, outgoing, signal);
}
