/**
 * The part of the conformance suite about broadcasts, which nobody keeps.
 *
 * The bug this prevents: announcements that pile up if nobody reads them, or that reach programs that did not ask for them.
 */
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Test } from "tap";
import { type Conforming, forever, freshNames, ids, message, takeAll } from "./conformance-parts.ts";

export async function passing(t: Test, { open }: Conforming): Promise<void> {
  t.setTimeout(120_000);
  const said = async (heard: AsyncIterator<Uint8Array>): Promise<string> => {
    const next = await heard.next();
    return next.done === true ? "over" : Buffer.from(next.value).toString();
  };

  await t.test("what is broadcast reaches each who listens for its key, and is kept for nobody", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await using other = await open(names);
    t.equal(await broker.broadcast(message("unheard", { key: "prod.group.announced" }), forever), "unrouted");
    const one = await broker.listen("prod.*.announced", { inFlightMax: 10, signal: forever });
    const two = await other.listen("prod.#", { inFlightMax: 10, signal: forever });
    for (const key of ["prod.group.announced", "test.group.announced", "prod.groups.asked", "prod.groups.announced"])
      await broker.broadcast(message(key, { key }), forever);
    t.same([await said(one), await said(one)], ["body prod.group.announced", "body prod.groups.announced"]);
    t.same(
      [await said(two), await said(two), await said(two)],
      ["body prod.group.announced", "body prod.groups.asked", "body prod.groups.announced"],
    );
    t.equal(await broker.broadcast(message("nobody", { key: "shop.groups.asked" }), forever), "unrouted");
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
  });

  await t.test(
    "a listener may read as slowly as it likes: it misses nothing within its queue, and settles nothing",
    async (t) => {
      await using broker = await open(freshNames());
      const heard = await broker.listen("a.#", { inFlightMax: 2, signal: forever });
      for (let n = 0; n < 20; n++) await broker.broadcast(message(n, { key: "a.b" }), forever);
      for (let n = 0; n < 20; n++) t.equal(await said(heard), `body ${n}`);
    },
  );

  await t.test("events are not overheard by who listens, nor what passes by who follows events", async (t) => {
    await using broker = await open(freshNames());
    const heard = await broker.listen("#", { inFlightMax: 5, signal: forever });
    const followed = await broker.follow("#", { inFlightMax: 5, signal: forever });
    await broker.publish("events", message("event"), forever);
    await broker.broadcast(message("passing"), forever);
    await broker.publish("events", message("last"), forever);
    t.equal(await said(heard), "body passing");
    t.same(ids(await takeAll(followed, 2)), ["id-event", "id-last"]);
  });

  await t.test("the signal ends the listening, and what passes then is unheard", async (t) => {
    await using broker = await open(freshNames());
    const stop = new AbortController();
    const heard = await broker.listen("#", { inFlightMax: 5, signal: stop.signal });
    t.equal(await broker.broadcast(message(1), forever), "stored");
    stop.abort();
    t.equal((await heard.next()).done, true);
    while ((await broker.broadcast(message(2), forever)) === "stored") await systemClock.sleep(20);
    t.pass("its queue is gone");
  });

  await t.test("closing the broker ends who listens", async (t) => {
    const broker = await open(freshNames());
    const heard = await broker.listen("#", { inFlightMax: 1, signal: forever });
    await broker[Symbol.asyncDispose]();
    t.equal((await heard.next()).done, true);
  });
}
