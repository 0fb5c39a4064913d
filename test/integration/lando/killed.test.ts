/**
 * Launcher, watcher and recorder are killed after each change that Bespin's API is told. It hears the same words: once, if launcher
 * and watcher died, and otherwise each again at most after a kill.
 */
// needs rabbitmq
// runs at most 15 min
import t, { type Test } from "tap";
import {
  BEGUN, CANCELLED, done, failedAt, type Job, landoOnPocket, stepsFrom, stepsTo,
} from "./pocket.ts"; // biome-ignore format: a list of names

t.setTimeout(0); // each wait of the harness has its own bound

await using lando = await landoOnPocket((sentence) => t.comment(sentence));
const { system, stage, job, send, ended, news } = lando;
const { bespin } = stage;
const start = {
  launcher: () => system.launcher({}, { eager: true }),
  watcher: () => system.watcher({}, { eager: true }),
  // A dead recorder's sink waits for the lease's end.
  recorder: () => stage.recorder({ timeout: "2s", lease: "4s" }, { eager: true }),
};
type Name = keyof typeof start;
const running = { launcher: await start.launcher(), watcher: await start.watcher(), recorder: await stage.recorder() };

/** Kills these and starts them again. */
const renewed = async (names: readonly Name[]): Promise<void> => {
  for (const name of names) {
    running[name].signal("SIGKILL");
    await running[name].ended;
    running[name] = await start[name]();
  }
};

let kills = 0;
/** Kills these at each change, before it is answered, but not again at one that is repeated. */
function killAtEach(names: readonly Name[]): void {
  let last = "";
  kills = 0;
  bespin.between = async ({ job: id, words }) => {
    if (`${id} ${words}` === last) return;
    last = `${id} ${words}`;
    kills++;
    await renewed(names);
  };
}

async function stories(t: Test, told: (job: Job) => readonly string[]): Promise<void> {
  const well = job("lando");
  await send(well, "start");
  await ended(well, "F");
  t.same(told(well), [...BEGUN, ...stepsFrom("stage_data"), ...done(well)], "a success");

  const failing = job("lando");
  failing.levers.fail("run_workflow");
  await send(failing, "start");
  await ended(failing, "E");
  t.same(told(failing), [...BEGUN, ...stepsTo("run_workflow"), ...failedAt("run_workflow")], "a failure");
  await send(failing, "restart");
  await ended(failing, "F");
  t.same(told(failing), ["state R", ...stepsFrom("run_workflow"), ...done(failing)], "and a restart there");

  const held = job("lando-message");
  held.levers.hold("organize_output");
  await send(held, "start");
  await system.until("the step", () => bespin.wordsOf(held.id).at(-1) === "step o", 240_000);
  await send(held, "cancel");
  await ended(held, "C");
  t.same(told(held), [...BEGUN, ...stepsTo("organize_output"), ...CANCELLED], "a cancel");
  const faults = await system.faults([well, failing, held].map(({ id }) => `bespin/${id}/${1_000 + id}`));
  // The judge does not see the commands that the bridge sends.
  t.same(
    faults.filter((it) => !it.includes("restarts were asked for")),
    [],
  );
}

await t.test("launcher and watcher die after each change: each is told once", async (t) => {
  killAtEach(["launcher", "watcher"]);
  await stories(t, news);
  t.ok(kills >= 24, `they were killed ${kills} times`);
});

await t.test("the recorder dies with them before it has the answer: what it had told last is told again", async (t) => {
  await running.recorder.stop();
  running.recorder = await start.recorder();
  killAtEach(["launcher", "watcher", "recorder"]);
  await stories(t, (it) => {
    const words = news(it);
    const once = words.filter((word, at) => word !== words[at - 1]);
    t.equal(words.length, 2 * once.length, "each was told once more after the kill");
    return once;
  });
  t.ok(kills >= 24, `they were killed ${kills} times`);
});
