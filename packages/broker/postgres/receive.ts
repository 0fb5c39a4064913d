/**
 * Takes messages of one queue out of Postgres in the name of a session, and settles them.
 *
 * The bugs this prevents: a message that two lanes work on (rows are locked and skipped, and marked with the session), more
 * unsettled messages than were asked for, and an ack after the message was given to another session (the session is compared).
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { batch, wakeUp } from "@longshore/runtime/loop.ts";
import type { Pool } from "pg";
import type { Delivery, ReceiveOptions } from "../port.ts";
import { mapped, type Receiver, receiving, settlement } from "../receiving.ts";
import type { Sessions } from "../session.ts";
import { CHANNEL } from "./schema.ts";
import type { PostgresSession } from "./session.ts";

const POLL_MS = 1_000;
const CLAIM_MAX = 256;

interface Row {
  readonly id: string;
  readonly message_id: string;
  readonly body: Buffer;
  readonly reply_to: string | null;
  readonly correlation_id: string | null;
  readonly redeliveries: number;
}

const CLAIM = `
with me as (
  select id from longshore_broker.session where id = $3 for key share
), due as materialized (
  select m.id from longshore_broker.message m, me
  where m.queue = $1 and m.holder is null order by m.id limit $2 for update of m skip locked
), claimed as (
  update longshore_broker.message m set holder = $3, deliveries = m.deliveries + 1 from due
  where m.queue = $1 and m.id = due.id
  returning m.id, m.message_id, m.body, m.reply_to, m.correlation_id, m.deliveries - 1 as redeliveries
)
select * from claimed order by id`;

const ACK = "delete from longshore_broker.message where queue = $1 and id = any($2) and holder = $3";

/** `$4` is true if no lane took the messages: then the delivery does not count. */
const REQUEUE = `
with back as (
  update longshore_broker.message set holder = null, deliveries = deliveries - case when $4 then 1 else 0 end
  where queue = $1 and id = any($2) and holder = $3 returning 1
)
select pg_notify('${CHANNEL}', $1) where exists (select from back)`;

const QUARANTINE = `
with bad as (
  delete from longshore_broker.message where queue = $1 and id = $2 and holder = $3 returning *
)
insert into longshore_broker.message (queue, message_id, key, body, reply_to, correlation_id, published_at, origin, problems)
select $4, message_id, key, body, reply_to, correlation_id, published_at, queue, $5::jsonb from bad`;

export interface ReceiverParts {
  readonly pool: Pool;
  readonly sessions: Sessions<PostgresSession>;
  readonly clock: Clock;
  readonly log: Log;
  readonly quarantine: string;
  /** Called once for each session before any message is taken in its name. A follower makes its queue here. */
  readonly prepare?: (session: PostgresSession) => Promise<void>;
  readonly onEnd?: () => Promise<void>;
}

export interface QueueReceiver extends Receiver {
  readonly queue: string;
  /** Tells the receiver that the queue may have something new. */
  lookAgain(): void;
}

interface Taken {
  readonly row: Row;
  readonly session: PostgresSession;
}

export function receiver(parts: ReceiverParts, queue: string, { inFlightMax, signal }: ReceiveOptions): QueueReceiver {
  const { pool, sessions, clock, prepare, onEnd } = parts;
  const { inHand, begun, stop, start } = receiving<Taken>(parts, signal);
  const woken = wakeUp(clock);
  let inFlight = 0;
  let mayHaveMore = true;

  const batches = { most: CLAIM_MAX, waitingMost: Number.MAX_SAFE_INTEGER };
  const ack = batch<Taken, void>(batches, (items) => settleAll(items, ACK));
  const requeue = batch<Taken, void>(batches, (items) => settleAll(items, REQUEUE, false));

  async function settleAll(items: readonly Taken[], statement: string, ...more: readonly unknown[]): Promise<undefined[]> {
    for (const session of new Set(items.map((it) => it.session))) {
      const ids = items.filter((it) => it.session === session).map((it) => it.row.id);
      await inTheNameOf(session, () => pool.query(statement, [queue, ids, session.id, ...more]));
    }
    return items.map(() => undefined);
  }

  /** If the answer is lost, the effect is in doubt. Then the whole session ends, and its messages are delivered again. */
  async function inTheNameOf(session: PostgresSession, work: () => Promise<unknown>): Promise<void> {
    if (session.over.aborted) return;
    try {
      await work();
    } catch (error) {
      session.lose(error);
    }
  }

  function deliver(taken: Taken): Delivery {
    const { row, session } = taken;
    const once = settlement(`message ${row.id} of ${queue}`, () => {
      inFlight--;
      if (mayHaveMore) woken.wake();
    });
    const putAside = (problems: string) =>
      inTheNameOf(session, () => pool.query(QUARANTINE, [queue, row.id, session.id, parts.quarantine, problems]));
    return {
      id: row.message_id,
      body: row.body,
      redeliveries: row.redeliveries,
      user: undefined,
      replyTo: row.reply_to ?? undefined,
      correlationId: row.correlation_id ?? undefined,
      ack: () => once(() => ack(taken)),
      requeue: () => once(() => requeue(taken)),
      quarantine: (problems) => once(() => putAside(JSON.stringify(problems))),
    };
  }

  async function take(session: PostgresSession): Promise<void> {
    while (!stop.aborted && !session.over.aborted) {
      const room = Math.min(CLAIM_MAX, inFlightMax - inFlight);
      if (!mayHaveMore || room <= 0) {
        if ((await woken.wait(POLL_MS, stop)) === "passed") mayHaveMore = true;
        continue;
      }
      mayHaveMore = false; // set before the claim: a message that arrives during the claim calls lookAgain
      const { rows } = await pool.query<Row>(CLAIM, [queue, room, session.id]);
      if (rows.length === room) mayHaveMore = true;
      inFlight += rows.length;
      for (const row of rows) inHand.give({ row, session });
    }
  }

  async function consume(session: PostgresSession): Promise<void> {
    try {
      await prepare?.(session);
      begun.resolve();
      mayHaveMore = true;
      await take(session);
    } catch (error) {
      session.lose(error); // the claim may have been committed although its answer was lost
    }
    const untaken = inHand.drop();
    inFlight -= untaken.length;
    await settleAll(untaken, REQUEUE, true);
  }

  const started = start(sessions, { consume, onEnd });
  return {
    ...started,
    queue,
    deliveries: mapped(started.deliveries, deliver),
    lookAgain: () => {
      mayHaveMore = true;
      woken.wake();
    },
  };
}
