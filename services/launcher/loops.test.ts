/** At rest, each poll asks one question for all loops of all groups, and the answer wakes the loops that have work due. */
import type { Ledger } from "@longshore/ledger/port.ts";
import t from "tap";
import { launcherLoops } from "./loops.ts";
import { GROUP, RUN, stage } from "./testing/stage.ts";

const HOUR_MS = 3_600_000;
/** The loops of a group that ask the ledger for work and are woken for it. */
const LOOPS = ["launch", "close", "expire", "release", "sweep"].map((name) => `${name} ${GROUP}`);

t.test("nothing is due: one question a poll, however many loops there are", async (t) => {
  const it = await stage(t, { timing: { lookMs: HOUR_MS } });
  const asked = new Map<string, number>();
  const note = (name: string): void => void asked.set(name, (asked.get(name) ?? 0) + 1);
  const { due, claim, take, takeStrays } = it.parts.ledger;
  const ledger: Ledger = {
    ...it.parts.ledger,
    due: (groups) => (note("due"), due(groups)),
    claim: (of) => (note("claim"), claim(of)),
    take: (of) => (note("take"), take(of)),
    takeStrays: (of) => (note("takeStrays"), takeStrays(of)),
  };
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const loops = launcherLoops({ ...it.parts, ledger });
  for (const name of [...LOOPS, "wake"]) void loops[name]?.(stop.signal);
  await it.clock.sleep(1);
  asked.clear(); // each loop looks once at its start
  await it.clock.sleep(60_000);
  t.same([...asked.keys()], ["due"]);
  t.ok((asked.get("due") ?? 0) > 50);
});

t.test("a run lives and ends by wake-ups for work that is due, though no loop of its group looks by itself", async (t) => {
  const it = await stage(t, { timing: { lookMs: HOUR_MS }, pods: { startsAfterMs: 500, runsMs: HOUR_MS } });
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const loops = launcherLoops(it.parts);
  for (const name of [...LOOPS, "wake"]) void loops[name]?.(stop.signal);
  await it.clock.sleep(5_000);
  await it.publish("run.requested", { run: RUN, image: "busybox", startWithin: "1m", deadline: "2m" });
  await it.place();
  await it.clock.sleep(5_000);
  t.equal(it.attempt().state, "live", "ready: claimed and created");
  await it.clock.sleep(10 * 60_000);
  t.match(it.attempt(), { state: "done" }, "live, closing and ended: its deadline passed, it was deleted and released");
  t.match(it.events().at(-1), /failed/);
});
