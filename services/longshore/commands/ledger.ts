/** `longshore ledger`: prints what the owner of the ledger's database has to do. */
import { ROLES, roleOf, rolesSql } from "@longshore/ledger/postgres/schema/roles.ts";
import { command, family } from "../command.ts";

export const ledger = family({
  name: "ledger",
  summary: "print the SQL for the database's roles, one for each service",
  more: `
  longshore ledger roles | psql postgres://owner@host/longshore`,
  verbs: {
    roles: command({
      name: "ledger roles",
      summary: "print the SQL that makes a role for each service, with the rights that it needs and no others",
      usage: ["[--role ROLE]", "| psql postgres://owner@host/longshore"],
      options: {
        role: { type: "string", value: "ROLE", words: ROLES, about: "print only this role" },
      },
      more: `
The owner of the ledger's schema runs it in the ledger's database: once after the first start of a launcher as owner, which makes the schema, and again after each upgrade. A role gets no password here; in psql: \\password ${roleOf("recorder")}

${roleOf("launcher")} is for a launcher with ledger.migrate: false, and for these commands. ${roleOf("recorder")} can read the story of each run, no request, and writes only what its sinks were told. ${roleOf("console")} reads runs, and writes only who signed in and who did what. The watcher needs no ledger.`,
      async run({ role }, _, { out }) {
        out(rolesSql(ROLES.filter((it) => role === undefined || it === role)));
        return 0;
      },
    }),
  },
});
