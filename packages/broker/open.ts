/**
 * Opens the broker that a URL names. Resolves when the broker has answered; if it does not answer, the error says where we
 * looked and what to do.
 *
 * The failure this prevents: a program that starts, looks healthy, and has never reached its broker.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { readAddress } from "./address.ts";
import { PUBLISH_WITHIN_MS } from "./bounded-publishing.ts";
import { brokerAt, schemeOf } from "./brokers.ts";
import { NAMES, type Names } from "./names.ts";
import type { Broker } from "./port.ts";

export interface OpenBroker {
  readonly url: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly names?: Partial<Names>;
  readonly log: Log;
  readonly clock: Clock;
  /** How long one message may wait for its confirmation before the publisher is told that it is not stored. */
  readonly publishWithinMs?: number;
  /** True if the settings name users of the broker: then a broker that does not tell who published is refused. */
  readonly needsUsers?: boolean;
}

export async function openBroker({
  url,
  user,
  password,
  names,
  log,
  clock,
  publishWithinMs = PUBLISH_WITHIN_MS,
  needsUsers = false,
}: OpenBroker): Promise<Broker> {
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
  return await open({ address, names: { ...NAMES, ...names }, log, clock, publishWithinMs });
}
