import type { Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import type { StoryEvent } from "@longshore/ledger/port.ts";
import t from "tap";
import { operatorsView } from "./operators.ts";

const considered = [
  { group: "east", verdict: "skipped", why: "It is paused." },
  { group: "west", verdict: "chosen", why: "First with room." },
];
const attempt = (more: object = {}): Attempt =>
  ({
    ...{ step: "main", n: 1, claimNo: 1, name: "export-1-main-1-abc", group: "west", state: "live", outcome: undefined },
    notes: { waitsSinceMs: 0, namespace: "batch", considered },
    ...more,
  }) as unknown as Attempt;
const record = (...attempts: readonly Attempt[]): RunRecord =>
  ({ run: { id: "export/1", group: "west", source: "/shop", plan: { definition: { digest: "sha256:1" } } }, attempts }) as never;
const event = (type: StoryEvent["type"], atMs: number, data: object): StoryEvent =>
  ({ type, atMs, data }) as unknown as StoryEvent;
const story = [
  event("run.accepted", 0, {}),
  event("run.launched", 4_000, { step: "main", attempt: 1 }),
  event("run.started", 9_000, { step: "main", attempt: 1, pod: "export-1-main-1-abc-x2x9p", node: "b7" }),
];
const viewOf = (of: RunRecord, told: readonly StoryEvent[] = story) => operatorsView(of, told, "longshore.dev/run=abc");

t.test("a run that goes on says where, why there, in which pod, and how long each phase took", async (t) => {
  t.same(viewOf(record(attempt())), {
    ...{ group: "west", considered, digest: "sha256:1", source: "/shop" },
    attempts: [
      {
        ...{ step: "main", number: 1, group: "west", namespace: "batch", job: "export-1-main-1-abc" },
        ...{ pod: "export-1-main-1-abc-x2x9p", node: "b7" },
        phases: [
          { name: "waiting", fromMs: 0, toMs: 4_000 },
          { name: "starting", fromMs: 4_000, toMs: 9_000 },
          { name: "running", fromMs: 9_000 },
        ],
      },
    ],
    commands: ["kubectl -n batch describe job export-1-main-1-abc", "kubectl -n batch get jobs,pods -l longshore.dev/run=abc"],
  });
});

t.test("an attempt that ended before it started has no running phase, and its end has a code", async (t) => {
  const outcome = {
    result: "failed",
    endedAtMs: 7_000,
    diagnosis: { code: "ImageNotFound" },
    evidence: { exitCode: 1, pod: "p", node: "n" },
  };
  const [told] = viewOf(record(attempt({ outcome })), story.slice(0, 2)).attempts;
  t.match(told, { result: "failed", code: "ImageNotFound", exitCode: 1, pod: "p", node: "n" });
  t.same(told?.phases.map(({ name, toMs }) => [name, toMs]), [["waiting", 4_000], ["starting", 7_000]]); // biome-ignore format: one line
});

t.test("a second try has its own events", async (t) => {
  const more = [...story, event("run.launched", 20_000, { step: "main", attempt: 2 })];
  const second = attempt({ n: 2, name: "second", notes: { waitsSinceMs: 10_000, namespace: "batch" } });
  const told = viewOf(record(attempt(), second), more).attempts[1];
  t.same(told?.phases, [
    { name: "waiting", fromMs: 10_000, toMs: 20_000 },
    { name: "starting", fromMs: 20_000 },
  ]);
});

t.test("no command asks for a Job that is known to be gone, or for one of the pocket", async (t) => {
  const outcome = { result: "deleted", endedAtMs: 1, diagnosis: { code: "DeletedExternally" } };
  t.same(viewOf(record(attempt({ outcome }))).commands, ["kubectl -n batch get jobs,pods -l longshore.dev/run=abc"]);
  t.same(viewOf(record(attempt({ notes: { waitsSinceMs: 0, namespace: "default", embedded: true } }))).commands, []);
});

t.test("a run that waits has no Job, and says which groups passed it over", async (t) => {
  const waits = attempt({ claimNo: 0, group: undefined, notes: { waitsSinceMs: 0, considered: considered.slice(0, 1) } });
  const { run } = record();
  const view = viewOf({ run: { ...run, group: undefined }, attempts: [waits] }, story.slice(0, 1));
  t.match(view, { considered: [{ group: "east" }], commands: [], attempts: [{ phases: [{ name: "waiting", fromMs: 0 }] }] });
  t.equal(view.attempts[0]?.job, undefined);
  t.equal(view.group, undefined);
});
