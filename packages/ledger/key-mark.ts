/**
 * The mark of the key file that a ledger belongs to. The first launcher writes it, and every later start compares its own.
 *
 * The failure this prevents: a launcher with another key starts on a ledger in use. It would not recognise the Jobs and the
 * requests of the launchers before it, nor they its own.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";

export const otherKey = (): Failure =>
  new Failure(
    "halt",
    "LedgerOfAnotherKey",
    "This ledger was made with another key than the one in ledger.keyFile: Jobs and requests of its launchers would not be recognised. Give this launcher the first launcher's key file.",
  );
