/** Broadcasts between parts of one test: everybody who listens hears, and nothing is kept. */
import type { Broker } from "../port.ts";
import { deliveryQueue } from "../receiving.ts";
import { keyForPattern, patternAsRegex } from "../topic-pattern.ts";

export interface Broadcasts extends Pick<Broker, "broadcast" | "listen"> {
  /** The keys of all that was broadcast. */
  readonly keys: readonly string[];
  readonly bodies: readonly Uint8Array[];
}

export function broadcasts(): Broadcasts {
  const listeners = new Set<{ readonly pattern: RegExp; readonly give: (body: Uint8Array) => void }>();
  const keys: string[] = [];
  const bodies: Uint8Array[] = [];
  return {
    keys,
    bodies,
    async broadcast({ key, body }) {
      keys.push(key);
      bodies.push(body);
      const hearing = [...listeners].filter(({ pattern }) => pattern.test(keyForPattern(key)));
      for (const { give } of hearing) give(body);
      return hearing.length > 0 ? "stored" : "unrouted";
    },
    async listen(pattern, { signal }) {
      const { give, items, end } = deliveryQueue<Uint8Array>(() => undefined);
      const listener = { pattern: new RegExp(patternAsRegex(pattern)), give };
      listeners.add(listener);
      signal.addEventListener("abort", () => {
        listeners.delete(listener);
        end();
      });
      return items;
    },
  };
}
