import { GroupName, RunId } from "@longshore/contract/ids.ts";
import type { AttemptState } from "@longshore/domain/run/record.ts";
import t from "tap";
import { openInFlightCreates } from "../jobs/in-flight-creates.ts";
import { place, placerOf } from "./place.ts";
import { GROUP, never, type Stage, stage } from "../testing/stage.ts";

const NOWHERE = GroupName.parse("nowhere");

const stateOf = (it: Stage, run: RunId): AttemptState | undefined => it.model.tables.runs.get(run)?.record.attempts.at(-1)?.state;

t.test("a thousand urgent runs that wait for a group that does not exist keep no other run from its own", async (t) => {
  const it = await stage(t, { timing: { pollMs: 3_600_000 } });
  for (let n = 1; n <= 300; n++)
    await it.publish("run.requested", { run: RunId.parse(`lost/${n}`), image: "busybox", groups: [NOWHERE], priority: 100 });
  const own = RunId.parse("own");
  await it.publish("run.requested", { run: own, image: "busybox", groups: [GROUP] });
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const placing = place(it.parts, new Map([[GROUP, openInFlightCreates(it.parts, it.cluster)]]))(stop.signal);
  for (let turns = 0; stateOf(it, own) !== "live"; turns++) {
    if (turns > 100) throw new Error(`it was left ${stateOf(it, own)}`);
    await it.clock.sleep(20);
  }
  stop.abort();
  await placing;
  t.equal(stateOf(it, RunId.parse("lost/1")), "waiting");
});

t.test("while an API server wants a pause nothing is claimed for it: a claim would be two writes for nothing sent", async (t) => {
  const it = await stage(t, { timing: { pollMs: 60_000 } });
  it.pocket.cause({ on: "create", trouble: { kind: "status", status: 429, retryAfterSeconds: 60 } });
  const runs = Array.from({ length: 10 }, (_, n) => RunId.parse(`run/${n}`));
  for (const run of runs) await it.publish("run.requested", { run, image: "busybox" });
  const hand = openInFlightCreates(it.parts, it.cluster);
  const turn = async (): Promise<void> => {
    const claim = { by: it.parts.owner, forMs: it.parts.timing.claimMs, room: new Map([[GROUP, hand.room()]]) };
    const { works } = await it.parts.ledger.place({ most: 100, placer: placerOf(it.parts), claim });
    hand.take(works, never);
    await hand.rest();
  };
  for (let turns = 0; turns < 8; turns++) {
    await turn();
    await it.clock.sleep(it.parts.timing.placeAgainMs);
  }
  const attempts = runs.map((run) => it.model.tables.runs.get(run)?.record.attempts.at(-1));
  t.ok(
    attempts.every((attempt) => attempt?.state === "waiting" && attempt.claimNo === 1),
    "each was claimed once",
  );
  t.same([...new Set(attempts.map((attempt) => attempt?.notes.waiting))], ["Throttled"], "and told why, once");
  it.pocket.heal();
  await it.clock.sleep(75_000);
  await turn();
  t.ok(runs.every((run) => stateOf(it, run) === "live"));
});
