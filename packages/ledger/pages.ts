/**
 * The console's view of the ledger: what pages show, and who is signed in. It writes nothing but sign-ins.
 *
 * Runs change by commands over the broker alone, so that whoever may see the console's database role can still change no run.
 */
import type { Actor } from "@longshore/contract/messages/command.ts";
import type { DefinitionName, Installation } from "@longshore/contract/ids.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { Ledger, RunRow } from "./port.ts";

export type Person = Actor;

export interface Pages extends AsyncDisposable, Pick<Ledger, "definitions" | "find" | "list" | "story" | "now"> {
  readonly installation: Installation;
  /** The definition of this name, if a launcher has put one. */
  definition(name: string): Promise<Definition | undefined>;
  /** The newest runs of each of these definitions, the newest first. */
  recent(definitions: readonly DefinitionName[], most: number): Promise<ReadonlyMap<DefinitionName, readonly RecentRun[]>>;
  readonly signIns: SignIns;
}

export interface RecentRun extends Pick<RunRow, "id" | "state" | "outcome" | "acceptedAtMs" | "endedAtMs" | "newest"> {
  readonly by: Person | undefined;
  readonly definition: DefinitionName;
  /** How long its programs ran, from the first start to the end. */
  readonly startedAtMs: number | undefined;
}

/** Links and sessions. Only hashes are kept: whoever reads the table can sign in with nothing of it. */
export interface SignIns {
  /** Keeps a link that may be used once, until `forMs` have passed. */
  offer(link: Uint8Array, person: Person, forMs: number): Promise<void>;
  /** Uses the link up and begins a session. `undefined`: there is no such link, or it was used, or it is too old. */
  redeem(link: Uint8Array, session: Uint8Array, forMs: number): Promise<Person | undefined>;
  /** Returns whose session it is. */
  whose(session: Uint8Array): Promise<Person | undefined>;
  end(session: Uint8Array): Promise<void>;
}
