/**
 * Launcher, watcher and recorder are killed in turn, one at each change that Bespin's API is told. It hears each change once, and
 * once more only if the recorder died before it had the answer.
 */
// needs rabbitmq
// runs at most 20 min
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
  recorder: () => stage.recorder({ timeout: "3s", lease: "6s" }, { eager: true }),
};
const NAMES = ["launcher", "watcher", "recorder"] as const;
type Name = (typeof NAMES)[number];
const running = { launcher: await start.launcher(), watcher: await start.watcher(), recorder: await start.recorder() };

/** Who was killed at each change since the last look. */
let killed: Name[] = [];
let turn = 0;
let last = "";
bespin.between = async ({ job: id, words }) => {
  if (`${id} ${words}` === last) return; // it is told again
  last = `${id} ${words}`;
  const name = NAMES[turn++ % NAMES.length] ?? "launcher";
  killed.push(name);
  running[name].signal("SIGKILL");
  await running[name].ended;
  running[name] = await start[name]();
};

const told = new Map<number, number>();
async function toldAsIs(t: Test, job: Job, words: readonly string[], title: string): Promise<void> {
  const wanted = words.flatMap((word, at) => (killed[at] === "recorder" ? [word, word] : [word]));
  const all = (told.get(job.id) ?? 0) + wanted.length;
  told.set(job.id, all);
  await system.until("the last change to be told again", () => bespin.wordsOf(job.id).length >= all, 240_000);
  t.same(news(job), wanted, title);
  t.equal(killed.length, words.length, "one was killed at each change");
  killed = [];
}

for (const [at, first] of NAMES.entries())
  await t.test(`a success, with the ${first} killed at the first change`, async (t) => {
    turn = at;
    const it = job("lando");
    await send(it, "start");
    await ended(it, "F");
    await toldAsIs(t, it, [...BEGUN, ...stepsFrom("stage_data"), ...done(it)], "a success");
    t.same(await system.faults([`bespin/${it.id}/${1_000 + it.id}`]), []);
  });

await t.test("a failure, and a restart there", async (t) => {
  const it = job("lando");
  it.levers.fail("run_workflow");
  await send(it, "start");
  await ended(it, "E");
  await toldAsIs(t, it, [...BEGUN, ...stepsTo("run_workflow"), ...failedAt("run_workflow")], "a failure");
  await send(it, "restart");
  await ended(it, "F");
  await toldAsIs(t, it, ["state R", ...stepsFrom("run_workflow"), ...done(it)], "a restart");
});

await t.test("a cancel", async (t) => {
  const it = job("lando-message");
  it.levers.hold("organize_output");
  await send(it, "start");
  await system.until("the step", () => bespin.wordsOf(it.id).at(-1) === "step o", 240_000);
  await send(it, "cancel");
  await ended(it, "C");
  await toldAsIs(t, it, [...BEGUN, ...stepsTo("organize_output"), ...CANCELLED], "a cancel");
});
