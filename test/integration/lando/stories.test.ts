/**
 * What Bespin's API hears of a job, word for word: success, failure, cancel and restart, from Bespin's message to the last
 * request, with the example's own files.
 */
// needs rabbitmq
// runs at most 15 min
import { RunId } from "@longshore/contract/ids.ts";
import t from "tap";
import { VARIANTS } from "../../harness/lando/stage.ts";
import {
  BEGUN, CANCELLED, done, failedAt, landoOnPocket, LETTER, stepsFrom, stepsOf, stepsTo,
} from "./pocket.ts"; // biome-ignore format: a list of names

t.setTimeout(0); // each wait of the harness has its own bound

await using lando = await landoOnPocket((sentence) => t.comment(sentence));
const { system, stage, job, send, ended, news } = lando;
const { bespin } = stage;
await system.launcher();
await system.watcher();
await stage.recorder();

const everyStep = VARIANTS.flatMap((variant) => stepsOf(variant).map((step) => ({ variant, step })));
const whole = [...BEGUN, ...stepsFrom("stage_data")];

for (const variant of VARIANTS)
  await t.test(`${variant}: success`, async (t) => {
    const it = job(variant);
    await send(it, "start");
    await ended(it, "F");
    t.same(news(it), [...whole, ...done(it)]);
    const [project] = bespin.told.filter(({ job: id, words }) => id === it.id && words.startsWith("project"));
    const ids = { project_id: "p-1", readme_file_id: "r-1" };
    t.same(project?.body, { id: String(1_000 + it.id), job: String(it.id), ...ids });
  });

await t.test("a failure at each step, and a restart there", async (t) => {
  const all = everyStep.map((it) => ({ ...it, failing: job(it.variant) }));
  for (const { failing, step } of all) {
    failing.levers.fail(step);
    await send(failing, "start");
  }
  for (const { failing, step, variant } of all) {
    await ended(failing, "E");
    t.same(news(failing), [...BEGUN, ...stepsTo(step), ...failedAt(step)], `${variant} fails at ${step}`);
    const error = bespin.told.findLast(({ job: id }) => id === failing.id)?.body;
    t.match(error, { job: String(failing.id), content: /code 3[^]*\nno such sample\n$/ }, "with its last words");
    await send(failing, "restart");
  }
  for (const { failing, step, variant } of all) {
    await ended(failing, "F");
    t.same(news(failing), ["state R", ...stepsFrom(step), ...done(failing)], `${variant} goes on at ${step}`);
  }
});

await t.test("a cancel at each step, and a restart from the beginning", async (t) => {
  const all = everyStep.map((it) => ({ ...it, held: job(it.variant) }));
  for (const { held, step } of all) {
    held.levers.hold(step);
    await send(held, "start");
  }
  for (const { held, step, variant } of all) {
    const there = () => bespin.wordsOf(held.id).at(-1) === `step ${LETTER[step]}`;
    await system.until(`${variant} to be at ${step}`, there, 240_000);
    await send(held, "cancel");
    await ended(held, "C");
    t.same(news(held), [...BEGUN, ...stepsTo(step), ...CANCELLED], `${variant} is cancelled at ${step}`);
    held.levers.go(step);
    await send(held, "restart");
  }
  for (const { held, step, variant } of all) {
    await ended(held, "F");
    t.same(news(held), [...whole, ...done(held)], `${variant} begins anew after its cancel at ${step}`);
  }
});

await t.test("an image that is nowhere ends the job, with what is wrong", async (t) => {
  const it = job("lando", "registry.invalid/lando/util:1");
  await send(it, "start");
  await ended(it, "E");
  t.same(news(it), [...BEGUN, ...stepsTo("stage_data"), ...failedAt("stage_data")]);
  t.match(bespin.told.findLast(({ job: id }) => id === it.id)?.body, {
    content: "The registry has no registry.invalid/lando/util:1.",
  });
});

await t.test("what Lando made of two starts, of a late cancel and of a message that is no command", async (t) => {
  const it = job("lando-message");
  it.levers.hold("run_workflow");
  await send(it, "start");
  await send(it, "start");
  await stage.send("lando-message", "\u0080\u0002cposix\nsystem\nX");
  await stage.send("lando-message", { command: "start_job", job: it.id });
  await stage.send("lando-message", { command: "start", job: 999_999 });
  await system.until("the workflow", () => bespin.wordsOf(it.id).at(-1) === "step R", 240_000);
  await send(it, "restart");
  it.levers.go("run_workflow");
  await ended(it, "F");
  await send(it, "cancel");
  const refused = (command: string) =>
    system.received.some(({ type, data }) => type === "command.refused" && String(data["command"]).startsWith(command));
  await system.until("the refusals", () => refused("restart/") && refused("cancel/"));
  t.same(news(it), [...whole, ...done(it)], "a healthy job stays one, and an ended one, too");
  const run = RunId.parse(`bespin/${it.id}/${1_000 + it.id}`);
  const anchor = async () => (await system.ledger.find(run))?.record.anchors?.at(-1)?.state;
  await system.until("nothing of it to be left", async () => (await anchor()) === "gone", 120_000);
});
