/**
 * The ledger on Postgres: the to-do list of all loops, and the truth about every run.
 *
 * The failures this prevents: a start on a database that forgets committed data, on the ledger of another installation or
 * key, or on a ledger that a newer Longshore has changed.
 */
import type { Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { type Clock, systemClock } from "@longshore/runtime/clock.ts";
import { type Log, silentLog } from "@longshore/runtime/log.ts";
import { acceptGroup } from "./postgres/work/accept-group.ts";
import { admit } from "./postgres/work/admit.ts";
import { definitionQueries } from "./postgres/definitions.ts";
import { openChanges } from "./postgres/changes.ts";
import { type Database, openDatabase, type Statement } from "./postgres/connection.ts";
import { groupQueries } from "./postgres/groups.ts";
import { hourQueries } from "./postgres/events/hours.ts";
import { outboxQueries } from "./postgres/events/outbox.ts";
import { place } from "./postgres/work/place-attempts.ts";
import { otherKey } from "./key-mark.ts";
import type { WorkKind, Ledger } from "./port.ts";
import { pruneQueries } from "./postgres/work/prune.ts";
import { record, recordAnchors } from "./postgres/work/record.ts";
import { runQueries } from "./postgres/runs.ts";
import { epochOf, prepareSchema, PROTOCOL } from "./postgres/schema/version.ts";
import { takeQueries } from "./postgres/work/take-work.ts";

export interface LedgerOptions {
  /** postgres://user:password@host:5432/database */
  readonly url: string;
  readonly installation: Installation;
  /** The mark of the launcher's key (key-mark.ts). Absent: the caller makes no use of a key. */
  readonly keyMark?: string;
  readonly jobName: (run: RunId, step: StepName, attempt: number) => string;
  /** If true, the schema is brought up to date first. If false, a schema that is behind is refused. */
  readonly migrate: boolean;
  readonly log?: Log;
  readonly clock?: Clock;
  /** Most connections in the pool. One more connection, outside the pool, listens. */
  readonly poolMax?: number;
  /** For tests: accepts a database that does not wait for its disk. */
  readonly unsafeForTests?: boolean;
}

export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const { url, installation, jobName, migrate, log = silentLog, clock = systemClock, poolMax = 8 } = options;
  let tell: (kinds: readonly WorkKind[]) => void = () => undefined;
  const database = openDatabase(url, { poolMax, log, onWork: (kinds) => tell(kinds) });
  try {
    if (options.unsafeForTests !== true) await refuseForgetful(database);
    const { schema } = await prepareSchema(database, url, { migrate });
    const epoch = await enter(database, options);
    const parts = { database, epoch, jobName, log };
    const changes = openChanges(url, { clock, log, isOwn: database.isOwn });
    tell = changes.tell;
    const { lease, ...groups } = groupQueries(database, installation);
    return {
      installation,
      epoch,
      admit: (batch) => admit(parts, batch),
      record: (batch) => record(parts, batch),
      recordAnchors: (batch) => recordAnchors(parts, batch),
      place: (asked) => place(parts, asked),
      ...takeQueries(database),
      ...outboxQueries(database, lease),
      ...groups,
      ...definitionQueries(database),
      acceptGroup: (name) => acceptGroup(parts, name),
      lease: async (what, owner, forMs) => (await lease([what], owner, forMs)).length === 1,
      ...runQueries(database),
      ...hourQueries(database),
      ...pruneQueries(database),
      changes: (signal) => changes.listen(signal),
      describe: async () => ({ product: await productOf(database), schema, keyMark: await keyMarkOf(database) }),
      [Symbol.asyncDispose]: async () => {
        await changes.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

const SETTINGS: Statement = {
  name: "settings",
  text: "select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commits",
};

async function refuseForgetful(database: Database): Promise<void> {
  const [settings] = await database.all<{ fsync: string; commits: string }>(SETTINGS);
  const { host, port, database: name } = database.place;
  for (const [setting, value] of [
    ["fsync", settings?.fsync],
    ["synchronous_commit", settings?.commits],
  ])
    if (value === "off") {
      const what = `Postgres at ${host}:${port}/${name} runs with ${setting}=off: it would forget runs that were acknowledged.`;
      throw new Failure("halt", "LedgerForgets", `${what} Set ${setting}=on there, or choose another database for the ledger.`);
    }
}

/** A ledger belongs to one installation. If two processes start at once, both find the row of the quicker one. */
const ENTER: Statement = {
  name: "enter",
  text: `insert into installation (id, protocol) values ($1, ${PROTOCOL}) on conflict do nothing`,
};

/** Only a ledger without a mark takes one: of two first launchers with different keys, the slower one is refused. */
const MARK: Statement = { name: "mark", text: "update installation set key_mark = $1 where key_mark is null" };
const MARKED: Statement = { name: "marked", text: "select key_mark from installation" };

async function keyMarkOf(database: Database): Promise<string | undefined> {
  const [row] = await database.all<{ key_mark: string | null }>(MARKED);
  return row?.key_mark ?? undefined;
}

async function enter(
  database: Database,
  { installation, keyMark }: Pick<LedgerOptions, "installation" | "keyMark">,
): Promise<number> {
  await database.all(ENTER, [installation]);
  const epoch = await epochOf(database, installation);
  if (keyMark !== undefined) {
    await database.all(MARK, [keyMark]);
    if ((await keyMarkOf(database)) !== keyMark) throw otherKey();
  }
  return epoch;
}

const VERSION: Statement = { name: "version", text: "select current_setting('server_version') as version" };

async function productOf(database: Database): Promise<string> {
  const [row] = await database.all<{ version: string }>(VERSION);
  return `Postgres ${row?.version.split(" ")[0] ?? ""}`;
}
