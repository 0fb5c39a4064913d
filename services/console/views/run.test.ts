import type { RunEventType } from "@longshore/contract/messages/event.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import type { StoryEvent } from "@longshore/ledger/port.ts";
import t from "tap";
import type { May } from "../answers.ts";
import { runView } from "./run.ts";

/** A story of events, each ten seconds after the one before it. */
const story = (...events: readonly (readonly [RunEventType, object?, number?])[]): readonly StoryEvent[] =>
  events.map(
    ([type, data = {}, generation = 1], at) => ({ type, data, generation, sequence: at + 1, atMs: at * 10_000 }) as never,
  );

function record(more: object = {}): RunRecord {
  const plan = { simple: true, steps: [], definition: { name: "export", owner: { name: "Shop" } } };
  const run = { id: "export/1", state: "active", generation: 1, seq: 3, steps: {}, plan, acceptedAtMs: 0, ...more };
  return { run, attempts: [] } as unknown as RunRecord;
}
const MAY_ALL: May = { log: true, stop: true, run: true, operate: false };
const viewOf = (of: RunRecord, asked: RunRequest, told: readonly StoryEvent[], title?: string, may = MAY_ALL) =>
  runView(of, asked, told, { title, may, selector: "longshore.dev/run=abc" });
const request = { parameters: { month: "2026-10" } } as unknown as RunRequest;
const stagesOf = (it: ReturnType<typeof runView>) =>
  it.stages.map(({ name, ms, note }) => [name, ms, ...(note === undefined ? [] : [note])]);

t.test("the newest stage has no length as long as it lasts", async (t) => {
  const view = viewOf(record(), request, story(["run.accepted", { actor: { name: "Ada" } }], ["run.launched"], ["run.started"]));
  t.match(view, { state: "running", by: { name: "Ada" }, parameters: { month: "2026-10" }, owner: { name: "Shop" } });
  t.same(stagesOf(view), [
    ["Asked", 0],
    ["Waiting", 10_000],
    ["Starting", 10_000],
    ["Running", undefined],
  ]);
});

t.test("a run is called as its definition is, and by its id if it has none", async (t) => {
  const plan = { simple: true, steps: [] };
  const named = (of: RunRecord, title?: string) => viewOf(of, request, story(["run.accepted"]), title).title;
  t.equal(named(record(), "Monthly export"), "Monthly export");
  t.equal(named(record()), "export");
  t.equal(named(record({ plan })), "export/1");
});

t.test("a wait says what it waits for, in words that need no cluster", async (t) => {
  const told = (reason: string) =>
    stagesOf(viewOf(record(), request, story(["run.accepted"], ["run.waiting", { reason }]))).at(-1);
  t.same(told("ConcurrencyLimit"), ["Waiting", undefined, "for the run before it"]);
  t.same(told("GroupFull"), ["Waiting", undefined, "for a free place"]);
  const view = viewOf(record(), request, story(["run.accepted"], ["run.waiting", { reason: "ConcurrencyLimit" }]));
  t.equal(view.story.at(-1)?.says, "for the run before it");
});

t.test("a failure says why, and a stall as long as nothing has ended it", async (t) => {
  const diagnosis = { code: "ImageNotFound", sentence: "There is no such image.", hint: "Push it.", blame: "request" };
  const stalled = story(["run.accepted"], ["run.launched"], ["run.stalled", { diagnosis }]);
  t.match(viewOf(record(), request, stalled), { state: "stalled", why: diagnosis });
  const started = [...stalled, ...story(["run.accepted"], ["run.accepted"], ["run.accepted"], ["run.started"]).slice(3)];
  t.equal(viewOf(record(), request, started).why, undefined);
  const ended = record({ state: "ended", outcome: "failed", endedAtMs: 30_000 });
  t.match(viewOf(ended, request, story(["run.accepted"], ["run.launched"], ["run.started"], ["run.failed", { diagnosis }])), {
    state: "failed",
    why: diagnosis,
    endedAtMs: 30_000,
  });
});

t.test("after a restart the stages are those of the new life, and the story is whole", async (t) => {
  const events = story(
    ["run.accepted"],
    ["run.launched"],
    ["run.started"],
    ["run.failed"],
    ["run.restarted", {}, 2],
    ["run.launched", {}, 2],
  );
  const view = viewOf(record({ generation: 2 }), request, events);
  t.same(stagesOf(view), [
    ["Asked", 0],
    ["Waiting", 10_000],
    ["Starting", undefined],
  ]);
  t.equal(view.stages[0]?.atMs, 40_000);
  t.equal(view.story.length, 6);
});

t.test("a run that was stopped while it waited never started", async (t) => {
  const ended = record({ state: "ended", outcome: "cancelled" });
  t.same(stagesOf(viewOf(ended, request, story(["run.accepted"], ["run.cancelled"]))), [
    ["Asked", 0],
    ["Waiting", 10_000],
  ]);
});

t.test("a log is for those alone who may read it", async (t) => {
  const ended = record({ state: "ended", outcome: "succeeded" });
  const log = { state: "complete", lines: 1, tail: "a customer's name" };
  const told = story(["run.accepted"], ["run.succeeded", { log }]);
  t.match(viewOf(ended, request, told), { log });
  const hidden = viewOf(ended, request, told, undefined, { ...MAY_ALL, log: false });
  t.notMatch(JSON.stringify(hidden), /customer/);
});

t.test("a hint that names a command is for the ticket alone", async (t) => {
  const hint = "Read the program's log: `kubectl -n jobs logs job/a`.";
  const diagnosis = { code: "ExitCode", sentence: "It ended with 3.", hint, blame: "request" };
  const log = { state: "complete", lines: 1, tail: "no such order" };
  const ended = record({ state: "ended", outcome: "failed" });
  const whyFor = (may: Partial<May>, told: object = { diagnosis, log }) =>
    viewOf(ended, request, story(["run.accepted"], ["run.failed", told]), undefined, { ...MAY_ALL, ...may }).why;
  t.match(whyFor({}), { hint: "What it printed is in its log.", ticketHint: hint });
  t.match(whyFor({ log: false }), { hint: undefined, ticketHint: hint });
  t.match(whyFor({ operate: false }, { diagnosis: { ...diagnosis, hint: "Ask for less." } }), {
    hint: "Ask for less.",
    ticketHint: undefined,
  });
});
