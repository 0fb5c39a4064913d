/**
 * Looks up the addresses of a cluster's name: one lookup at a time, and the last answer is kept in case DNS does not answer.
 *
 * The bugs this prevents: a healthy cluster that is lost because a resolver fails, and a hanging resolver that blocks one of
 * Node's few threads for each new connection. An old address is no risk: the server there must show the cluster's certificate
 * all the same.
 */
import { lookup as ask, type LookupAddress, type LookupAllOptions } from "node:dns";
import type { LookupFunction } from "node:net";

/** Has the shape of `dns.lookup` with `all`. */
export type AskNames = (
  name: string,
  options: LookupAllOptions,
  answer: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface NamesOptions {
  readonly ask?: AskNames;
  /** If an older answer is known, a lookup may take this long before the older answer is used. */
  readonly patienceMs?: number;
}

type Told = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void;

/** Returns a lookup for one server's connections: it remembers only one answer. */
export function rememberedNames({ ask: asking = ask, patienceMs = 2_000 }: NamesOptions = {}): LookupFunction {
  let last: { readonly name: string; readonly addresses: readonly LookupAddress[] } | undefined;
  const waiting = new Set<Told>();
  const before = (name: string) => (last?.name === name ? last.addresses : undefined);

  function begin(name: string): void {
    asking(name, { all: true }, (error, addresses) => {
      if (error === null && addresses.length > 0) last = { name, addresses };
      const found = before(name);
      const all = [...waiting];
      waiting.clear();
      for (const tell of all) tell(found ? null : (error ?? notFound(name)), found ?? []);
    });
  }

  return (name, options, answer) => {
    const known = before(name);
    const tell: Told = (error, addresses) => {
      clearTimeout(patience);
      waiting.delete(tell);
      const { family } = options;
      const wanted = family === 4 || family === 6 ? addresses.filter((it) => it.family === family) : addresses;
      const [first] = wanted;
      if (error !== null || first === undefined) answer(error ?? notFound(name), []);
      else if (options.all === true) answer(null, [...wanted]);
      else answer(null, first.address, first.family);
    };
    const patience = known && setTimeout(() => tell(null, known), patienceMs);
    waiting.add(tell);
    if (waiting.size === 1) begin(name);
  };
}

const notFound = (name: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`DNS knows no address of ${name}.`), { code: "ENOTFOUND", hostname: name });
