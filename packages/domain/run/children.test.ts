/** A step whose program may make pods of its own ends when they are gone: the tables wait for a listing that says so. */
import t from "tap";
import { ends, input, launched, NOW, passed, planOf, played, runOf, step, toStep } from "../attempt/testing/examples.ts";
import { problemsOf } from "../attempt/testing/invariants.ts";
import type { AttemptInput } from "../attempt/input.ts";
import type { RunInput } from "./advance.ts";
import { isParked, type PlannedStep } from "./record.ts";
import { isOutOfTheWay } from "./steps.ts";

const TOKEN: Partial<PlannedStep> = { uses: { serviceAccount: "worker", token: true } };
const some: AttemptInput = { kind: "children", found: "some" };
const spawning = () => runOf(planOf([step("main", [], TOKEN)], { retriesMax: 0 }, true));
const cancel: RunInput = { kind: "cancel", cancel: {} };
const running = toStep("main", input.placed, input.claimDue, input.created, input.started);

interface Case {
  readonly name: string;
  readonly inputs: readonly RunInput[];
  /** What is told last before the children are gone, and then. */
  readonly before: string;
  readonly then: string;
}

const cases: readonly Case[] = [
  { name: "succeeded", inputs: [...running, ...toStep("main", input.complete)], before: "started", then: "succeeded" },
  { name: "failed", inputs: [...running, ...toStep("main", input.failed)], before: "started", then: "failed" },
  { name: "was cancelled", inputs: [...running, cancel, ...toStep("main", input.failed)], before: "cancelling", then: "cancelled" },
  { name: "was deleted by others", inputs: [...running, ...toStep("main", input.deleting, input.lookedDeleted)], before: "started", then: "failed" },
  { name: "vanished", inputs: [...running, ...toStep("main", input.gone)], before: "started", then: "lost" },
  { name: "succeeded before a cancel came", inputs: [...running, ...toStep("main", input.complete), cancel], before: "cancelling", then: "succeeded" },
  { name: "vanished while it was cancelled", inputs: [...running, cancel, ...toStep("main", input.gone)], before: "cancelling", then: "cancelled" },
]; // biome-ignore format: a table is read down its columns

for (const { name, inputs, before, then } of cases)
  t.test(`a program with a token that ${name} leaves its step open until its children are gone`, async (t) => {
    const left = played(spawning(), [...inputs, ...toStep("main", some)]);
    t.equal(left.told.at(-1)?.type, `run.${before}`);
    t.match(left.record.attempts[0], { state: "ended", dueMs: NOW + 2_000 }, "it is looked at again");
    const gone = played(left.record, toStep("main", input.children));
    t.equal(gone.told.at(-1)?.type, `run.${then}`);
    t.match(gone.record.attempts[0], { state: "ended", dueMs: NOW }, "its hold is taken off at once");
    for (const { record } of [left, gone]) t.same(problemsOf(record), []);
  });

t.test("the next step, and a retry, open when the children are gone", async (t) => {
  const two = runOf(planOf([step("a", [], TOKEN), step("b", ["a"])]));
  const left = played(two, [...launched("a"), ...ends("a", "complete")]);
  t.equal(left.record.run.steps["b"]?.state, "blocked");
  t.equal(played(left.record, toStep("a", input.children)).record.run.steps["b"]?.state, "open");

  const again = runOf(planOf([step("main", [], TOKEN)], { retriesOn: ["failure"] }, true));
  const failed = played(again, [...running, ...toStep("main", input.failed)]);
  t.equal(failed.record.attempts.length, 1);
  t.equal(played(failed.record, toStep("main", input.children)).record.attempts.length, 2);
});

t.test("a run that was given up has ended, and its Job's name is kept until its children are gone", async (t) => {
  const { record, told } = played(spawning(), [...running, { kind: "abandon" }]);
  t.equal(told.at(-1)?.type, "run.lost");
  const [attempt] = played(record, toStep("main", input.released)).record.attempts;
  t.match(attempt, { state: "ended", notes: { children: true } }, "nobody would look for them any more");
  const after = played(record, toStep("main", input.children, input.released));
  t.equal(after.record.attempts[0]?.state, "done");
  t.same(after.told, []);
  t.same(problemsOf(record), []);
});

t.test("an operator may give up a run that waits for children that do not go", async (t) => {
  const { record, told } = played(spawning(), [...running, ...toStep("main", input.complete, some), { kind: "abandon" }]);
  t.equal(told.at(-1)?.type, "run.lost");
  t.same(problemsOf(record), []);
});

t.test("an attempt with children is in the next one's way, also if its name is kept", async (t) => {
  const open = toStep("main", input.placed, input.claimDue, input.started, input.complete, { ...input.kept, begunAtMs: NOW });
  const [attempt] = played(spawning(), open).record.attempts;
  t.ok(attempt && !isParked(attempt) && !isOutOfTheWay(attempt));
  const [clear] = played(spawning(), [...open, ...toStep("main", input.children)]).record.attempts;
  t.ok(clear && isParked(clear));
});

t.test("what never ran has no children, and neither has a program without a token", async (t) => {
  for (const inputs of [
    toStep("main", input.placed, input.claimDue, input.refused),
    toStep("main", input.placed, input.claimDue, input.created, { ...input.failed, evidence: { started: "no" } }),
    [cancel],
  ])
    t.ok(played(spawning(), inputs).record.run.outcome, "it ended");
  const plain = runOf(planOf([step("main")], {}, true));
  t.equal(played(plain, [...running, ...toStep("main", input.complete)], passed).record.run.outcome, "succeeded");
});
