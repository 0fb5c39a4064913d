/**
 * A process as the simulation sees it: a clock, and answers that reach it only while it runs.
 *
 * The bug this prevents: a "crash" that is really an orderly stop. After a crash no line of the process runs here, not even a
 * `finally`: its promises never settle. Requests that it had sent go on their way.
 */
import { type Clock, sleepBy } from "@longshore/runtime/clock.ts";

export interface Mortal {
  readonly name: string;
  readonly clock: Clock;
  state(): "running" | "frozen" | "dead";
  /** Ends the process as kill -9 does. */
  crash(): void;
  /** Freezes the process as SIGSTOP does: timers pass and answers arrive, and the process learns of them at the thaw. */
  freeze(): void;
  thaw(): void;
  /** Passes an answer of the world on: at once while the process runs, otherwise at the thaw, or never. */
  hear<T>(answer: Promise<T>): Promise<T>;
  /** Runs `work` once the process is running, or never. */
  wake(work: () => void): void;
}

export interface MortalOptions {
  readonly name: string;
  readonly clock: Clock;
  /** The error of the process's own clock. */
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

  /**
   * Does each piece of work, and everything that follows from it, before the next piece: a due timer must not overtake an
   * answer that came before it.
   */
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
    // No timer is exact to the millisecond: the random fraction decides the order of timers that are close together.
    const callOff = clock.alarm(ms + clock.random(), () => wake(() => off || ring()));
    return () => {
      off = true; // an alarm that was due in the freeze rings after the thaw, unless earlier work calls it off
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
