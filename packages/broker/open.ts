/**
 * Opens the broker that a URL names.
 *
 * The failure this prevents: a program that starts, looks healthy, and has never reached its broker. It resolves when
 * the broker has answered, and says otherwise where it looked and what to do.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { readAddress } from "./address.ts";
import { PUBLISH_WITHIN_MS } from "./bounded-publishing.ts";
import { NAMES, type Names } from "./names.ts";
import type { Broker } from "./port.ts";

export interface OpenBroker {
  readonly url: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly names?: Partial<Names>;
  readonly log: Log;
  readonly clock: Clock;
  /** How long one message may wait for its confirmation before it is told as not stored. */
  readonly publishWithinMs?: number;
}

export async function openBroker({
  url,
  user,
  password,
  names,
  log,
  clock,
  publishWithinMs = PUBLISH_WITHIN_MS,
}: OpenBroker): Promise<Broker> {
  const parsed = URL.parse(url);
  if (parsed === null) {
    throw new Failure(
      "halt",
      "BrokerUrl",
      "The broker's URL is not a URL. It looks like amqp://host:5672/vhost or postgres://host:5432/database.",
    );
  }
  const rest = { names: { ...NAMES, ...names }, log, clock, publishWithinMs };
  switch (parsed.protocol) {
    case "amqp:":
    case "amqps:": {
      const { openRabbitmqBroker } = await import("./rabbitmq/open.ts");
      const port = parsed.protocol === "amqp:" ? 5672 : 5671;
      return await openRabbitmqBroker({
        ...rest,
        address: readAddress(parsed, { user, password }, { port, user: "guest", space: "/" }),
      });
    }
    case "postgres:":
    case "postgresql:": {
      const { openPostgresBroker } = await import("./postgres/open.ts");
      return await openPostgresBroker({
        ...rest,
        address: readAddress(parsed, { user, password }, { port: 5432, user: "postgres", space: "postgres" }),
      });
    }
    case "nats:":
    case "tls:": {
      const { openNatsBroker } = await import("./nats/open.ts");
      return await openNatsBroker({
        ...rest,
        address: {
          ...readAddress(parsed, { user, password }, { port: 4222, user: "", space: "" }),
          secure: parsed.protocol === "tls:",
        },
      });
    }
    default: {
      const known = "amqp, amqps (RabbitMQ), postgres, postgresql (queues in a database)";
      throw new Failure(
        "halt",
        "BrokerScheme",
        `Longshore knows no broker with the scheme "${parsed.protocol.slice(0, -1)}". It knows: ${known}.`,
      );
    }
  }
}
