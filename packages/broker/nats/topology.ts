/**
 * The streams that Longshore needs in JetStream. They are declared at the start and whenever something seems to be missing.
 *
 *   longshore.commands.>    LONGSHORE_COMMANDS    work queue: a message is gone when it is acked
 *   longshore.facts.>       LONGSHORE_FACTS       work queue
 *   longshore.events.>      LONGSHORE_EVENTS      the last gigabyte, for any reader
 *   longshore.quarantine.>  LONGSHORE_QUARANTINE  messages that we could not read, until somebody removes them
 *   longshore.control.>     no stream: reaches only those who listen at the moment
 *
 * The bugs this prevents: a stream that somebody made with other properties and that drops messages (an age limit, no acks,
 * memory storage), a MaxDeliver that stops a message after so many tries, and an ack for a message of a deleted stream that
 * acks another message in the new stream, where numbers begin again: so each stream has a consumer name of its own.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo, StreamState } from "@nats-io/jetstream";
import { AckPolicy, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Names } from "../names.ts";
import type { Queue } from "../port.ts";
import type { Link } from "./connection.ts";
import { apiCode, CODES, denialIn, failureOf, type Where } from "./failure.ts";
import { streamName } from "./subjects.ts";

const EVENTS_BYTES_MAX = 1_000_000_000;

/**
 * The server delivers a message again after this time. For messages in hand we say in a third of it that we work on them; a
 * killed process' messages come again after it.
 */
export const ACK_WAIT_MS = 10_000;
const FOLLOWER_IDLE_MS = 60_000;

export interface TopologyOptions extends Where {
  readonly names: Names;
  readonly log: Log;
  /** The number of copies of each message in a cluster, for streams that we make. */
  readonly replicas: number;
}

export interface Topology {
  /** Makes the streams that are missing. Throws `Failure` if a stream is not as we need it and we cannot change it. */
  declare(link: Link): Promise<void>;
  /** Makes the consumer of a queue, or makes it anew if it does not deliver every message. Returns its name. */
  consumer(link: Link, queue: Queue): Promise<Consumer>;
  /** Makes a consumer that ends with its follower. */
  follower(link: Link, name: string, filters: readonly string[]): Promise<Consumer>;
}

export interface Consumer {
  readonly stream: string;
  readonly name: string;
}

type Kept = "commands" | "facts" | "events" | "quarantine";

type Needs = Pick<StreamConfig, "retention" | "storage" | "max_age" | "max_msgs_per_subject"> & Partial<StreamConfig>;

const WORK: Needs = {
  retention: RetentionPolicy.Workqueue,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  max_age: 0,
  max_msgs_per_subject: -1,
};
const NEEDS: Readonly<Record<Kept, Needs>> = {
  quarantine: { ...WORK, retention: RetentionPolicy.Limits },
  commands: WORK,
  facts: WORK,
  events: { retention: RetentionPolicy.Limits, storage: StorageType.File, max_age: 0, max_msgs_per_subject: -1 },
};
/** Checked for each stream, but never sent: these are the defaults. */
const NEVER: Partial<StreamConfig> = { no_ack: false, sealed: false };

