/** When failed slices are tolerated. */
import t from "tap";
import type { Evidence } from "@longshore/contract/messages/fact.ts";
import { moveAttempt } from "./lifecycle.ts";
import { after, closing, context, input, live } from "./testing/examples.ts";

const failedWith = (reason: string, failed: string, more: Partial<Evidence> = {}) => ({
  ...input.failed,
  evidence: { ...input.failed.evidence, slices: { count: 9, succeeded: 6, failed, reason }, ...more },
});

interface Case {
  readonly name: string;
  readonly said: ReturnType<typeof failedWith>;
  readonly failedMax: number | undefined;
  readonly from?: typeof live;
  readonly want: string;
}

const externally = after(live, [input.deleting]);

// biome-ignore format: rows are read side by side
const cases: readonly Case[] = [
  { name: "as many slices failed as may",               said: failedWith("FailedIndexes", "1,3"),            failedMax: 2, want: "succeeded" },
  { name: "fewer slices failed than may",               said: failedWith("FailedIndexes", "1"),              failedMax: 2, want: "succeeded" },
  { name: "more slices failed than may",                said: failedWith("FailedIndexes", "1-3"),            failedMax: 2, want: "failed" },
  { name: "others were ended since too many failed",    said: failedWith("MaxFailedIndexesExceeded", "1,3"), failedMax: 2, want: "failed" },
  { name: "the time was over with few failed",          said: failedWith("DeadlineExceeded", "1"),           failedMax: 2, want: "failed" },
  { name: "no slice may fail",                          said: failedWith("FailedIndexes", "1"),              failedMax: 0, want: "failed" },
  { name: "the step has no slices",                     said: failedWith("FailedIndexes", ""),               failedMax: undefined, want: "failed" },
  { name: "all slices had ended when the cancel came",  said: failedWith("FailedIndexes", "1,3"),            failedMax: 2, from: closing, want: "succeeded" },
  { name: "too many had failed when the cancel came",   said: failedWith("FailedIndexes", "1-3"),            failedMax: 2, from: closing, want: "cancelled" },
  { name: "somebody deletes the Job when all had ended", said: failedWith("FailedIndexes", "1"),             failedMax: 2, from: externally, want: "succeeded" },
];

for (const { name, said, failedMax, from = live, want } of cases)
  t.test(`if ${name}, the attempt has ${want}`, async (t) => {
    t.equal(moveAttempt(from, said, { ...context(), failedMax }).attempt.outcome?.result, want);
  });

t.test("a step that has succeeded over nothing has not started", async (t) => {
  const nothing = { ...input.complete, evidence: { started: "no", slices: { count: 0, succeeded: 0, failed: "" } } } as const;
  const { attempt, news } = moveAttempt(live, nothing, context());
  t.match(attempt, { state: "ended", started: "no", outcome: { result: "succeeded" } });
  t.same(news, []);
});

t.test("progress is told once for each number of ended slices, in whatever order it is heard", async (t) => {
  const at = (succeeded: number, failed = "") => ({ ...input.progressed, slices: { count: 9, succeeded, failed } });
  const told = [at(2), at(1), at(2), at(1, "3"), at(2, "3")].reduce<{ attempt: typeof live; news: number }>(
    ({ attempt, news }, it) => {
      const moved = moveAttempt(attempt, it, context());
      return { attempt: moved.attempt, news: news + moved.news.length };
    },
    { attempt: live, news: 0 },
  );
  t.equal(told.news, 2);
});
