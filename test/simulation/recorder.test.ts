/**
 * The recorder in many scenarios, each from its seed: every run's events come in order, one request at a time, none is left out,
 * and an API that is down for ten minutes gets few requests.
 */
import t from "tap";
import { playRecorder, problemsOf } from "./recorder/play.ts";

const SCENARIOS = 40;

t.test("every run is told in order and at least once, and an API that is ill gets few requests", async (t) => {
  let requests = 0;
  let disturbed = 0;
  for (let seed = 1; seed <= SCENARIOS; seed++) {
    const played = await playRecorder(seed);
    requests += played.got.length;
    disturbed += played.disturbed;
    t.same(problemsOf(played), [], `seed ${seed}`);
  }
  t.ok(requests > 50 * SCENARIOS && disturbed > SCENARIOS, `${requests} requests, ${disturbed} troubles`);
});
