/** Each error ends the command with its code, and a sentence if a person can mend it. */
import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { Usage } from "./command.ts";
import { explain } from "./explain.ts";

const login = new Failure("halt", "LedgerLogin", "The ledger refuses the password.");
const broken = new Failure("halt", "BrokerLogin", "The broker refuses the password.");

for (const { name, error, want } of [
  { name: "a wrong command line", error: new Usage("so not"), want: { exitCode: 64, text: /^so not\n/ } },
  { name: "a failure", error: login, want: { exitCode: 1, text: /^The ledger refuses the password\.$/ } },
  { name: "a failure that ended a loop", error: new Error("the loop failed", { cause: login }), want: { exitCode: 1, text: /^The ledger refuses/ } },
  {
    name: "the same failure of two loops, said once",
    error: new AggregateError([new Error("a", { cause: login }), new Error("b", { cause: login })]),
    want: { exitCode: 1, text: /^The ledger refuses the password\.$/ },
  },
  { name: "two failures", error: new AggregateError([login, new Error("b", { cause: broken })]), want: { exitCode: 1, text: /ledger.*\n.*broker/ } },
  { name: "a bug", error: new TypeError("x is not a function"), want: { exitCode: 2, text: /this is a bug/ } },
  { name: "a bug beside a failure", error: new AggregateError([login, new TypeError("x")]), want: { exitCode: 2, text: /this is a bug/ } },
  { name: "something that is no error", error: "thrown", want: { exitCode: 2, text: /thrown/ } },
])
  t.match(explain(error), want, `explains ${name}`); // biome-ignore format: a table is read down its columns
