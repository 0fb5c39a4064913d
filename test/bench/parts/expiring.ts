/**
 * An API server whose watches can all be ended at once, with the error for a version that was compacted away.
 *
 * The failure this prevents: a bench that waits for etcd's compaction, which comes every five minutes.
 */
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import type { ApiStream, Transport } from "@longshore/kubernetes/transport.ts";

const GONE = JSON.stringify({
  type: "ERROR",
  object: {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason: "Expired",
    message: "too old resource version",
    code: 410,
  },
});
const LOOK_MS = 10;

export interface Expiring extends Transport {
  /** Ends all watches as soon as `count` of them are open. */
  expire(count: number): Promise<void>;
}

export function expiring(transport: Transport): Expiring {
  const watches = new Set<AbortController>();
  return {
    send: transport.send,
    async open(request, signal) {
      const stop = new AbortController();
      const stream = await transport.open(request, AbortSignal.any([signal, stop.signal]));
      return { ...stream, lines: until(stream, stop) };
    },
    async expire(count) {
      while (watches.size < count) await clock.sleep(LOOK_MS);
      for (const it of watches) it.abort();
    },
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };

  async function* until({ lines }: ApiStream, stop: AbortController): AsyncGenerator<string> {
    watches.add(stop);
    try {
      yield* lines;
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      watches.delete(stop);
    }
    if (stop.signal.aborted) yield GONE;
  }
}
