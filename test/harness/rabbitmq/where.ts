/**
 * Where a test's RabbitMQ runs: what a container and a tree of our own both offer, so that tests cannot tell which it is.
 *
 * The failure this prevents: a test that passes only where its author's machine has the server from.
 */
import type { Say } from "../made/cached.ts";

export type Version = "3.10" | "4.0";

export interface Account {
  readonly user: string;
  readonly password: string;
}

/** A way to have servers. */
export interface Source {
  /** What servers of this version are started from; rejects, with what a person can do, where this way is closed. */
  bring(version: Version, say: Say): Promise<void>;
  place(version: Version, account: Account): Promise<Place>;
}

/** One server's place: its port and its data stay from one start to the next. Disposed of when nothing runs in it. */
export interface Place extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Begins a start; connections are accepted later, or never if it ends before. */
  start(): Promise<Running>;
  ctl(args: readonly string[]): Promise<string>;
}

export interface Running {
  readonly pid: number;
  ended(): Promise<boolean>;
  lastWords(): Promise<string>;
  /** Resolves when all of it is gone. */
  kill(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}
