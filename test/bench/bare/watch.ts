/** A bare watch beside the watcher: it tells when each run's Job was created and finished. */
import { ANNOTATIONS } from "@longshore/domain/run/marks.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import type { BenchJob } from "../parts/pods.ts";

export interface BareWatch extends AsyncDisposable {
  created(run: string): Promise<BenchJob>;
  /** On the bench's own clock, as `performance.now()` tells it. */
  finished(run: string): Promise<number>;
}

interface Line {
  readonly type: string;
  readonly object: BenchJob & {
    readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  };
}

/** `selector`: the labels of the Jobs that are watched; absent, all are. */
export async function openBareWatch(transport: Transport, namespace: string, selector?: string): Promise<BareWatch> {
  const stop = new AbortController();
  const only = selector === undefined ? "" : `&labelSelector=${encodeURIComponent(selector)}`;
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs?watch=true&timeoutSeconds=3600${only}`;
  const { status, lines } = await transport.open({ method: "GET", path }, stop.signal);
  if (status !== 200) throw new Error(`a bare watch was answered ${status}`);
  const created = promises<BenchJob>();
  const finished = promises<number>();
  const reading = read();

  async function read(): Promise<void> {
    try {
      for await (const text of lines) {
        const atMs = performance.now();
        const { object } = JSON.parse(text) as Line;
        const run = object.metadata.annotations?.[ANNOTATIONS.runId] ?? "";
        created(run).resolve(object);
        const isOver = object.status?.conditions?.some(({ type, status: is }) => type === "Complete" && is === "True") ?? false;
        if (isOver) finished(run).resolve(atMs);
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  }

  return {
    created: (run) => created(run).promise,
    finished: (run) => finished(run).promise,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await reading;
    },
  };
}

function promises<T>(): (key: string) => PromiseWithResolvers<T> {
  const all = new Map<string, PromiseWithResolvers<T>>();
  return (key) => {
    const promised = all.get(key) ?? Promise.withResolvers<T>();
    all.set(key, promised);
    return promised;
  };
}
