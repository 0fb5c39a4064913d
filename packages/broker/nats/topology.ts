/**
 * The streams that Longshore needs in JetStream, their consumers, and the functions that turn names, keys and patterns into
 * subjects, and subjects into keys. Streams are declared at the start and whenever something seems to be missing.
 *
 *   longshore.commands.>    LONGSHORE_COMMANDS    work queue: a message is gone when it is acked
 *   longshore.facts.>       LONGSHORE_FACTS       work queue
 *   longshore.events.>      LONGSHORE_EVENTS      the last gigabyte, for any reader
 *   longshore.quarantine.>  LONGSHORE_QUARANTINE  messages that we could not read, until somebody removes them
 *   longshore.control.>     no stream: reaches only those who listen at the moment
 *
 * The bugs this prevents: a stream whose properties lose messages (an age limit, no acks, memory storage), a MaxDeliver after
 * which nobody gets a message any more, an ack that hits another message because the stream was deleted and its numbers began
 * again (so a new stream gets a consumer with a new name), and a key that is a wildcard for NATS.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo, StreamState } from "@nats-io/jetstream";
import { AckPolicy, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Queue } from "../port.ts";
import { isOurs, type Names } from "../settings.ts";
import { keyForPattern, patternAsRegex } from "../topic-pattern.ts";
import { apiCode, CODES, denialIn, failureOf, type Link, type Where } from "./connection.ts";

const EVENTS_BYTES_MAX = 1_000_000_000;
/** The server delivers a message again after this time, unless we say that we still work on it. */
export const ACK_WAIT_MS = 10_000;
const FOLLOWER_IDLE_MS = 60_000;
const SUBJECT = /^[^\s.*>]+(\.[^\s.*>]+)*$/;

export interface TopologyOptions extends Where {
  readonly names: Names;
  readonly log: Log;
  /** In a cluster of NATS servers, each stream that we make keeps this many copies. */
  readonly replicas: number;
}

export interface Topology {
  /** Makes the streams that are missing. Throws `Failure` if a stream is not as we need it and we cannot change it. */
  declare(link: Link): Promise<void>;
  /** Makes the consumer of a queue, or makes it anew if it does not deliver every message. */
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
/** These fields are checked for each stream, but never sent, since they are the defaults. */
const NEVER: Partial<StreamConfig> = { no_ack: false, sealed: false };

export function topology({ where, user, names, log, replicas }: TopologyOptions): Topology {
  const at = { where, user };
  /** Streams that our user may not see. They are not asked for again, because the server logs each refused try. */
  const forbidden = new Set<Kept>();
  /** For each stream whose consumer seems to have given up a message: the number of the stream's first message at that time. */
  const left = new Map<string, number>();

  async function declareStream({ manager }: Link, kept: Kept): Promise<void> {
    if (forbidden.has(kept)) return;
    const name = streamName(names[kept]);
    const subject = `${names[kept]}.>`;
    try {
      return checkStream(await manager.streams.info(name), kept, subject);
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
    const given: Readonly<Record<string, unknown>> = { ...config };
    const wrong = Object.entries({ ...NEVER, ...NEEDS[kept] })
      .filter(([field, value]) => (given[field] ?? false) !== value)
      .map(([field, value]) => `${field} is ${JSON.stringify(given[field])} and must be ${JSON.stringify(value)}`);
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
    if (apiCode(error) === CODES.subjectsOverlap) {
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
   * After MaxDeliver tries a message stays in the stream, but is neither pending nor delivered: nobody gets it any more. A
   * message that was acked but not yet removed looks the same, so it takes two checks to know.
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
          await declareStream(link, kept); // another process made the same stream at the same moment
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

/** JetStream's names contain no dots and are written in capitals: "longshore.commands" is the stream LONGSHORE_COMMANDS. */
export function streamName(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9_-]/g, "_");
}

export function subjectOf(name: string, key: string): string {
  if (SUBJECT.test(key)) return `${name}.${key}`;
  const what = `The key "${key}" of a message is no NATS subject: words between dots, without spaces, "*" and ">".`;
  throw new Failure("refuse", "MessageInvalid", what);
}

export function keyOf(name: string, subject: string): string {
  return subject.startsWith(`${name}.`) ? subject.slice(name.length + 1) : subject;
}

/**
 * The subjects to ask for, and a test of each key. NATS has no "#" inside a subject, so the subjects alone can take too much.
 */
export interface Filter {
  readonly subjects: readonly string[];
  readonly matches: (key: string) => boolean;
}

/** "shop.#" also matches "shop", so it needs two subjects: "shop" and "shop.>". No message has both, so none comes twice. */
export function filterOf(name: string, pattern: string): Filter {
  const words = pattern.split(".");
  const hash = words.indexOf("#");
  if (hash === -1) return { subjects: [`${name}.${pattern}`], matches: () => true };
  const before = [name, ...words.slice(0, hash)].join(".");
  const alone = hash === words.length - 1 && hash > 0 ? [before] : [];
  const regex = new RegExp(patternAsRegex(pattern));
  return { subjects: [...alone, `${before}.>`], matches: (key) => regex.test(keyForPattern(key)) };
}

/** A reply must reach neither a subject beneath our names (commands, facts, inboxes) nor NATS' own API, which begins with "$". */
export function isReplySubject(subject: string, names: Names): boolean {
  if (!SUBJECT.test(subject) || subject.startsWith("$")) return false;
  return !isOurs(subject, names) && !Object.values(names).some((it: string) => subject.startsWith(`${it}.`));
}
