import type { DefinitionName, RunId } from "@longshore/contract/ids.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { RecentRun } from "@longshore/ledger/pages.ts";
import t from "tap";
import { cardOf } from "./card.ts";

const body = { name: "export", title: "Export a month", image: "busybox", command: ["true"] } as unknown as Definition;
const definition = { body };

/** The newest first, each a minute before the one above it. */
function recent(...runs: readonly Partial<RecentRun>[]): readonly RecentRun[] {
  return runs.map((it, at) => ({
    definition: "export" as DefinitionName,
    id: `export/${at}` as RunId,
    state: "ended",
    outcome: "succeeded",
    acceptedAtMs: -60_000 * at,
    startedAtMs: -60_000 * at + 1_000,
    endedAtMs: -60_000 * at + 5_000,
    isReached: true,
    by: undefined,
    newest: { type: "run.succeeded" },
    ...it,
  }));
}

t.test("a job that was never run has no marks, no last time and no usual time", async (t) => {
  t.same(cardOf(definition, [], undefined, true), { name: "export", title: "Export a month", mayRun: true, marks: [] });
});

t.test("marks stand from the oldest to the newest, and the last run says who asked and why it failed", async (t) => {
  const card = cardOf(
    definition,
    recent(
      { outcome: "failed", by: { name: "Ada" }, newest: { type: "run.failed", code: "ExitCode" } },
      {},
      { outcome: "cancelled" },
    ),
    undefined,
    true,
  );
  t.same(card.marks, ["stopped", "succeeded", "failed"]);
  t.match(card.last, { id: "export/0", state: "failed", by: { name: "Ada" }, code: "ExitCode" });
});

t.test("one run that lasted a night, and runs that failed at once, do not change the usual time", async (t) => {
  const { usualMs } = cardOf(
    definition,
    recent(
      {},
      { outcome: "failed", endedAtMs: 1_000 },
      { endedAtMs: 36_000_000 },
      {},
      { state: "active", outcome: undefined, endedAtMs: undefined },
    ),
    undefined,
    true,
  );
  t.equal(usualMs, 4_000);
});

t.test("of a run that one may not see, how it went is told, and neither its id nor whose it was", async (t) => {
  const { last, marks } = cardOf(
    definition,
    recent({ outcome: "failed", by: { name: "Ada" }, isReached: false }),
    undefined,
    true,
  );
  t.same(marks, ["failed"]);
  t.same(last, { state: "failed", askedAtMs: 0, startedAtMs: 1_000, endedAtMs: 5_000 });
});

t.test("of twenty that succeeded the times are told, of fewer none, and the rate always with its number", async (t) => {
  const went = { n: 25, succeeded: 20, timed: 20, halfWithinMs: 4_000, mostWithinMs: 9_000, lastSuccessMs: 7 };
  const { times, rate, lastSuccessMs } = cardOf(definition, [], went, true);
  t.same(
    { times, rate, lastSuccessMs },
    { times: { halfMs: 4_000, mostMs: 9_000 }, rate: { succeeded: 20, of: 25 }, lastSuccessMs: 7 },
  );
  const few = cardOf(definition, [], { ...went, timed: 19 }, true);
  t.notOk("times" in few);
  t.same(few.rate, { succeeded: 20, of: 25 });
  const none = cardOf(definition, [], { ...went, n: 0, succeeded: 0, timed: 0 }, true);
  t.notOk("rate" in none, "all were stopped");
});
