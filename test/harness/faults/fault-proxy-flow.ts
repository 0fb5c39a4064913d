/**
 * One answer on its way through the fault proxy. Its pieces are passed on at once, late, in part, with something added, or not
 * at all.
 *
 * The failure this prevents: testing only faults that begin with a request. A watch may die long after its request, of a fault
 * that its server never notices.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Asked, Trouble } from "./fault-proxy-faults.ts";

/** Delays, losses and resets that any piece of an answer may meet. `random` returns a number in [0, 1). */
export interface Weather {
  readonly latencyMs: number;
  readonly jitterMs: number;
  /** The share of pieces that are lost. A lost piece comes `lossMs` later, and all pieces behind it wait for it. */
  readonly loss: number;
  readonly lossMs: number;
  /** The share of pieces at which the connection is reset. */
  readonly resets: number;
  readonly random: () => number;
}

export interface Flow {
  readonly asked: Asked;
  pass(chunk: Buffer): void;
  /** Makes this trouble in the rest of the answer. */
  meet(trouble: Trouble): void;
  /** Passes nothing more on; the connection stays open. */
  silence(): void;
  reset(): void;
  /** Adds a line now. */
  say(line: string): void;
  /** The server's answer is over. Resolves when every piece that was held back has been passed on. */
  end(): Promise<void>;
}

export interface FlowOptions {
  readonly asked: Asked;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly weather: () => Weather | undefined;
  readonly signal: AbortSignal;
}

export function flow({ asked, response, socket, weather, signal }: FlowOptions): Flow {
  let left: { bytes: number; readonly then: "reset" | "silence" } | undefined;
  let halving = false;
  let over = false;
  let queue: Promise<void> | undefined; // the pieces that the weather holds back, in order

  const write = (bytes: Buffer | string): void => void (!over && response.write(bytes));

  function reset(): void {
    over = true;
    socket.resetAndDestroy();
  }

  function halve(chunk: Buffer): void {
    const end = chunk.indexOf("\n");
    write(chunk.subarray(0, Math.floor((end === -1 ? chunk.length : end) / 2)));
    over = true;
    response.end();
  }

  function passUpTo(limit: NonNullable<typeof left>, chunk: Buffer): void {
    write(chunk.subarray(0, limit.bytes));
    limit.bytes -= chunk.length;
    if (limit.bytes > 0) return;
    if (limit.then === "silence") over = true;
    // Waits until the written bytes are sent: a reset would drop them.
    else response.write("", () => reset());
  }

  function arrive(chunk: Buffer): void {
    if (over) return;
    if (halving) halve(chunk);
    else if (left) passUpTo(left, chunk);
    else write(chunk);
  }

  async function travel(chunk: Buffer, { latencyMs, jitterMs, loss, lossMs, resets, random }: Weather): Promise<void> {
    await systemClock.sleep(latencyMs + jitterMs * random() + (random() < loss ? lossMs : 0), signal);
    if (signal.aborted) return;
    if (random() < resets) reset();
    else arrive(chunk);
  }

  return {
    asked,
    reset,
    silence: () => void (over = true),
    say: (line) => write(`${line}\n`),
    pass(chunk) {
      const now = weather();
      if (now !== undefined) queue = (queue ?? Promise.resolve()).then(() => travel(chunk, now));
      else if (queue === undefined) arrive(chunk);
      else queue = queue.then(() => arrive(chunk));
    },
    meet(trouble) {
      if (trouble.kind === "cut") left = { bytes: trouble.afterBytes, then: "reset" };
      if (trouble.kind === "silent") left = { bytes: trouble.afterBytes, then: "silence" };
      if (trouble.kind === "half a line") halving = true;
      if (trouble.kind === "line") write(`${trouble.text}\n`);
      if (left?.bytes === 0) passUpTo(left, Buffer.alloc(0));
    },
    async end() {
      await queue;
      if (!over) response.end();
    },
  };
}
