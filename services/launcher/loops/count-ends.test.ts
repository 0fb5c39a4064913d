import { RunId } from "@longshore/contract/ids.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import t from "tap";
import { stage } from "../testing/stage.ts";
import { countEnds } from "./count-ends.ts";

t.test("of two launchers one counts each end, and the other goes on when that one is gone", async (t) => {
  const it = await stage(t, {});
  const launchers = ["one", "two"].map((owner) => {
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    const metrics = openMetrics("launcher", "0");
    void countEnds({ ...it.parts, owner, metrics })(stop.signal);
    return { stop, metrics };
  });
  const counted = async (): Promise<readonly number[]> => {
    await it.clock.sleep(5 * it.parts.timing.lookMs);
    const texts = await Promise.all(launchers.map(({ metrics }) => metrics.text()));
    return texts.map((text) => {
      const [, n = "0"] =
        /longshore_runs_finished_total\{group="-",outcome="cancelled",code="",blame=""\} (\d+)/.exec(text) ?? [];
      return Number(n);
    });
  };
  const end = async (id: string): Promise<void> => {
    const run = RunId.parse(id);
    await it.publish("run.requested", { run, image: "busybox" });
    await it.publish("run.cancel", { run });
  };
  await end("a");
  await end("b");
  t.same(
    (await counted()).toSorted((a, b) => a - b),
    [0, 2],
  );
  const first = (await counted()).indexOf(2);
  launchers[first]?.stop.abort();
  await end("c");
  t.same(
    (await counted()).toSorted((a, b) => a - b),
    [1, 2],
    "the lease has ended",
  );
});
