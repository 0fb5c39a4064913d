/** What is wrong with something a person or a program gave us, and what an adapter says when it could not do its work. */

/** One thing wrong with a message, a definition or a config file: where, which rule, and a sentence its author can act on. */
export interface Problem {
  /** A JSON pointer into what was given ("/data/steps/0/image"), or "" for the whole. */
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

/**
 * What to do next about work that failed. "retry": the same call later may work (connection, time-out, overload).
 * "refuse": it never will, and the code says why. "duplicate": it was done before. "halt": the program must not go on.
 */
export type Disposition = "retry" | "refuse" | "duplicate" | "halt";

/** Adapters translate once into this; nothing further in looks at an HTTP status, an AMQP code or a SQLSTATE. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly disposition: Disposition;
  readonly code: string;

  constructor(disposition: Disposition, code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.disposition = disposition;
    this.code = code;
  }
}

/** Whether the same call may work later: then whoever made it waits and tries again. */
export const isTransient = (error: unknown): error is Failure => error instanceof Failure && error.disposition === "retry";
