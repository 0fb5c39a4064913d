/**
 * The brokers that Longshore knows, one row each, and the opening of the broker that a URL names. A new broker is a folder with
 * its adapter, a row here, and a test that runs the conformance suite on the adapter.
 *
 * The bugs this prevents: a TLS scheme that is taken for plain text, code elsewhere that tells brokers apart by the beginning
 * of a URL and misses a broker that is added later, and a program that looks healthy but never reached its broker.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type Address, readAddress } from "./address.ts";
import type { Broker } from "./port.ts";
import { PUBLISH_WITHIN_MS } from "./session.ts";
import { NAMES, type Names } from "./settings.ts";

/** The options that an adapter is opened with. */
export interface AdapterOptions {
  readonly address: Address;
  readonly names: Names;
  readonly log: Log;
  readonly clock: Clock;
  readonly publishWithinMs: number;
  readonly waitsForLauncher: boolean;
}

export interface KnownBroker {
  readonly name: string;
  /** Port and TLS for each scheme of the broker's URLs. */
  readonly schemes: Readonly<Record<string, { readonly port: number; readonly secure: boolean }>>;
  readonly example: string;
  /** Used if the URL names no user or no space. `space`: virtual host, database. */
  readonly defaults: { readonly user: string; readonly space: string };
  /** Whether a delivery says which user published it. If not, no user can be an operator by name. */
  readonly tellsUsers: boolean;
  /** Tells a person how to find the quarantined messages and their reasons. */
  readonly quarantine: (names: Names) => string;
  readonly load: () => Promise<(options: AdapterOptions) => Promise<Broker>>;
}

export const BROKERS: readonly KnownBroker[] = [
  {
    name: "RabbitMQ",
    schemes: { amqp: { port: 5672, secure: false }, amqps: { port: 5671, secure: true } },
    example: "amqp://user:password@host:5672/vhost",
    defaults: { user: "guest", space: "/" },
    tellsUsers: true,
    quarantine: ({ quarantine }) =>
      `rabbitmqadmin -H HOST -u USER -p PASSWORD -f pretty_json get queue=${quarantine} count=10 ackmode=ack_requeue_true (it leaves them there, and needs the management plugin); the reasons are in the header x-longshore-problems, and deploy/README.md says how to remove them`,
    load: async () => (await import("./rabbitmq/open.ts")).openRabbitmqBroker,
  },
  {
    name: "NATS",
    schemes: { nats: { port: 4222, secure: false }, tls: { port: 4222, secure: true } },
    example: "nats://user:password@host:4222",
    defaults: { user: "", space: "" },
    tellsUsers: false,
    quarantine: ({ quarantine }) => `nats sub --all "${quarantine}.>"; the reasons are in the header Longshore-Problems`,
    load: async () => (await import("./nats/open.ts")).openNatsBroker,
  },
  {
    name: "Postgres",
    schemes: { postgres: { port: 5432, secure: false }, postgresql: { port: 5432, secure: false } }, // TLS by "sslmode"
    example: "postgres://user:password@host:5432/database",
    defaults: { user: "postgres", space: "postgres" },
    tellsUsers: false,
    quarantine: ({ quarantine }) => `select body, problems from longshore_broker.message where queue = '${quarantine}'`,
    load: async () => (await import("./postgres/open.ts")).openPostgresBroker,
  },
];

/** Returns the row for a URL. If there is none, throws a `Failure` that lists the known URLs. */
export function brokerAt(url: string): KnownBroker {
  const parsed = URL.parse(url);
  if (parsed === null) {
    const examples = BROKERS.map((it) => it.example).join(", ");
    throw new Failure("halt", "BrokerUrl", `The broker's URL is not a URL. It looks like one of these: ${examples}.`);
  }
  const scheme = schemeOf(parsed);
  const found = BROKERS.find((it) => it.schemes[scheme] !== undefined);
  if (found !== undefined) return found;
  const known = BROKERS.map((it) => `${Object.keys(it.schemes).join(", ")} (${it.name})`).join("; ");
  throw new Failure("halt", "BrokerScheme", `Longshore knows no broker with the scheme "${scheme}". It knows: ${known}.`);
}

const schemeOf = ({ protocol }: URL): string => protocol.slice(0, -1);

export interface OpenBroker {
  readonly url: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly names?: Partial<Names>;
  readonly log: Log;
  readonly clock: Clock;
  /** One message may wait this long for its confirmation. After that its publisher gets a `Failure`. */
  readonly publishWithinMs?: number;
  /** True if the settings name users of the broker. Then a broker whose deliveries name no user is refused. */
  readonly needsUsers?: boolean;
  /** True for a watcher: what it may not declare itself, a launcher will declare, so that its lack passes by itself. */
  readonly waitsForLauncher?: boolean;
}

/**
 * Resolves when the broker has answered. If the broker does not answer, the error says which address was tried and what to do.
 */
export async function openBroker(options: OpenBroker): Promise<Broker> {
  const {
    url,
    user,
    password,
    names,
    log,
    clock,
    publishWithinMs = PUBLISH_WITHIN_MS,
    needsUsers = false,
    waitsForLauncher = false,
  } = options;
  const { name, schemes, defaults, tellsUsers, load } = brokerAt(url);
  if (needsUsers && !tellsUsers) {
    const what = `${name} does not tell who published a message, so the setting "operators" can name no user of it.`;
    const next = 'Leave it out, or write "operators: everyone" if all who may publish commands are operators.';
    throw new Failure("halt", "BrokerUsers", `${what} ${next}`);
  }
  const parsed = new URL(url);
  const { port = 0, secure = false } = schemes[schemeOf(parsed)] ?? {};
  const open = await load();
  const address = readAddress(parsed, { user, password }, { ...defaults, port, secure });
  return await open({ address, names: { ...NAMES, ...names }, log, clock, publishWithinMs, waitsForLauncher });
}
