import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { sideBySide } from "./retry-loop.ts";

const passes = new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached.");

t.test("work done side by side is over when all of it is, even if one part fails", async (t) => {
  const gate = Promise.withResolvers<void>();
  const ended: number[] = [];
  const all = sideBySide([1, 2, 3], async (n) => {
    if (n === 1) throw passes;
    await gate.promise;
    ended.push(n);
  });
  all.catch(() => ended.push(0));
  await Promise.resolve();
  gate.resolve();
  await t.rejects(all, { code: "LedgerUnreachable" });
  t.same(ended, [2, 3, 0]);
});

t.test("a bug is thrown before a passing failure: otherwise the loop would go on, and nobody would hear of it", async (t) => {
  const work = (n: number): Promise<never> => Promise.reject(n === 2 ? new TypeError("a bug") : passes);
  await t.rejects(sideBySide([1, 2, 3], work), { message: "a bug" });
});
