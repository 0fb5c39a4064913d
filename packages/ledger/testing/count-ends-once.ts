/** For tests: a process that counts the ends of runs once, to be killed in the middle of it. */
import { ledgerOn } from "./conformance-postgres.ts";

async function main(url: string): Promise<void> {
  await using ledger = await ledgerOn(url);
  await ledger.countEnds(1_000);
}

if (import.meta.main) await main(process.argv[2] ?? "");
