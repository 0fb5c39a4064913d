/**
 * The interface to a test's RabbitMQ: a container and a tree of our own both implement it, so that tests cannot tell which one
 * they have.
 *
 * The failure this prevents: a test that passes only with the kind of server that its author's machine has.
 */
import type { Say } from "../builds/cached.ts";

export type Version = "3.10" | "4.0";

export interface Account {
  readonly user: string;
  readonly password: string;
}

/** One way to get servers: containers, or trees. */
export interface Source {
  /**
   * Makes the image or the tree of this version. If this machine cannot have one, rejects with a sentence of what a person can
   * do.
   */
  bring(version: Version, say: Say): Promise<void>;
  place(version: Version, account: Account): Promise<Place>;
}

/**
 * One server's place: its port and its data stay from one start to the next. A place may be disposed of only while no server
 * runs in it.
 */
export interface Place extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Begins a start. The server accepts connections later, or never if it ends before. */
  start(): Promise<Running>;
  ctl(args: readonly string[]): Promise<string>;
}

export interface Running {
  readonly pid: number;
  ended(): Promise<boolean>;
  lastWords(): Promise<string>;
  /** Resolves when every process of the server is gone. */
  kill(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}
