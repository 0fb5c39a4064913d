/** The room that one attempt takes in a group: a slot for each of its slices, and storage for the run's volumes. */
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import t from "tap";
import {
  group as east,
  elsewhere as west,
  HOUR,
  input,
  NOW,
  planOf,
  played,
  runOf,
  step,
  toStep,
} from "../attempt/testing/examples.ts";
import type { RunRecord } from "../run/record.ts";
import { open, placedWith, simple, taking } from "./testing/placing.ts";

const withSlices = (parallelism: number, count?: number, more: object = {}): RunRecord =>
  runOf({
    ...planOf([step("main", [], { slices: { parallelism, failedMax: 0, ...(count !== undefined && { count }) } })]),
    ...more,
  });
const slotsOf = (records: readonly RunRecord[]) => records.map(({ attempts: [it] }) => `${it?.state} ${it?.slots ?? 1}`);

t.test(
  "a step with slices takes the slots that are free, never more than it has slices, and later runs what is left",
  async (t) => {
    const room = [open(east, { ...taking(10), slotsUsed: 3 })];
    t.same(slotsOf(placedWith([withSlices(4), simple(), withSlices(4)], room)), ["ready 4", "ready 1", "ready 2"]);
    t.same(slotsOf(placedWith([withSlices(9, 2), withSlices(20)], room)), ["ready 2", "ready 5"]);
    t.same(slotsOf(placedWith([withSlices(20), simple()], room)), ["ready 7", "waiting 1"]);
    const restarted = { withParameters: { files: [] } };
    t.same(slotsOf(placedWith([withSlices(6, 2, restarted)], room)), ["ready 6"], "other parameters may make more slices");
  },
);

const GIB = 2 ** 30;
const withVolumes = (bytes = GIB): RunRecord =>
  runOf({
    ...planOf([step("first"), step("second")]),
    storage: { claims: [], classes: [""], anchor: { bytes, keepSucceededMs: 0, keepFailedMs: HOUR } },
  });

t.test("a run with volumes stays in the group that has them, and says so", async (t) => {
  const [placed] = placedWith([withVolumes()], [open(east, taking(1)), open(west)]);
  t.match(placed?.anchors, [{ number: 1, state: "making", group: east, bytes: GIB }]);
  const [first, second] = placed?.attempts ?? [];
  t.match(first, { state: "ready", group: east, notes: { anchor: 1 } });
  const why = "It is full: 1 of 1 Jobs. The run's volumes are there.";
  t.match(second, { state: "waiting", notes: { waiting: "GroupsFull", considered: [{ group: east, verdict: "skipped", why }] } });
});

t.test("a run leaves the group of its volumes for another one as long as they are not there", async (t) => {
  const groups = [open(east, { paused: true }), open(west)];
  const [made] = placedWith([withVolumes()], [open(east)]);
  if (made === undefined) throw new TypeError("the run is there");
  const taken = (name: string) => toStep(name, { ...input.noPlace, retryAtMs: NOW });
  const withdrawn = played(made, [...taken("first"), ...taken("second")]).record;
  const [gone] = placedWith([withdrawn], groups);
  t.match(gone?.attempts, [{ state: "ready", group: west, notes: { anchor: 2 } }, { state: "ready", group: west, notes: { anchor: 2 } }]); // biome-ignore format: one line
  t.match(gone?.anchors, [{ number: 1, state: "sweeping", group: east }, { number: 2, state: "making", group: west }]); // biome-ignore format: one line

  const stays = { attempts: [{ state: "waiting" }, {}], anchors: [{ number: 1, group: east }] };
  const [nowhere] = placedWith([withdrawn], [open(east, { paused: true }), open(west, { paused: true })]);
  t.match(nowhere, stays, "no other group takes it either");
  const [placed] = placedWith([played(made, taken("first")).record], groups);
  t.match(placed, stays, "a create of the other step may be under way");
  const standing = { ...withdrawn, anchors: (withdrawn.anchors ?? []).map((it) => ({ ...it, state: "standing" as const })) };
  t.match(placedWith([standing], groups)[0], stays, "its volumes are there");
});

t.test("a run that is let in by its concurrency key keeps its volumes", async (t) => {
  const made = placedWith([withVolumes()], [open(east, taking(9))])[0];
  if (made === undefined) throw new TypeError("the run is there");
  const concurrency = { key: "one", limit: 1, then: "queue" } as const;
  const [third] = runOf(planOf([step("third")])).attempts;
  const waiting = { ...made, run: { ...made.run, plan: { ...made.run.plan, concurrency } }, attempts: third ? [third] : [] };
  const [entered] = placedWith([waiting], [open(west), open(east, taking(9))], [made.run.id]);
  t.match(entered?.attempts, [{ state: "ready", group: east, notes: { anchor: 1, letIn: true } }]);
  t.match(entered?.anchors, [{ number: 1, state: "making", group: east }]);
});

t.test("storage is booked with each placement, once for all steps of a run, and what ended runs keep is named", async (t) => {
  const limited = { settings: GroupSettings.parse({ limits: { jobs: 10, storage: "3Gi" } }) };
  const storage = { usedBytes: GIB, keptBytes: GIB, keptUntilMs: NOW + HOUR };
  const after = placedWith([withVolumes(), withVolumes(), withVolumes()], [open(east, { ...limited, storage })]);
  t.same(after.map(({ attempts }) => attempts.map(({ state }) => state).join()), ["ready,ready", "ready,ready", "waiting,waiting"]); // biome-ignore format: one line
  const { waiting, considered } = after[2]?.attempts[0]?.notes ?? {};
  t.equal(waiting, "StorageFull");
  t.match(
    considered?.[0]?.why,
    /Its storage is full: 3Gi of 3Gi, and 1Gi are wanted. Ended runs keep 1Gi of it, the first of them until /,
  );
});

t.test("volumes that are larger than the group allows go to another group, or fail at once", async (t) => {
  const small = { settings: GroupSettings.parse({ limits: { jobs: 10, storage: "3Gi" } }) };
  const [elsewhere] = placedWith([withVolumes(4 * GIB)], [open(east, small), open(west)]);
  t.match(elsewhere?.attempts, [{ group: west }, { group: west }]);
  const [failed] = placedWith([withVolumes(4 * GIB)], [open(east, small)]);
  t.match(failed?.attempts[0]?.outcome, {
    result: "refused",
    diagnosis: { code: "PolicyRefused", sentence: /volumes of 4Gi: its limit is 3Gi/ },
  });
});
