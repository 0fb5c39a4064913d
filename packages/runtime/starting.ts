/**
 * The start of a program whose servers may be away: it waits for them, answers health probes meanwhile, and names each server
 * that it waits for.
 *
 * The bugs this prevents: a launcher that Kubernetes restarts with longer and longer pauses, because its broker was started a
 * minute after it; and a person who mends one server, and only then hears that another is away, too. A server that refuses us (a
 * wrong password, a missing permission) still ends the program at once.
 */
import type { Clock } from "./clock.ts";
import type { HealthOptions, PartState } from "./health.ts";
import type { Log } from "./log.ts";
import { backOff, linked } from "./loop.ts";

const MINUTE_MS = 60_000;

export interface Starting {
  /** Options for the health server, which runs before anything else: they say that no part is ready yet. */
  readonly health: Required<Pick<HealthOptions, "parts" | "refresh">>;
  /**
   * Opens a server as soon as it can be reached. Throws an error that is no outage, and the signal's reason if the program is
   * to stop.
   */
  reach<T>(part: string, open: () => Promise<T>): Promise<T>;
  /**
   * Opens several servers at the same time. If one refuses us, those that were opened are closed again. The result closes them,
   * the last one first.
   */
  reachAll<T extends Readonly<Record<string, AsyncDisposable>>>(opens: Opens<T>): Promise<T & AsyncDisposable>;
  /** From now on the health server asks these parts. */
  started(health: Pick<HealthOptions, "parts" | "refresh">): void;
}

type Opens<T> = { readonly [P in keyof T]: () => Promise<T[P]> };

export interface StartingOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** True for an error that passes by itself. */
  readonly isOutage: (error: unknown) => error is Error;
}

export function openStarting(parts: readonly string[], { clock, log, signal, isOutage }: StartingOptions): Starting {
  const pause = backOff(clock, { firstMs: 200, mostMs: 5_000 });
  const states: Record<string, () => PartState | Promise<PartState>> = {};
  const say = (part: string, says: string): void => void (states[part] = () => ({ ready: false, says }));
  for (const part of parts) say(part, "starting");
  log.info(`starting: the program is up once it has reached ${parts.join(" and ")}`);
  let refresh: () => Promise<void> = async () => undefined;
  const saidMs = new Map<string, number>();

  async function reach<T>(part: string, open: () => Promise<T>, until = signal): Promise<T> {
    for (let failures = 1; ; failures++) {
      until.throwIfAborted();
      try {
        const opened = await open();
        say(part, "was reached; the program is starting");
        return opened;
      } catch (error) {
        if (!isOutage(error)) throw error;
        say(part, `not reached yet: ${error.message}`);
        if (clock.now() - (saidMs.get(part) ?? Number.NEGATIVE_INFINITY) >= MINUTE_MS) {
          log.warn("waiting for a server before the start", { part, error: error.message });
          saidMs.set(part, clock.now());
        }
      }
      await pause(failures, until);
    }
  }

  async function reachAll<T extends Readonly<Record<string, AsyncDisposable>>>(opens: Opens<T>): Promise<T & AsyncDisposable> {
    const rest = linked(signal);
    await using opened = new AsyncDisposableStack();
    const reaching = Object.entries<() => Promise<AsyncDisposable>>(opens).map(async ([part, open]) => {
      try {
        return [part, await reach(part, open, rest.signal)] as const;
      } catch (error) {
        rest.abort(error); // the others are waited for no longer
        throw error;
      }
    });
    const reached = await Promise.allSettled(reaching);
    rest.release();
    for (const it of reached) if (it.status === "fulfilled") opened.use(it.value[1]);
    const all = await Promise.all(reaching);
    const kept = opened.move();
    return { ...(Object.fromEntries(all) as T), [Symbol.asyncDispose]: () => kept.disposeAsync() };
  }

  return {
    health: { parts: states, refresh: () => refresh() },
    reach,
    reachAll,
    started: (health) => {
      Object.assign(states, health.parts);
      refresh = health.refresh ?? refresh;
    },
  };
}
