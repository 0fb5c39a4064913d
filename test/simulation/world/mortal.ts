/**
 * A process as the simulation sees it: a clock and ears. What it awaits reaches it only while it runs.
 *
 * The bug this prevents: a "crash" that is really an orderly stop. Here nothing of it runs any further, not even a `finally`:
 * its promises never settle, while whatever it had sent goes on its way.
 */
import { type Clock, sleepBy } from "@longshore/runtime/clock.ts";

export interface Mortal {
  readonly name: string;
  readonly clock: Clock;
  state(): "running" | "frozen" | "dead";
  /** As by kill -9. */
  crash(): void;
  /** As by SIGSTOP: timers pass and answers arrive, and it learns of them at the thaw. */
  freeze(): void;
  thaw(): void;
  /** What the world answers: heard while running, at the thaw, or never. */
  hear<T>(answer: Promise<T>): Promise<T>;
  /** Does this as soon as it runs, or never. */
  wake(work: () => void): void;
}

export interface MortalOptions {
  readonly name: string;
  readonly clock: Clock;
  /** How far its own clock is off. */
  readonly skewMs?: number;
}

export function mortal({ name, clock, skewMs = 0 }: MortalOptions): Mortal {
  let state: "running" | "frozen" | "dead" = "running";
  let pending: (() => void)[] = [];
  let catchingUp = false;

  function wake(work: () => void): void {
    if (state === "running" && !catchingUp) work();
    else if (state !== "dead") pending.push(work);
  }

  /** Each with what follows from it before the next: a timer that was due does not overtake an answer that came before it. */
  async function catchUp(): Promise<void> {
    catchingUp = true;
    for (let work = pending.shift(); work !== undefined; work = pending.shift()) {
      work();
      await clock.sleep(0);
      if (state !== "running") break;
    }
    catchingUp = false;
  }

  function alarm(ms: number, ring: () => void): () => void {
    let off = false;
    // Nothing is punctual to the millisecond; the fraction puts neighbours in one order or the other.
    const callOff = clock.alarm(ms + clock.random(), () => wake(() => off || ring()));
    return () => {
      off = true; // one that was due while it was frozen rings after the thaw, unless what came before it calls it off
      callOff();
    };
  }
  const sleep = sleepBy(alarm);

  function hear<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => wake(() => resolve(value)),
        (error: unknown) => wake(() => reject(error)),
      );
    });
  }

  return {
    name,
    state: () => state,
    wake,
    clock: {
      now: () => clock.now() + skewMs,
      random: () => clock.random(),
      alarm,
      sleep: (ms, signal) => hear(sleep(ms, signal)),
    },
    hear,
    crash: () => {
      state = "dead";
      pending = [];
    },
    freeze: () => {
      if (state === "running") state = "frozen";
    },
    thaw: () => {
      if (state !== "frozen") return;
      state = "running";
      void catchUp();
    },
  };
}
