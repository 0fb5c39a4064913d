import { GroupName, RunId } from "@longshore/contract/ids.ts";
import type { AttemptState } from "@longshore/domain/run/record.ts";
import t from "tap";
import { openHand } from "./hand.ts";
import { place } from "./place.ts";
import { GROUP, type Stage, stage } from "./testing/stage.ts";

const NOWHERE = GroupName.parse("nowhere");

const stateOf = (it: Stage, run: RunId): AttemptState | undefined => it.model.tables.runs.get(run)?.record.attempts.at(-1)?.state;

t.test("a thousand urgent runs that wait for a group that is not there keep no other run from its own", async (t) => {
  const it = await stage(t, { timing: { pollMs: 3_600_000 } });
  for (let n = 1; n <= 300; n++)
    await it.publish("run.requested", { run: RunId.parse(`lost/${n}`), image: "busybox", groups: [NOWHERE], priority: 100 });
  const own = RunId.parse("own");
  await it.publish("run.requested", { run: own, image: "busybox", groups: [GROUP] });
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const placing = place(it.parts, new Map([[GROUP, openHand(it.parts, it.cluster)]]))(stop.signal);
  for (let turns = 0; stateOf(it, own) !== "live"; turns++) {
    if (turns > 100) throw new Error(`it was left ${stateOf(it, own)}`);
    await it.clock.sleep(20);
  }
  stop.abort();
  await placing;
  t.equal(stateOf(it, RunId.parse("lost/1")), "waiting");
});
