/**
 * Tokens of programs in Postgres.
 *
 * The failure this prevents: a console that is broken into and makes itself a token that outlives the break-in. Its role of the
 * database only reads this table: `longshore token` writes it, as the ledger's owner.
 */
import type { TokenRow, Tokens } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";

const COLUMNS = "name, made_at, until, until <= now() as is_expired";

const ADD: Statement = {
  name: "add-token",
  text: `
insert into token (name, hash, until) values ($1, $2, now() + make_interval(secs => $3::float8 / 1000))
on conflict (name) do nothing returning ${COLUMNS}`,
};
const LIST: Statement = { name: "list-tokens", text: `select ${COLUMNS} from token order by name` };
const REMOVE: Statement = { name: "remove-token", text: `delete from token where name = $1 returning ${COLUMNS}` };
const WHICH: Statement = { name: "which-token", text: `select ${COLUMNS} from token where hash = $1` };

interface Columns {
  readonly name: string;
  readonly made_at: number;
  readonly until: number;
  readonly is_expired: boolean;
}

export function tokenQueries(database: Database): Tokens {
  const rows = async (statement: Statement, values: readonly unknown[] = []): Promise<readonly TokenRow[]> =>
    (await database.all<Columns>(statement, values)).map(({ name, made_at, until, is_expired }) => ({
      ...{ name, madeAtMs: made_at, untilMs: until, isExpired: is_expired },
    }));
  return {
    add: async (name, token, forMs) => (await rows(ADD, [name, token, forMs])).length > 0,
    list: () => rows(LIST),
    remove: async (name) => (await rows(REMOVE, [name])).length > 0,
    which: async (token) => (await rows(WHICH, [token]))[0],
  };
}
