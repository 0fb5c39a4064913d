import { WORK_KINDS } from "@longshore/domain/run/change.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { codesOf, INSTALLATION, jobName, storyOf, wanted } from "./conformance-parts.ts";
import { ledgerConformance } from "./conformance.ts";
import { type Fault, type LedgerModel, ledgerModel } from "./model.ts";

await ledgerConformance(t, {
  name: "the model",
  open: async () => {
    const clock = stepsClock({ nowMs: Date.parse("2026-01-01T00:00:00Z") });
    const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
    return {
      connect: async (keyMark) => model.connect({ keyMark }),
      pass: (ms) => clock.pass(ms),
      [Symbol.asyncDispose]: async () => {},
    };
  },
});

interface Faulty {
  readonly name: string;
  readonly fault: Fault;
  readonly want: "done" | "not done";
}

const faults: readonly Faulty[] = [
  { name: "a call that is refused did nothing", fault: { end: "refused" }, want: "not done" },
  { name: "a call whose answer is lost was done", fault: { end: "lost" }, want: "done" },
  { name: "a late answer is lost all the same", fault: { beforeMs: 5, afterMs: 5, end: "lost" }, want: "done" },
];

for (const { name, fault, want } of faults) {
  t.test(name, async (t) => {
    const clock = stepsClock();
    const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
    const plain = model.connect();
    const answer = model.connect({ fault: () => fault }).admit([wanted("a")]);
    const told = answer.then(() => "answered", ({ disposition }) => disposition); // biome-ignore format: one call
    await clock.pass(10);
    t.equal(await told, "retry");
    t.same(await storyOf(plain, "a"), want === "done" ? ["accepted"] : []);
    t.same(codesOf(await plain.admit([wanted("a")])), [want === "done" ? "duplicate" : "recorded"]);
  });
}

t.test("a call that is late both ways answers when its time has come", async (t) => {
  const clock = stepsClock();
  const model: LedgerModel = ledgerModel({ clock, installation: INSTALLATION, jobName });
  const answer = model.connect({ fault: () => ({ beforeMs: 30, afterMs: 40 }) }).admit([wanted("a")]);
  await clock.pass(29);
  t.equal(model.tables.runs.size, 0, "still on its way");
  await clock.pass(1);
  t.equal(model.tables.runs.size, 1, "done, and the answer on its way");
  await clock.pass(40);
  t.same(codesOf(await answer), ["recorded"]);
});

t.test("a connection that is closed answers no more, and its writes stay", async (t) => {
  const model = ledgerModel({ clock: stepsClock(), installation: INSTALLATION, jobName });
  const ledger = model.connect();
  await ledger.admit([wanted("a")]);
  const kinds = ledger.changes(new AbortController().signal);
  await ledger[Symbol.asyncDispose]();
  await t.rejects(ledger.counts(), { code: "LedgerUnreachable" });
  t.equal((await kinds.next()).done, true);
  t.same(await storyOf(model.connect(), "a"), ["accepted"]);
});

t.test("a connection that hears no hints is not woken", async (t) => {
  const model = ledgerModel({ clock: stepsClock(), installation: INSTALLATION, jobName });
  const stop = new AbortController();
  const deaf = model.connect({ hears: () => false }).changes(stop.signal);
  for (const _ of WORK_KINDS) await deaf.next();
  await model.connect().admit([wanted("a")]);
  const next = deaf.next();
  stop.abort();
  t.equal((await next).done, true);
});
