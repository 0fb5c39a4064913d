/**
 * The lines that wait for one reader, with a bound.
 *
 * The bug this prevents: a watcher that stopped reading and whose events fill the server's memory. If the bound is passed, the
 * stream breaks, as on a real server, and the reader lists again.
 */
export interface Lines extends AsyncIterable<string> {
  push(line: string): void;
  end(): void;
  fail(error: Error): void;
}

export function createLines(most: number, closed: () => void): Lines {
  const waiting: string[] = [];
  let taken = 0;
  let ended = false;
  let broken: Error | undefined;
  let wake: (() => void) | undefined;

  function close(): void {
    if (ended) return;
    ended = true;
    closed();
    wake?.();
  }

  function fail(error: Error): void {
    if (ended) return;
    broken = error;
    close();
  }

  async function* read(): AsyncGenerator<string> {
    try {
      for (;;) {
        const line = waiting[taken];
        if (line !== undefined) {
          taken++;
          if (taken === waiting.length) {
            waiting.length = 0;
            taken = 0;
          }
          yield line;
        } else if (broken !== undefined) {
          throw broken;
        } else if (ended) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          wake = undefined;
        }
      }
    } finally {
      close();
    }
  }

  return {
    push: (line) => {
      if (ended) return;
      if (waiting.length - taken >= most) return fail(new Error(`the reader of a watch is ${most} lines behind`));
      waiting.push(line);
      wake?.();
    },
    end: close,
    fail,
    [Symbol.asyncIterator]: read,
  };
}
