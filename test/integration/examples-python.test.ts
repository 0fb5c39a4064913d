/**
 * The examples for upstream applications, taken out of README.md and the contract's README.md and run as they are printed
 * there, with only the broker's URL: one program follows, the other publishes.
 */
// needs rabbitmq
import t from "tap";
import { pythonWithPika } from "../harness/python.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { application, consumed, example, queueOfEvents } from "../harness/readme.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait has its own bound

const RUN = "orders/8812/export";
const OTHER = "orders/8811/export";

t.test("the publishing example is short enough to be read before deciding to", async (t) => {
  const lines = example("publish").split("\n");
  t.ok(lines.length > 1 && lines.length <= 10, `it has ${lines.length} lines`);
});

t.test("an application in Python publishes a run and hears its whole story, as printed in our pages", async (t) => {
  const python = await pythonWithPika((sentence) => t.comment(sentence));
  await using rabbit = await rabbitmq({ version: "4.0", shared: true, say: (sentence) => t.comment(sentence) });
  await using system = await openSystem({ brokerUrl: rabbit.url });
  await system.watcher();
  await system.launcher();

  await queueOfEvents(rabbit.url, "shop");
  await using elsewhere = application(python, example("publish").replace(RUN, OTHER), rabbit.url);
  t.match(await elsewhere.ended, { code: 0 }, "another run's events are in the queue first");
  await system.ended([OTHER]);

  await using follower = application(python, example("follow"), rabbit.url);
  await consumed(rabbit.url, "shop");
  await using publisher = application(python, example("publish"), rabbit.url);
  t.same(await publisher.ended, { code: 0, out: `sent: ${RUN}\n`, err: "" }, "what the publisher prints");

  await system.ended([RUN]);
  const { code: exitCode, out, err } = await follower.ended;
  t.same({ exitCode, err }, { exitCode: 0, err: "" }, "the follower ends by itself after the run's end");
  const story = ["accepted", "launched", "started", "succeeded"].map((word, at) => `${RUN} ${at + 1} run.${word}`);
  t.same(out.trimEnd().split("\n"), story, "what the follower prints");

  t.same(await system.faults([RUN]), []);
  t.equal((await system.created()).length, 2, "one Job was created for each run");

  await using again = application(python, example("follow"), rabbit.url);
  await consumed(rabbit.url, "shop");
  const repeated = example("publish").replace("delivery_mode=2", 'delivery_mode=2, reply_to="shop"');
  await using repeater = application(python, repeated, rabbit.url);
  t.match(await repeater.ended, { code: 0 });
  const known = await again.ended;
  t.match(known, { code: 0, out: `${RUN} is there already: ended succeeded`, err: "" }, "a duplicate ends the follower, too");

  await using misled = application(python, example("follow"), rabbit.url);
  await consumed(rabbit.url, "shop");
  const other = example("publish").replace('"busybox"', '"busybox:2"').replace('"/1"', '"/2"');
  t.not(other, example("publish"));
  await using conflicting = application(python, other, rabbit.url);
  t.match(await conflicting.ended, { code: 0 }, "another message for the same run is refused, which ends no follower");
  const typo = example("publish")
    .replace('"image"', '"imagge"')
    .replace('"run":', '"rum":')
    .replaceAll('request["run"]', `"${RUN}"`);
  t.notMatch(typo, '"run":');
  await using mistaken = application(python, typo, rabbit.url);
  t.match(await mistaken.ended, { code: 0 }, "the broker takes it");
  const refused = await misled.ended;
  t.match(refused, { code: 0, err: "" }, "the follower ends by itself after a refusal");
  t.notMatch(refused.out, /other content/, "the answer to another message is not its own");
  t.match(refused.out, /^orders\/8812\/export refused: \/data\/imagge .*did you mean "image"\?/m, "and says what is wrong");
});
