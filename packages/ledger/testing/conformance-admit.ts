/** Conformance: commands are written down once, whole, and every refusal is answered. */
import type { Test } from "tap";
import type { Intake } from "../port.ts";
import {
  abandoned, BANK, cancelled, claimed, codesOf, complete, type Conforming, failed, finish, HOUR_MS, invalid, restarted, runId, storyOf, wanted, first
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

export async function admitting(t: Test, { open }: Conforming): Promise<void> {
  await t.test("a run admitted twice, also within one batch, is one run", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    t.same(codesOf(await ledger.admit([wanted("b"), wanted("a"), wanted("b")])), ["recorded", "recorded", "duplicate"]);
    t.same(codesOf(await ledger.admit([wanted("a"), wanted("c")])), ["duplicate", "recorded"]);
    t.same(await storyOf(ledger, "b"), ["accepted"]);
    t.equal((await ledger.counts()).runs.active, 3);
    t.equal((await ledger.counts()).attempts.waiting, 3);
  });

  await t.test("the same hundred runs admitted by four launchers at once are a hundred runs", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([1, 2, 3, 4].map(() => opened.connect()));
    const batch = Array.from({ length: 100 }, (_, n) => wanted(`run-${n}`));
    const turned = [batch, batch.toReversed(), batch.toSorted(() => 0), [...batch.slice(50), ...batch.slice(0, 50)]];
    const answers = await Promise.all(launchers.map((it, index) => it.admit(turned[index] ?? [])));
    const kinds = answers.flat().map(({ kind }) => kind);
    t.equal(kinds.filter((it) => it === "recorded").length, 100);
    t.equal(kinds.filter((it) => it === "duplicate").length, 300);
    t.equal((await launchers[0]?.counts())?.outbox, 100, "one event each");
  });

  await t.test("an id with other content is refused, and the refusal is told once", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.admit([wanted("a")]);
    const other = wanted("a", { digest: "other", command: "c2" });
    t.same(codesOf(await ledger.admit([other, wanted("b")])), ["IdempotencyConflict", "recorded"]);
    t.same(codesOf(await ledger.admit([other])), ["IdempotencyConflict"], "the message came again");
    const notices = await ledger.unsentNotices(10);
    t.match(notices, [{ type: "command.refused", tenant: "shop", data: { run: "a", command: "c2" } }]);
    t.equal(notices.length, 1);
    await ledger.sentNotices(notices.map(({ id }) => id));
    t.same(await ledger.unsentNotices(10), []);
    await ledger.admit([other]);
    t.same(await ledger.unsentNotices(10), [], "not told again after it was sent");
  });

  await t.test("a duplicate is answered where its sender asked for that, with how its run stands now", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const asking = (intake: Intake): Intake => ({ ...intake, replyTo: "answers", correlationId: `of ${intake.command}` });
    const again = (command: string): Intake => asking(wanted("a", { command }));
    const told = async (): Promise<readonly unknown[]> => {
      const notices = await ledger.unsentNotices(10);
      await ledger.sentNotices(notices.map(({ id }) => id));
      for (const { data, correlationId } of notices) if ("command" in data) t.equal(correlationId, `of ${String(data.command)}`);
      return notices.map(({ type, tenant, replyTo, data }) => ({ type, tenant, replyTo, ...data }));
    };
    const duplicate = { type: "command.duplicate", tenant: "shop", replyTo: "answers", run: "a" };

    const work = first(await claimed(ledger, [again("c1")]));
    t.same(await told(), [], "the first is no duplicate");
    t.same(codesOf(await ledger.admit([wanted("a", { command: "c2" })])), ["duplicate"]);
    t.same(await told(), [], "nobody asked to be told");
    t.same(codesOf(await ledger.admit([again("c3"), again("c3")])), ["duplicate", "duplicate"]);
    t.same(await told(), [{ ...duplicate, command: "c3", state: "active" }], "the same message in one batch");

    await finish(ledger, work, failed);
    await opened.pass(1_000);
    await ledger.admit([again("c3")]);
    const ended = { state: "ended", outcome: "failed" };
    t.same(await told(), [{ ...duplicate, command: "c3", ...ended }], "asked again, it is told how the run stands by now");
    const refused = asking(cancelled("a"));
    t.same(codesOf(await ledger.admit([refused])), ["AlreadyEnded"]);
    t.match(await told(), [{ type: "command.refused" }]);
    await ledger.admit([refused]);
    t.same(await told(), [{ ...duplicate, command: "cancel a", ...ended }]);
    t.same(codesOf(await ledger.admit([asking(restarted("a")), again("c4"), asking(restarted("a"))])), [
      "recorded",
      "duplicate",
      "duplicate",
    ]);
    const active = ["c4", "restart a"].map((command) => ({ ...duplicate, command, state: "active" }));
    t.same(new Set(await told()), new Set(active), "as its own transaction leaves the run");
  });

  await t.test("a duplicate says nothing of somebody else's run, nor of one that never came", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const theirs = { ...cancelled("a", { tenant: BANK }), replyTo: "answers" };
    const early = { ...cancelled("stone"), replyTo: "answers" };
    await ledger.admit([wanted("a"), theirs, early]);
    t.match(await ledger.unsentNotices(10), [{ type: "command.refused" }]);
    t.same(codesOf(await ledger.admit([theirs, early])), ["duplicate", "duplicate"]);
    t.equal((await ledger.unsentNotices(10)).length, 1, "only the refusal");
  });

  await t.test("an invalid command is answered with its problems and burns no id", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const problems = [{ path: "/data/image", code: "Missing", message: "An image is needed." } as const];
    t.same(await ledger.admit([invalid("a", problems), invalid(undefined, problems), wanted("a")]), [
      { kind: "refused", problems },
      { kind: "refused", problems },
      { kind: "recorded" },
    ]);
    const notices = await ledger.unsentNotices(10);
    t.same(new Set(notices.map(({ data }) => ("run" in data ? data.run : "none"))), new Set(["a", "none"]));
    t.match(notices, [{ replyTo: "answers" }, { replyTo: "answers" }]);
  });

  await t.test("a message with the id of a refused one is answered if its problems are others, and else only once", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const wrong = (message: string) => invalid("a", [{ path: "/data/image", code: "RequestInvalid", message }]);
    await ledger.admit([wrong("An image is needed.")]);
    await ledger.admit([wrong("An image is needed.")]);
    await ledger.admit([wrong("An image's name holds no spaces.")]);
    const told = (await ledger.unsentNotices(10)).map(({ data }) => JSON.stringify(data));
    t.equal(told.length, 2);
    t.match(told.join(), /is needed.*holds no spaces|holds no spaces.*is needed/);
  });

  await t.test("a cancel that came before its run cancels it on arrival, for a day", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    t.same(codesOf(await ledger.admit([cancelled("a"), cancelled("b"), cancelled("a")])), ["recorded", "recorded", "duplicate"]);
    t.equal(await ledger.find(runId("a")), undefined);
    t.equal((await ledger.counts()).runs.tombstone, 2);
    t.same(codesOf(await ledger.admit([wanted("a")])), ["recorded"]);
    t.same(await storyOf(ledger, "a"), ["accepted", "cancelled"]);
    t.match(await ledger.find(runId("a")), { record: { run: { state: "ended", outcome: "cancelled", seq: 2 }, attempts: [] } });
    t.same(codesOf(await ledger.admit([wanted("a")])), ["duplicate"]);

    await opened.pass(24 * HOUR_MS);
    t.same(codesOf(await ledger.admit([wanted("b")])), ["recorded"]);
    t.same(await storyOf(ledger, "b"), ["accepted"], "the tombstone had worn off");
  });

  await t.test("a cancel in the same batch as its run cancels it, in the order in which they came", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const batch = [wanted("a"), cancelled("a"), cancelled("b"), wanted("b")];
    t.same(codesOf(await ledger.admit(batch)), ["recorded", "recorded", "recorded", "recorded"]);
    t.same(await storyOf(ledger, "a"), ["accepted", "cancelling", "cancelled"]);
    t.same(await storyOf(ledger, "b"), ["accepted", "cancelled"]);
    t.same((await ledger.counts()).attempts, {}, "both are done");
  });

  await t.test("the same command again does nothing, even where its like would now be refused", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a")]));
    t.same(codesOf(await ledger.admit([restarted("a")])), ["NotEnded"]);
    await finish(ledger, work, failed);
    t.same(codesOf(await ledger.admit([restarted("a")])), ["duplicate"], "refused once, it does not take effect later");
    t.same(codesOf(await ledger.admit([cancelled("a")])), ["AlreadyEnded"]);
    t.same(codesOf(await ledger.admit([cancelled("a")])), ["duplicate"]);
  });

  await t.test("a restart is a new generation: the story goes on, with a new attempt under a new name", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a")]));
    await finish(ledger, work, failed);
    const [early] = await ledger.admit([restarted("a", { generation: 2, command: "early" })]);
    t.equal(early?.kind, "refused", "of a generation that is not there yet");
    t.same(codesOf(await ledger.admit([restarted("a", { generation: 1 })])), ["recorded"]);
    t.same(await storyOf(ledger, "a"), ["accepted", "launched", "started", "failed", "restarted"]);
    const again = await claimed(ledger, []);
    t.match(again, [{ run: { generation: 2 }, attempt: { n: 2, generation: 2, name: "a-main-2" } }]);
    for (const it of again) await finish(ledger, it, complete);
    t.same((await storyOf(ledger, "a")).slice(4), ["restarted", "launched", "started", "succeeded"]);
    const story = await ledger.story(runId("a"), 0, 100);
    t.same(story.map(({ generation }) => generation), [1, 1, 1, 1, 2, 2, 2, 2]); // biome-ignore format: one call
    t.match(await ledger.find(runId("a")), { record: { run: { outcome: "succeeded" }, attempts: [{ n: 1 }, { n: 2 }] } });
  });

  await t.test("what is said of somebody else's run, or of none, is refused without telling which", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.admit([wanted("a"), cancelled("stone")]);
    const theirs = { tenant: BANK };
    const batch = [wanted("a", theirs), cancelled("a", theirs), restarted("a", theirs), restarted("none", theirs)];
    t.same(codesOf(await ledger.admit(batch)), ["IdempotencyConflict", "RunUnknown", "RunUnknown", "RunUnknown"]);
    t.same(await storyOf(ledger, "a"), ["accepted"]);
    t.same(codesOf(await ledger.admit([wanted("stone", theirs)])), ["recorded"]);
    t.same(await storyOf(ledger, "stone"), ["accepted"], "another tenant's cancel is not theirs");
  });

  await t.test("an operator gives up anybody's run, once; the same command again has no effect", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.admit([wanted("a")]);
    await claimed(ledger, []);
    const given = [abandoned("a", { tenant: BANK }), abandoned("a", { tenant: BANK })];
    t.same(codesOf(await ledger.admit(given)), ["recorded", "duplicate"]);
    t.same(codesOf(await ledger.admit([abandoned("a", { command: "another" })])), ["AlreadyEnded"]);
    t.same(codesOf(await ledger.admit([abandoned("none")])), ["RunUnknown"]);
    t.match(await ledger.find(runId("a")), { record: { run: { outcome: "lost" }, attempts: [{ state: "ended" }] } });
  });

  await t.test(
    "a cancel of another generation is refused; a cancel of a generation that cannot be leaves no tombstone",
    async (t) => {
      await using opened = await open();
      const ledger = await opened.connect();
      await ledger.admit([wanted("a")]);
      const [later] = await ledger.admit([cancelled("a", { generation: 2 })]);
      t.equal(later?.kind, "refused");
      t.same(codesOf(await ledger.admit([cancelled("b", { generation: 2 }), wanted("b")])), ["RunUnknown", "recorded"]);
      t.same(await storyOf(ledger, "b"), ["accepted"]);
    },
  );
}
