/** What is told of a Job with slices: its progress, its logs, and which slice is to blame. */
import t from "tap";
import { COMPLETION_INDEX } from "../run/marks.ts";
import { evidenceOf } from "./evidence.ts";
import { type FactDraft, facts, type JobAndPods, type Said, withSliceLogs } from "./facts.ts";
import { condition, job, pod, type RawPod, running, terminated } from "./testing/fixtures.ts";

const sliced = (count: number, status: object, ...pods: readonly RawPod[]): JobAndPods => ({
  job: job({ spec: { completionMode: "Indexed", completions: count }, status: { active: 1, ...status } }),
  pods: pods.map(pod),
});

let pods = 0;
const slice = (index: number, phase: string, state?: object, more: object = {}): RawPod => ({
  metadata: {
    name: `slice-${index}-${++pods}`,
    uid: `uid-${pods}`,
    annotations: { [COMPLETION_INDEX]: String(index) },
    creationTimestamp: `2026-03-01T10:00:0${Math.min(9, pods % 10)}Z`,
    ...more,
  },
  ...(state && { state: state as Readonly<Record<string, unknown>> }),
  status: { phase },
});
const good = (index: number, message?: string): RawPod =>
  slice(index, "Succeeded", terminated(0, message === undefined ? {} : { message }));
const bad = (index: number, exitCode: number): RawPod => slice(index, "Failed", terminated(exitCode));
const ended = (reason: string, completed: string, failed: string) => ({
  active: 0,
  completedIndexes: completed,
  failedIndexes: failed,
  failed: 1,
  conditions: [condition("Failed", reason)],
});

const last = (telling: { readonly facts: readonly FactDraft[] }): FactDraft => {
  const fact = telling.facts.at(-1);
  if (fact === undefined) throw new TypeError("no fact was told");
  return fact;
};

t.test("progress is told in tenths: a thousand slices make nine facts", async (t) => {
  let said: Said | undefined;
  const told: FactDraft[] = [];
  for (let done = 0; done <= 1000; done++) {
    const completed = done === 0 ? "" : done === 1 ? "0" : `0-${done - 1}`;
    const telling = facts(said, sliced(1000, { completedIndexes: completed }, slice(999, "Running", running)), done);
    said = telling.said;
    told.push(...telling.facts.filter(({ type }) => type === "job.progressed"));
  }
  t.equal(told.length, 9);
  t.match(told[0], { data: { slices: { count: 1000, succeeded: 100, failed: "" } } });
});

t.test("slices that wait for a node are no stall while one runs; with none that runs they are, until one does", async (t) => {
  const unplaced = (index: number): RawPod => ({
    ...slice(index, "Pending"),
    spec: { nodeName: undefined },
    status: {
      phase: "Pending",
      conditions: [
        {
          type: "PodScheduled",
          status: "False",
          reason: "Unschedulable",
          message: "0/1 nodes are available: 1 Insufficient cpu.",
        },
      ],
    },
  });
  const one = slice(0, "Running", running);
  const two = unplaced(1);
  const runs = facts(undefined, sliced(2, {}, one, two), 0);
  t.notOk(runs.facts.some(({ type }) => type === "job.stalled"));
  const over = { ...one, ...good(0), metadata: one.metadata } as RawPod;
  const waits = facts(runs.said, sliced(2, { completedIndexes: "0" }, over, two), 1_000);
  t.ok(waits.facts.some(({ type }) => type === "job.stalled"));
  const goesOn = facts(waits.said, sliced(2, { completedIndexes: "0" }, over, slice(1, "Running", running, two.metadata)), 2_000);
  t.same(
    goesOn.facts.map(({ type }) => type),
    ["job.resumed"],
  );
});

t.test("the slice that failed is to blame, not one that was ended with it, and not one that succeeded", async (t) => {
  const killed = slice(0, "Failed", terminated(143));
  const { job, pods } = sliced(4, ended("MaxFailedIndexesExceeded", "1", "2"), killed, good(1), bad(2, 3));
  const evidence = evidenceOf(job, { pods });
  t.match(evidence, {
    exitCode: 3,
    diagnosis: { code: "ExitCode", sentence: "1 of 4 slices failed: 2. Slice 2: The program ended with exit code 3." },
    slices: { count: 4, succeeded: 1, failed: "2", reason: "MaxFailedIndexesExceeded" },
  });
  t.same(evidence.slices?.told?.map(({ index, exitCode }) => [index, exitCode]), [[2, 3], [1, 0]]); // biome-ignore format: a list
});

t.test("of a slice that was tried again, the last try is told", async (t) => {
  const first = { ...bad(0, 4), metadata: { ...bad(0, 4).metadata, creationTimestamp: "2026-03-01T10:00:01Z" } };
  const second = {
    ...bad(0, 5),
    metadata: { ...bad(0, 5).metadata, uid: "uid-second", creationTimestamp: "2026-03-01T10:00:30Z" },
  };
  const { job, pods } = sliced(1, ended("FailedIndexes", "", "0"), second, first);
  t.match(evidenceOf(job, { pods }).slices?.told, [{ index: 0, exitCode: 5 }]);
});

t.test("logs: of eight slices at most, the failed ones first", async (t) => {
  const many = Array.from({ length: 12 }, (_, index) => (index < 10 ? good(index) : bad(index, 1)));
  const telling = facts(undefined, sliced(12, ended("FailedIndexes", "0-9", "10,11"), ...many), 0);
  const wanted = telling.want?.kind === "logs" ? telling.want : undefined;
  t.same(
    wanted?.slices?.map(({ index }) => index),
    [10, 11, 0, 1, 2, 3, 4, 5],
  );
  t.equal(wanted?.pod, wanted?.slices?.[0]?.pod, "its own log is that of the first that failed");
  const log = { state: "complete", lines: 1, tail: "no\n" } as const;
  const fact = withSliceLogs(last(telling), new Map([[11, log]]));
  t.match(fact, { data: { evidence: { slices: { told: [{ index: 10 }, { index: 11, log }] } } } });
});

t.test("messages are kept of slices that succeeded, and not more than a fact carries", async (t) => {
  const of = (...all: readonly RawPod[]) => {
    const { job, pods } = sliced(
      40,
      { completedIndexes: "0-39", conditions: [condition("Complete", "CompletionsReached")] },
      ...all,
    );
    return evidenceOf(job, { pods }).slices;
  };
  t.same(of(good(0, '{"rows":1}'), good(1), bad(2, 1))?.messages, { 0: '{"rows":1}' });
  const large = of(...Array.from({ length: 40 }, (_, index) => good(index, "x".repeat(4_000))));
  t.equal(large?.cut, true);
  t.equal(Object.keys(large?.messages ?? {}).length, 16);
});

t.test("a step over an empty list has succeeded and started nothing", async (t) => {
  const { job, pods } = sliced(0, { active: 0, conditions: [condition("Complete", "CompletionsReached")] });
  t.match(evidenceOf(job, { pods }), { started: "no", slices: { count: 0 } });
});
