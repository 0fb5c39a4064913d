/**
 * Links and sessions of the console in Postgres.
 *
 * The failure this prevents: a link that signs in twice, because two requests found it unused at the same moment. Using it up
 * and beginning the session are one statement.
 */
import type { Asker } from "@longshore/domain/access/access.ts";
import type { SignIns } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";

const KEEP: Statement = {
  name: "keep-sign-in",
  text: `
with old as (delete from sign_in where until < now())
insert into sign_in (hash, kind, person, until) values ($1, $4, $2, now() + make_interval(secs => $3::float8 / 1000))`,
};

const REDEEM: Statement = {
  name: "redeem-link",
  text: `
with used as (delete from sign_in where hash = $1 and kind = 'link' returning person, until)
insert into sign_in (hash, kind, person, until)
select $2, 'session', person, now() + make_interval(secs => $3::float8 / 1000) from used where until > now() returning person`,
};

const WHOSE: Statement = {
  name: "whose-session",
  text: "select person from sign_in where hash = $1 and kind = 'session' and until > now()",
};

const END: Statement = { name: "end-session", text: "delete from sign_in where hash = $1 and kind = 'session'" };

export function signInQueries(database: Database): SignIns {
  const person = async (statement: Statement, values: readonly unknown[]): Promise<Asker | undefined> =>
    (await database.all<{ person: Asker }>(statement, values))[0]?.person;
  return {
    offer: async (link, whose, forMs) => void (await database.all(KEEP, [link, JSON.stringify(whose), forMs, "link"])),
    begin: async (session, whose, forMs) => void (await database.all(KEEP, [session, JSON.stringify(whose), forMs, "session"])),
    redeem: (link, session, forMs) => person(REDEEM, [link, session, forMs]),
    whose: (session) => person(WHOSE, [session]),
    end: async (session) => void (await database.all(END, [session])),
  };
}
