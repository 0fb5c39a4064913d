/**
 * Turns deliveries into plain bodies for listeners: each delivery is settled when its body is handed over.
 *
 * The failure this prevents: a listener that has to settle messages that nobody would deliver again, and that stops hearing
 * when it forgets one.
 */
import type { Delivery } from "./port.ts";

export function settledDeliveries(deliveries: AsyncIterableIterator<Delivery>): AsyncIterableIterator<Uint8Array> {
  const passing: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => passing,
    next: async () => {
      const next = await deliveries.next();
      if (next.done === true) return { done: true, value: undefined };
      await next.value.ack();
      return { done: false, value: next.value.body };
    },
    return: async () => {
      await deliveries.return?.();
      return { done: true, value: undefined };
    },
  };
  return passing;
}
