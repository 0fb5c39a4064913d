/**
 * The outbox: publishes events, one unconfirmed message per run, many runs at once. Nothing else publishes events.
 *
 * The bugs this prevents: an event 3 that the broker refused at first and that is published after event 4, so that a consumer
 * that drops events out of order loses it; and an event marked as sent that no queue received (confirmed, but returned).
 */
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { eventId, routingKey, writeEvent, writeNotice } from "@longshore/contract/messages/envelope.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { WAITING, WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { Notice, OutboxEvent } from "@longshore/ledger/port.ts";
import type { Parts } from "../parts.ts";
import { drain, retryLoop } from "./retry-loop.ts";

const MOST = 1_000;
const NOTICES = 200;

export function relay(parts: Parts) {
  return async (signal: AbortSignal): Promise<void> => {
    await Promise.all([story(parts, signal), notices(parts, signal)]);
  };
}

/**
 * Works in turns: publishes all unsent events at once; when the broker has answered, one statement records the answers and
 * returns the events that came meanwhile. If a run's event is in doubt, that run pauses, and no other run waits for it.
 */
async function story(parts: Parts, signal: AbortSignal): Promise<void> {
  const { ledger, clock, log, timing, owner } = parts;
  const inFlight = new Set<RunId>();
  let confirmed: OutboxEvent[] = [];
  let partitions: readonly number[] = [];
  let heldUntilMs = 0;
  const bugs: unknown[] = [];
  /**
   * Returns the time left of the lease. If more than the whole lease seems left, returns 0: the clock was set back, and the
   * time really left is unknown.
   */
  const restMs = (): number => (heldUntilMs - clock.now() > timing.partitionLeaseMs ? 0 : heldUntilMs - clock.now());

  /** Publishes one event. Resolves when the event is confirmed or in doubt, and never rejects. */
  async function tell(event: OutboxEvent): Promise<void> {
    inFlight.add(event.run);
    try {
      await publishEvent(parts, event, signal);
      await parts.fail("afterPublish");
      confirmed.push(event);
    } catch (error) {
      doubt(event, error);
    }
  }

  /** Pauses this run alone: its next event must not overtake this one, and other runs need not wait. */
  function doubt(event: OutboxEvent, error: unknown): void {
    if (signal.aborted) return;
    if (!(error instanceof Failure) || error.disposition === "halt") {
      bugs.push(error);
      return;
    }
    log.warn("an event could not be published yet", { run: event.run, sequence: event.sequence, error: error.message });
    void clock.sleep(1_000 + 1_000 * clock.random(), signal).then(() => {
      inFlight.delete(event.run);
      parts.wakeUps.outbox.wake();
    });
  }

  /** Records the confirmed events and asks for the next ones, in one statement. */
  async function next(most: number): Promise<readonly OutboxEvent[]> {
    const sent = confirmed;
    confirmed = [];
    const done = new Set(sent.map(({ run }) => run));
    const busy = [...inFlight].filter((run) => !done.has(run));
    try {
      if (most === 0 && sent.length === 0) return [];
      const events = most > 0 ? await ledger.unsent({ partitions, busy, most, sent }) : await ledger.sent(sent);
      for (const event of sent) {
        inFlight.delete(event.run);
        note(parts, event);
      }
      return events ?? [];
    } catch (error) {
      for (const event of sent) doubt(event, error);
      if (error instanceof Failure && sent.length > 0) return [];
      throw error;
    }
  }

  async function hold(): Promise<void> {
    if (restMs() > timing.partitionLeaseMs / 2) return;
    const began = clock.now();
    partitions = await ledger.leasePartitions(owner, timing.partitionLeaseMs);
    heldUntilMs = began + timing.partitionLeaseMs;
  }

  /** Resolves to true if there may be more. */
  async function turn(): Promise<boolean> {
    await hold();
    const most = MOST - inFlight.size + confirmed.length;
    // Past the lease another relay may be publishing these stories, and two relays would publish them out of order.
    const may = partitions.length > 0 && restMs() > 0;
    const told: Promise<void>[] = [];
    for (const event of await next(may ? most : 0)) {
      if (inFlight.has(event.run)) continue;
      told.push(tell(event));
    }
    await atMost(clock, timing.pollMs, told, parts.wakeUps.outbox.wake);
    if (bugs.length > 0) throw bugs[0];
    return told.length > 0;
  }

  await retryLoop(parts, { what: "relay", ms: timing.pollMs, wakeUp: parts.wakeUps.outbox, signal }, (signal) =>
    drain(signal, turn),
  );
  // Records the events that were confirmed while we were asked to stop. If none was, the ledger is not asked, since it may be
  // away.
  if (confirmed.length > 0) await next(0);
}

/** Waits until the broker has answered for all events, but at most `ms`. Answers that come later wake the loop. */
async function atMost(clock: Parts["clock"], ms: number, told: readonly Promise<void>[], late: () => void): Promise<void> {
  if (told.length === 0) return;
  const { promise: up, resolve } = Promise.withResolvers<"up">();
  const callOff = clock.alarm(ms, () => resolve("up"));
  const all = Promise.all(told);
  const first = await Promise.race([all, up]);
  callOff();
  if (first === "up") void all.then(late);
}

