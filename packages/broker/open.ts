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
  /** How long one message may wait for its confirmation before it is told as not stored. */
  readonly publishWithinMs?: number;
  /** The settings name users of the broker, so a broker that does not tell who published will not do. */
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
