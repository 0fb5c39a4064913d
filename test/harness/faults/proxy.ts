/**
 * A TCP proxy of ours that breaks connections as networks do, at a place that the test chooses.
 *
 * The failure this prevents: believing that a client survives a lost answer because it survived a closed socket. Here a request
 * may arrive and its answer not; a connection may stay open and carry nothing, or die after so many bytes.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export type Direction = "toServer" | "toClient";

export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** The same URL with the proxy's address instead of the server's. */
  url(original: string): string;
  /** Resets every connection that is open now. New connections pass. */
  cut(): void;
  /** While on, connections stay open, are accepted, and carry nothing in either direction; the bytes are kept for later. */
  blackhole(on: boolean): void;
  /** Delays every piece by this much, in both directions. */
  delay(ms: number): void;
  /** Passes n-1 more bytes in this direction, and resets the connection that carries the next one. Happens once. */
  cutAfterBytes(direction: Direction, n: number): void;
  /** While on, the bytes of clients arrive, and the server's answers are thrown away. */
  dropReplies(on: boolean): void;
  /** While on, new connections are reset at once. */
  refuse(on: boolean): void;
  /** Resolves when this many bytes in all have passed in this direction since the proxy began: a signal to wait for. */
  received(bytes: number, direction?: Direction): Promise<void>;
  /** Resolves when the next piece that holds these words passes. */
  saw(words: string, direction?: Direction): Promise<void>;
  /** The bytes that have come so far. */
  count(direction: Direction): number;
  readonly connections: number;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

export async function tcpProxy(targetHost: string, targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const counts: Record<Direction, number> = { toServer: 0, toClient: 0 };
  const cutAt: Partial<Record<Direction, number>> = {};
  const looking: { direction: Direction; words: string; resolve: () => void }[] = [];
  const waiting: { direction: Direction; bytes: number; resolve: () => void }[] = [];
  let silent = false;
  let deaf = false;
  let refusing = false;
  let delayMs = 0;
  let opened = 0;

  const reset = (pair: Pair): void => {
    pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.resetAndDestroy();
  };

  const pass = (pair: Pair, direction: Direction, chunk: Buffer): void => {
    const before = counts[direction];
    counts[direction] += chunk.length;
    for (const it of looking.filter((it) => it.direction === direction && chunk.includes(it.words))) {
      looking.splice(looking.indexOf(it), 1);
      it.resolve();
    }
    for (const it of waiting) if (it.direction === direction && counts[direction] >= it.bytes) it.resolve();
    const to = direction === "toServer" ? pair.server : pair.client;
    const at = cutAt[direction];
    if (at !== undefined && counts[direction] >= at) {
      delete cutAt[direction];
      to.write(chunk.subarray(0, at - before - 1), () => reset(pair));
      return;
    }
    if (direction === "toClient" && deaf) return;
    if (delayMs === 0) to.write(chunk);
    else setTimeout(() => to.writable && to.write(chunk), delayMs);
  };

  const listener = createServer({ noDelay: true }, (client) => {
    if (refusing) return void client.resetAndDestroy();
    opened++;
    const pair: Pair = { client, server: connect({ host: targetHost, port: targetPort, noDelay: true }) };
    pairs.add(pair);
    for (const [from, direction] of [
      [client, "toServer"],
      [pair.server, "toClient"],
    ] as const) {
      from.on("data", (chunk) => pass(pair, direction, chunk));
      from.on("error", () => reset(pair));
      from.on("close", () => (delayMs === 0 ? end(pair) : setTimeout(() => end(pair), delayMs)));
      if (silent) from.pause();
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server without a port");
  const { port } = address;

  function end(pair: Pair): void {
    pairs.delete(pair);
    pair.client.end();
    pair.server.end();
  }

  return {
    port,
    url: (original) => Object.assign(new URL(original), { host: `127.0.0.1:${port}` }).href,
    cut: () => [...pairs].forEach(reset),
    blackhole: (on) => {
      silent = on;
      for (const { client, server } of pairs) for (const it of [client, server]) it[on ? "pause" : "resume"]();
    },
    delay: (ms) => void (delayMs = ms),
    cutAfterBytes: (direction, n) => void (cutAt[direction] = counts[direction] + n),
    dropReplies: (on) => void (deaf = on),
    refuse: (on) => void (refusing = on),
    received: (bytes, direction = "toServer") =>
      counts[direction] >= bytes ? Promise.resolve() : new Promise((resolve) => waiting.push({ direction, bytes, resolve })),
    saw: (words, direction = "toServer") => new Promise((resolve) => looking.push({ direction, words, resolve })),
    count: (direction) => counts[direction],
    get connections() {
      return opened;
    },
    [Symbol.asyncDispose]: async () => {
      [...pairs].forEach(reset);
      listener.close();
      await once(listener, "close");
    },
  };
}
