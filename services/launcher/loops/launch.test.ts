import { RunId } from "@longshore/contract/ids.ts";
import t from "tap";
import { openInFlightCreates } from "../jobs/in-flight-creates.ts";
import { launch } from "./launch.ts";
import { placerOf } from "./place.ts";
import { GROUP, NAMESPACE, stage } from "../testing/stage.ts";

t.test("a group's pace is kept, and no more is claimed than can go out soon", async (t) => {
  const it = await stage(t, { createsPerSecond: 2 });
  const { parts, cluster, clock, model, pocket } = it;
  for (let n = 0; n < 8; n++) await it.publish("run.requested", { run: RunId.parse(`run/${n}`), image: "busybox" });
  await parts.ledger.place({ most: 100, placer: placerOf(parts) });
  const attempts = () => [...model.tables.runs.values()].flatMap(({ record }) => record.attempts);
  const stop = new AbortController();
  const launching = launch(parts, cluster, openInFlightCreates(parts, cluster))(stop.signal);
  const beganMs = clock.now();
  let claimedMost = 0;
  while (attempts().some(({ state }) => state !== "live")) {
    claimedMost = Math.max(claimedMost, attempts().filter(({ state }) => state === "claimed").length);
    if (clock.now() - beganMs > 60_000) throw new Error("they did not become live");
    await clock.sleep(50);
  }
  t.equal(pocket.jobs(NAMESPACE).length, 8);
  const tookMs = clock.now() - beganMs;
  t.ok(tookMs >= 3_500 && tookMs < 4_500, `eight went out in ${tookMs} ms`);
  t.ok(claimedMost <= 3, `${claimedMost} were claimed at once`);
  t.ok(attempts().every(({ claimNo }) => claimNo === 1), "each was claimed once"); // biome-ignore format: one call
  t.match(await parts.ledger.groups(), [{ name: GROUP, inLine: 0 }]);
  stop.abort();
  await launching;
});
