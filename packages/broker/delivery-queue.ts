/**
 * Passes messages from the connection that receives them to the lanes that work on them, through one shared iterator.
 *
 * The bugs this prevents: a library's callback that throws into the library (amqplib then closes the connection), a lane that
 * waits for ever after the end, and messages that were received but never taken being forgotten at the end. The giver bounds
 * the queue: the broker's prefetch.
 */
export interface DeliveryQueue<T> {
  give(item: T): void;
  /** Removes and returns the messages that no lane took yet. */
  drop(): readonly T[];
  /** Ends the iteration for lanes that wait now and for those that ask later. Idempotent. */
  end(): void;
  readonly items: AsyncIterableIterator<T>;
}

export function deliveryQueue<T>(onReturn: () => void): DeliveryQueue<T> {
  let ready: T[] = [];
  const waiting: ((result: IteratorResult<T>) => void)[] = [];
  let over = false;
  const done: IteratorResult<T> = { done: true, value: undefined };

  function end(): void {
    over = true;
    for (const tell of waiting.splice(0)) tell(done);
  }

  const items: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => items,
    next: () => {
      if (over) return Promise.resolve(done);
      const [value] = ready.splice(0, 1);
      if (value !== undefined) return Promise.resolve({ done: false, value });
      return new Promise((resolve) => waiting.push(resolve));
    },
    return: () => {
      end();
      onReturn();
      return Promise.resolve(done);
    },
  };

  return {
    items,
    end,
    give: (item) => {
      const tell = over ? undefined : waiting.shift();
      if (tell) tell({ done: false, value: item });
      else ready.push(item);
    },
    drop: () => {
      const dropped = ready;
      ready = [];
      return dropped;
    },
  };
}
