/**
 * Says after Ctrl-C whether a command was sent.
 *
 * The failure this prevents: a person stops `runs cancel` in its first second, and does not know whether the run is cancelled.
 */
import type { Surroundings } from "./command.ts";

export interface Stopped {
  /** Nothing was sent. */
  readonly no: string;
  /** The broker was just asked to take it, and has not answered. */
  readonly perhaps: string;
}

export interface Sending extends Disposable {
  /** Sends the command, unless the work was stopped before. */
  send(work: () => Promise<unknown>): Promise<void>;
}

/** What was sent before is told by the command itself. */
export function sendingIn({ signal, note }: Pick<Surroundings, "signal" | "note">, stopped: Stopped): Sending {
  let sent: keyof Stopped | "yes" = "no";
  return {
    send: async (work) => {
      signal.throwIfAborted();
      sent = "perhaps";
      await work();
      sent = "yes";
    },
    [Symbol.dispose]: () => {
      if (sent !== "yes" && signal.aborted) note?.(stopped[sent]);
    },
  };
}
