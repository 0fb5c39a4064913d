/** When creates have their turn, and how many may be claimed ahead of it. */
import { CLAIM_BUDGET } from "./claim-budget.ts";
import t from "tap";
import { openPace } from "./pace.ts";
import { virtualClock } from "../testing/virtual-clock.ts";

const never = new AbortController().signal;

/** Sends as many creates as are free, again and again, and notes when each has its turn. */
async function turns(createsPerSecond: number, count: number): Promise<readonly number[]> {
  const clock = virtualClock({ startMs: 0 });
  const pace = openPace(clock, createsPerSecond);
  const at: number[] = [];
  while (at.length < count) {
    await pace.untilFree(never);
    const free = pace.free();
    if (free === 0) throw new Error("it waited until one is free, and none is");
    for (let n = 0; n < free && at.length < count; n++) {
      const turn = Math.max(clock.now(), pace.nextMs());
      at.push(turn);
      pace.take(turn);
    }
  }
  return at;
}

t.test("a second's worth is free at first, each has its turn at an even distance, and no more is free before", async (t) => {
  const clock = virtualClock({ startMs: 0 });
  const pace = openPace(clock, 5);
  t.equal(pace.free(), 5);
  for (let n = 0; n < 5; n++) pace.take(Math.max(clock.now(), pace.nextMs()));
  t.equal(pace.nextMs(), 1_000);
  t.equal(pace.free(), 0);
  await clock.sleep(200);
  t.equal(pace.free(), 1);
});

t.test("a group that takes less than one a second is claimed for one at a time", async (t) => {
  t.same(await turns(0.4, 3), [0, 2_500, 5_000]);
});

t.test("over any time no more go out than the pace allows, whether few or many are claimed together", async (t) => {
  for (const perSecond of [0.1, 1, 3, 20]) {
    const at = await turns(perSecond, 60);
    const distances = at.slice(1).map((it, n) => it - (at[n] ?? 0));
    t.ok(distances.every((it) => it >= 1000 / perSecond - 1), `${perSecond} a second`); // biome-ignore format: one call
  }
});

t.test("who stops need not wait for a turn", async () => {
  const stop = new AbortController();
  const pace = openPace(virtualClock(), 0.001);
  pace.take(Number.MAX_SAFE_INTEGER);
  stop.abort();
  await pace.untilFree(stop.signal);
});

t.test("the parts of a create's time fit into each other", async (t) => {
  const { claimMs, postMs, turnMs, serverMs } = CLAIM_BUDGET;
  t.ok(serverMs + 2_000 <= postMs, "without a line, the API server's own answer is heard");
  t.ok(turnMs < postMs / 2, "what had to wait has most of its time left");
  t.ok(postMs + 8_000 <= claimMs, "a taken name can be looked at, and the answer recorded");
});