async function publishEvent({ broker, installation }: Parts, event: OutboxEvent, signal: AbortSignal): Promise<void> {
  const { run, tenant, sequence, generation, group, type, traceparent, correlationId, data, atMs } = event;
  const body = writeEvent({
    installation,
    tenant,
    run,
    sequence,
    generation,
    group,
    type,
    traceparent,
    correlationId,
    data,
    time: new Date(atMs).toISOString(),
  });
  const published = await broker.publish(
    "events",
    { id: eventId(installation, run, sequence), key: routingKey(tenant, group, type), body, correlationId },
    signal,
  );
  if (published === "unrouted") throw cameBack(`${type} of ${run}`);
}

const cameBack = (what: string): Failure =>
  new Failure("retry", "Unrouted", `the event ${what} came back: the exchange for events has lost its history`);

const TROUBLES: ReadonlySet<string> = new Set(["run.failed", "run.lost", "run.stalled", "run.attempt.failed"]);
const rowOf = (reason: string) => {
  const word = WaitWord.safeParse(reason).data;
  return word === undefined ? undefined : WAITING[word];
};
/** True if the run goes no further until a person acts. A group that must be mended has lines of its own in the log. */
const needsAPerson = (reason: string): boolean => rowOf(reason)?.mend === "run";
/** The same, and true if a group must be mended or resumed: a screen tells of the runs, and an alert of the group alone. */
const needsSomebody = (reason: string): boolean => {
  const row = rowOf(reason);
  return row !== undefined && (row.mend !== undefined || row.passes === undefined);
};

/**
 * Logs a run that failed, is lost, is tried again, or goes no further by itself in one line, for monitoring, after the ledger has
 * recorded that the broker has the event. Observes how long the phases of a run that ended took.
 */
function note(
  { metrics, log }: Pick<Parts, "metrics" | "log">,
  { type, run, group: of, data }: Pick<OutboxEvent, "type" | "run" | "group" | "data">,
): void {
  const group: string = of ?? "-"; // the run never came to a group
  const { diagnosis, seconds = {}, step, attempt, nextAttemptAt, reason = "", considered = [] }: Told = data;
  const { code = reason, sentence = considered.map((it) => `${it.group}: ${it.why}`).join(" ") } = diagnosis ?? {};
  const isTrouble = TROUBLES.has(type) || (type === "run.waiting" && needsAPerson(reason));
  if (isTrouble) log.warn(type, { run, step, attempt, group, code, sentence, ...(nextAttemptAt && { nextAttemptAt }) });
  else if (type === "run.waiting" && needsSomebody(reason)) log.info(type, { run, step, attempt, group, code, sentence });
  if (!isTerminal(type)) return;
  for (const [phase, value] of Object.entries(seconds))
    metrics.observe("longshore_run_phase_duration_seconds", { group, phase }, value);
}

interface Told {
  readonly step?: string;
  readonly attempt?: number;
  readonly nextAttemptAt?: string;
  readonly diagnosis?: { readonly code: string; readonly sentence: string };
  readonly seconds?: Readonly<Record<string, number>>;
  readonly reason?: string;
  readonly considered?: readonly { readonly group: string; readonly why: string }[];
}

/** Refusals, answers to duplicates, and changes of a group's health: they belong to no run's story, so their order does not matter. */
function notices(parts: Parts, signal: AbortSignal): Promise<void> {
  return retryLoop(parts, { what: "notices", ms: parts.timing.pollMs, wakeUp: parts.wakeUps.notices, signal }, (signal) =>
    drain(signal, async () => {
      const waiting = await parts.ledger.unsentNotices(NOTICES);
      const told = await Promise.allSettled(waiting.map((notice) => publishNotice(parts, notice, signal)));
      // A notice that cannot be published now must not make the others be published again and again.
      const sent = waiting.filter((_, index) => told[index]?.status === "fulfilled");
      if (sent.length > 0) await parts.ledger.sentNotices(sent.map(({ id }) => id));
      for (const it of told) if (it.status === "rejected") throw it.reason;
      return waiting.length === NOTICES;
    }),
  );
}

async function publishNotice(
  { broker, installation }: Parts,
  { id, tenant, group, type, data, replyTo, correlationId, atMs }: Notice,
  signal: AbortSignal,
): Promise<void> {
  const time = new Date(atMs).toISOString();
  const body = writeNotice({ installation, tenant, group, id, type, correlationId, data, time });
  const outgoing = { id, key: routingKey(tenant, group, type), body, correlationId };
  // A duplicate concerns its sender alone, so it is not published: followers would take it for a part of the run's story.
  if (type !== "command.duplicate" && (await broker.publish("events", outgoing, signal)) === "unrouted") throw cameBack(type);
  if (replyTo === undefined) return;
  // If the reply queue is gone by now, or its name is invalid, its owner gets no reply: the refusal is in the events as well.
  await broker.reply(replyTo, outgoing, signal).catch((error: unknown) => {
    if (!(error instanceof Failure && error.disposition === "refuse")) throw error;
  });
}
