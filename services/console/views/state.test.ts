import t from "tap";
import { isOver, stateOf } from "./state.ts";

for (const [name, standing, want] of [
  ["accepted, and nothing more", { state: "active", outcome: undefined, newest: { type: "run.accepted" } }, "waiting"],
  ["its event is not written yet", { state: "active", outcome: undefined, newest: undefined }, "waiting"],
  ["its Job is made", { state: "active", outcome: undefined, newest: { type: "run.launched" } }, "starting"],
  ["a step of several has ended", { state: "active", outcome: undefined, newest: { type: "run.step.succeeded" } }, "running"],
  ["an attempt failed, and another follows", { state: "active", outcome: undefined, newest: { type: "run.attempt.failed" } }, "waiting"],
  ["it is asked to stop, and its program goes on", { state: "cancelling", outcome: undefined, newest: { type: "run.started" } }, "stopping"],
  ["it was stopped", { state: "ended", outcome: "cancelled", newest: { type: "run.cancelled" } }, "stopped"],
  ["nobody saw its end", { state: "ended", outcome: "lost", newest: { type: "run.lost" } }, "lost"],
] as const) // biome-ignore format: a table
  t.test(`${name}: ${want}`, async (t) => t.equal(stateOf(standing), want));

t.test("a run that stops is not over", async (t) => {
  t.notOk(isOver("stopping"));
  t.ok(isOver("stopped"));
});
