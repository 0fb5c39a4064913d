/**
 * The queues and exchanges that Longshore needs in RabbitMQ. They are declared again whenever something seems to be missing.
 *
 *   longshore.commands (topic) ──▶ longshore.commands      if no queue is bound ─▶ longshore.unrouted ─▶ taken in at start
 *   longshore.facts    (topic) ──▶ longshore.facts
 *   longshore.events   (topic) ──▶ longshore.history (stream, bounded), and any queue that upstream binds
 *   longshore.control  (topic) ──▶ only the queues of those who listen at the moment
 *   longshore.quarantine (fanout) ◀── messages that we could not read; also the dead-letter exchange of our queues
 *
 * The bugs this prevents: a server's delivery limit that drops a message after twenty tries, a dead letter that is lost
 * on its way, and commands that vanish because somebody removed a binding.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Channel } from "amqplib";
import { messageOf } from "../address.ts";
import type { Names } from "../settings.ts";
import type { Link } from "./connection.ts";

const HISTORY_BYTES_MAX = 1_000_000_000;
const HISTORY_SPARES = 3;
const HISTORY_SEGMENT_BYTES = 50_000_000;

interface Step {
  readonly what: string;
  readonly declare: (channel: Channel) => Promise<unknown>;
  /** Checks that the thing exists, for users who may not declare it; undefined if RabbitMQ cannot tell (bindings). */
  readonly look: ((channel: Channel) => Promise<unknown>) | undefined;
  /** The step to declare instead, if the server says that the thing exists but is down. */
  readonly instead?: Step;
}

export interface TopologyOptions {
  readonly names: Names;
  readonly log: Log;
  /** The subject of a sentence: "RabbitMQ at rabbit:5672, virtual host "longshore",". */
  readonly where: string;
  readonly waitsForLauncher: boolean;
}

export async function declareTopology(link: Link, options: TopologyOptions): Promise<void> {
  let channel = await openChannel(link);
  try {
    for (const step of steps(options.names, link.version)) {
      channel = await declared(step, channel, link, options);
    }
  } finally {
    await channel.close().catch(() => undefined); // a failed check has closed the channel already
  }
}

/**
 * Returns the channel to go on with. After a refusal it is a new one, because the server closes a channel with each refusal.
 */
async function declared(step: Step, channel: Channel, link: Link, options: TopologyOptions): Promise<Channel> {
  try {
    await step.declare(channel);
    return channel;
  } catch (error) {
    const next = await openChannel(link);
    if (step.instead !== undefined && replyCode(error) === 404 && messageOf(error).includes("is down")) {
      options.log.error("a stream of the broker's is down and another takes its place", {
        down: step.what,
        instead: step.instead.what,
      });
      return await declared(step.instead, next, link, options);
    }
    await refused(step, error, next, options);
    return next;
  }
}

/** A channel whose errors end the channel, not the process. */
export async function openChannel(link: Link): Promise<Channel> {
  const channel = await link.model.createChannel();
  channel.on("error", () => undefined); // the call that caused it rejects with the same error
  return channel;
}

async function refused(
  step: Step,
  error: unknown,
  channel: Channel,
  { where, waitsForLauncher }: TopologyOptions,
): Promise<void> {
  switch (replyCode(error) ?? 0) {
    case 403: // a user with few permissions: somebody else's declaration is enough
      await step.look?.(channel).catch((missing: unknown) => {
        const what = `${where} has no ${step.what}, and our user may not declare it.`;
        if (waitsForLauncher && replyCode(missing) === 404)
          throw new Failure("retry", "BrokerUndeclared", `${what} The launcher's first start declares it.`, missing);
        const next = 'Start Longshore once as a user that may, or grant "configure".';
        throw new Failure("halt", "BrokerForbidden", `${what} ${next}`, missing);
      });
      return;
    case 406: {
      const what = `The broker has a ${step.what} with other properties than Longshore needs (${messageOf(error)}).`;
      const next = "Delete it when it is empty, or give Longshore another name for it: the setting broker.names.";
      throw new Failure("halt", "BrokerTopology", `${what} ${next}`, error);
    }
    default:
      throw error;
  }
}

function replyCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "number" ? error.code : undefined;
}

function steps(names: Names, version: string): readonly Step[] {
  const exchange = (name: string, type: "topic" | "fanout", alternate?: string): Step => ({
    what: `${type} exchange "${name}"`,
    declare: (it) =>
      it.assertExchange(name, type, { durable: true, ...(alternate === undefined ? {} : { alternateExchange: alternate }) }),
    look: (it) => it.checkExchange(name),
  });
  const queue = (name: string, args: Readonly<Record<string, unknown>>): Step => ({
    what: `queue "${name}"`,
    declare: (it) => it.assertQueue(name, { durable: true, arguments: args }),
    look: (it) => it.checkQueue(name),
  });
  const binding = (name: string, from: string, pattern: string): Step => ({
    what: `binding of "${name}" to "${from}"`,
    declare: (it) => it.bindQueue(name, from, pattern),
    look: undefined,
  });
  /**
   * If a server is killed within seconds after it made its first stream, it lists the stream as down for ever, and no client
   * can delete the stream. Events must not wait for an operator, so a spare is made.
   */
  const history = (name: string, spares: number): Step => ({
    what: `stream "${name}" bound to "${names.events}"`,
    declare: async (it) => {
      await it.assertQueue(name, { durable: true, arguments: stream() });
      await it.bindQueue(name, names.events, "#");
    },
    look: (it) => it.checkQueue(name),
    ...(spares === 0 ? {} : { instead: history(`${names.history}.${HISTORY_SPARES - spares + 1}`, spares - 1) }),
  });
  const kept = quorum(version);
  const work = {
    ...kept,
    "x-dead-letter-exchange": names.quarantine,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
  return [
    exchange(names.quarantine, "fanout"),
    queue(names.quarantine, kept),
    binding(names.quarantine, names.quarantine, ""),
    exchange(names.unrouted, "fanout"),
    queue(names.unrouted, kept),
    binding(names.unrouted, names.unrouted, ""),
    exchange(names.commands, "topic", names.unrouted),
    queue(names.commands, work),
    binding(names.commands, names.commands, "#"),
    exchange(names.facts, "topic"),
    queue(names.facts, work),
    binding(names.facts, names.facts, "#"),
    exchange(names.events, "topic"),
    history(names.history, HISTORY_SPARES),
    exchange(names.control, "topic"),
  ];
}

/**
 * Since RabbitMQ 4 the delivery limit is 20, and -1 switches it off. Earlier versions have no limit, and take -1 as "no
 * delivery".
 */
function quorum(version: string): Record<string, unknown> {
  const major = Number.parseInt(version, 10);
  return { "x-queue-type": "quorum", ...(major >= 4 ? { "x-delivery-limit": -1 } : {}) };
}

function stream(): Record<string, unknown> {
  return {
    "x-queue-type": "stream",
    "x-max-length-bytes": HISTORY_BYTES_MAX,
    "x-stream-max-segment-size-bytes": HISTORY_SEGMENT_BYTES,
  };
}
