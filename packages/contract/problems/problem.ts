/** Problems of something that a person or a program gave us, and failures of an adapter that could not do its work. */

/**
 * One problem of a message, a definition or a config file: its place, the broken rule, and a sentence the author can act on.
 */
export interface Problem<C extends string = string> {
  /** A JSON pointer into the input ("/data/steps/0/image"), or "" for the whole input. */
  readonly path: string;
  readonly code: C;
  readonly message: string;
}

/**
 * The next step for work that failed. "retry": the same call may work later (connection, time-out, overload). "refuse": the
 * call will never work, and the code says why. "duplicate": the work was done before. "halt": the program must not go on.
 */
export type Disposition = "retry" | "refuse" | "duplicate" | "halt";

/**
 * Adapters turn every error into a `Failure`, once; no code behind them looks at an HTTP status, an AMQP code or a SQLSTATE.
 */
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

/** True if the same call may work later: then the caller waits and tries again. */
export const isTransient = (error: unknown): error is Failure => error instanceof Failure && error.disposition === "retry";
