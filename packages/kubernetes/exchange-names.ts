/**
 * From a cluster's name to its addresses: asked once at a time, and what was found last is kept for the day DNS does not answer.
 *
 * The bugs this prevents: a cluster that is well and is lost because a resolver is not, and a resolver that hangs holding
 * one of Node's few threads for each connection that a pool would like to open. An old address is no risk: who answers there
 * must show the cluster's certificate all the same.
 */
import { lookup as ask, type LookupAddress, type LookupAllOptions } from "node:dns";
import type { LookupFunction } from "node:net";

/** As `dns.lookup` with `all`. */
export type AskNames = (
  name: string,
  options: LookupAllOptions,
  answer: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface NamesOptions {
  readonly ask?: AskNames;
  /** So long an answer is waited for where an older one would do. */
  readonly patienceMs?: number;
}

type Told = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void;

/** For one server's connections: what it keeps is one answer. */
export function rememberedNames({ ask: asking = ask, patienceMs = 2_000 }: NamesOptions = {}): LookupFunction {
  let last: { readonly name: string; readonly addresses: readonly LookupAddress[] } | undefined;
  let waiting: Set<Told> | undefined;

  function begin(name: string): Set<Told> {
    const all = new Set<Told>();
    asking(name, { all: true }, (error, addresses) => {
      waiting = undefined;
      const found = error === null && addresses.length > 0;
      if (found) last = { name, addresses };
      const before = last?.name === name ? last.addresses : undefined;
      for (const tell of all) tell(before ? null : (error ?? notFound(name)), before ?? []);
    });
    return all;
  }

  return (name, options, answer) => {
    const before = last?.name === name ? last.addresses : undefined;
    const tell: Told = (error, addresses) => {
      clearTimeout(patience);
      asked.delete(tell);
      const wanted = options.family === 4 || options.family === 6 ? addresses.filter((it) => it.family === options.family) : addresses;
      const [first] = wanted;
      if (error !== null || first === undefined) answer(error ?? notFound(name), []);
      else if (options.all === true) answer(null, [...wanted]);
      else answer(null, first.address, first.family);
    };
    const patience = before && setTimeout(() => tell(null, before), patienceMs);
    waiting ??= begin(name);
    const asked = waiting;
    asked.add(tell);
  };
}

const notFound = (name: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`DNS knows no address of ${name}.`), { code: "ENOTFOUND", hostname: name });