export function topology({ where, user, names, log, replicas }: TopologyOptions): Topology {
  const at = { where, user };
  /** Streams that our user may not see. They are not looked at again: the server would log each try. */
  const forbidden = new Set<Kept>();
  /** For each stream: its first message, at the time when its consumer seemed to have given one up. */
  const left = new Map<string, number>();

  async function declareStream({ manager }: Link, kept: Kept): Promise<void> {
    if (forbidden.has(kept)) return;
    const name = streamName(names[kept]);
    const subject = `${names[kept]}.>`;
    try {
      const info = await manager.streams.info(name);
      checkStream(info, kept, subject);
      return;
    } catch (error) {
      if (denialIn(error)?.operation === "publish") return void forbidden.add(kept); // this user needs nothing of this stream
      if (apiCode(error) !== CODES.streamNotFound) throw failureOf(error, at, `did not tell of the stream ${name}`);
    }
    try {
      const limits = kept === "events" ? { max_bytes: EVENTS_BYTES_MAX, discard: DiscardPolicy.Old } : {};
      await manager.streams.add({ name, subjects: [subject], num_replicas: replicas, ...NEEDS[kept], ...limits });
    } catch (error) {
      throw notMade(error, name, subject);
    }
  }

  function checkStream({ config }: StreamInfo, kept: Kept, subject: string): void {
    const needs: Partial<StreamConfig> = { ...NEVER, ...NEEDS[kept] };
    const wrong = Object.entries(needs)
      .filter(([field, value]) => (config[field as keyof StreamConfig] ?? false) !== value)
      .map(
        ([field, value]) =>
          `${field} is ${JSON.stringify(config[field as keyof StreamConfig])} and must be ${JSON.stringify(value)}`,
      );
    if (!config.subjects.includes(subject)) wrong.push(`its subjects lack "${subject}"`);
    if (wrong.length === 0) return;
    const what = `${where} has a stream ${config.name} with other properties than Longshore needs: ${wrong.join("; ")}.`;
    throw new Failure("halt", "BrokerTopology", `${what} Edit the stream, or give Longshore another name for it.`);
  }

  function notMade(error: unknown, name: string, subject: string): Failure {
    if (denialIn(error) !== undefined) {
      const what = `${where} has no stream ${name}, and the user "${user}" may not create it.`;
      const next = `Start the launcher once as a user that may publish to "$JS.API.STREAM.CREATE.${name}", or create the stream.`;
      return new Failure("halt", "BrokerForbidden", `${what} ${next}`, error);
    }
    const code = apiCode(error);
    if (code === CODES.subjectsOverlap) {
      const what = `${where} has another stream that takes "${subject}".`;
      return new Failure("halt", "BrokerTopology", `${what} Remove the subject there, or give Longshore other names.`, error);
    }
    return failureOf(error, at, `did not create the stream ${name}`);
  }

  async function consumer(link: Link, queue: Queue): Promise<Consumer> {
    const stream = streamName(names[queue]);
    try {
      const { consumers, streams } = link.manager;
      const name = `longshore-${Date.parse((await streams.info(stream)).created).toString(36)}`;
      const info = await consumers.info(stream, name).catch((error: unknown) => {
        if (apiCode(error) === CODES.consumerNotFound) return undefined;
        throw error;
      });
      const wrong = info === undefined ? undefined : (wrongIn(info) ?? stuckIn(info, (await streams.info(stream)).state));
      if (wrong !== undefined) {
        log.error("a consumer does not deliver all messages and is made anew", { stream, consumer: name, reason: wrong });
        await consumers.delete(stream, name);
      }
      if (info === undefined || wrong !== undefined) await consumers.add(stream, { ...KEPT, durable_name: name, name });
      return { stream, name };
    } catch (error) {
      throw failureOf(error, at, `did not make a consumer of the stream ${stream}`);
    }
  }

  /**
   * After a MaxDeliver a message is still in the stream, but neither waiting nor in hand: nobody gets it any more. Other
   * messages look the same for a moment, between their ack and their removal, so only a second look at the same message tells.
   */
  function stuckIn(consumer: ConsumerInfo, { messages, first_seq }: StreamState): string | undefined {
    const { stream_name, num_pending, num_ack_pending } = consumer;
    const before = left.get(stream_name);
    left.delete(stream_name);
    if (messages <= num_pending + num_ack_pending) return undefined;
    left.set(stream_name, first_seq);
    return before === first_seq ? "it has given up messages that are in the stream" : undefined;
  }

  return {
    declare: async (link) => {
      for (const kept of ["quarantine", "commands", "facts", "events"] as const) {
        await declareStream(link, kept).catch(async (error: unknown) => {
          if (apiCode(error instanceof Failure ? error.cause : error) !== CODES.streamNameTaken) throw error;
          await declareStream(link, kept); // another process made the same thing at the same moment
        });
      }
    },
    consumer,
    follower: async ({ manager }, name, filters) => {
      const stream = streamName(names.events);
      const [only, ...others] = filters;
      try {
        await manager.consumers.add(stream, {
          ...KEPT,
          name,
          deliver_policy: DeliverPolicy.New,
          inactive_threshold: nanos(FOLLOWER_IDLE_MS),
          ...(only !== undefined && others.length === 0 ? { filter_subject: only } : { filter_subjects: [...filters] }),
        });
        return { stream, name };
      } catch (error) {
        throw failureOf(error, at, `did not bind a follower to the stream ${stream}`);
      }
    },
  };
}

const KEPT: Partial<ConsumerConfig> = {
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(ACK_WAIT_MS),
  max_deliver: -1,
  max_ack_pending: -1,
};

function wrongIn({ config }: ConsumerInfo): string | undefined {
  if (config.max_deliver !== undefined && config.max_deliver > 0) return `MaxDeliver is ${config.max_deliver}`;
  if (config.filter_subject !== undefined || config.filter_subjects !== undefined) return "it has a filter";
  if (config.deliver_subject !== undefined) return "it pushes";
  if (config.ack_policy !== AckPolicy.Explicit) return `its ack policy is ${config.ack_policy}`;
  return undefined;
}
