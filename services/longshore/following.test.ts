/** The text for a person who follows a run: the events so far, each new event, and the advice at the end. */
import type { Delivery } from "@longshore/broker/port.ts";
import { type DeliveryQueue, deliveryQueue } from "@longshore/broker/receiving.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { writeNotice } from "@longshore/contract/messages/envelope.ts";
import { GroupName, TenantName } from "@longshore/contract/ids.ts";
import {
  cancelled, claimed, complete, created, entry, failed, finish, first, groupsOf, INSTALLATION, jobName, placer, restarted, runId, started, wanted
} from "@longshore/ledger/testing/conformance-parts.ts"; // biome-ignore format: a list of names
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { setImmediate, setTimeout } from "node:timers/promises";
import t, { type Test } from "tap";
import { exitCodeOf, follow } from "./following.ts";
import type { ReadOutput } from "./output.ts";
import { placeOf } from "./place.ts";
import type { Progress } from "./screen/progress.ts";

const RUN = runId("a");
const place = (record: RunRecord) => placeOf(record, { groupsFile: "/nowhere", installation: INSTALLATION }, undefined);

interface Scene {
  readonly ledger: Ledger;
  readonly clock: ReturnType<typeof stepsClock>;
  readonly follow: (command?: string, progress?: Progress, readOutput?: ReadOutput) => ReturnType<typeof follow>;
  /** Delivers an event from the broker. */
  readonly tell: (type: string, data: object) => void;
  readonly stop: () => void;
  readonly said: () => string;
}

function scene(t: Test): Scene {
  const clock = stepsClock();
  const ledger = ledgerModel({ clock, installation: INSTALLATION, jobName }).connect();
  const events: DeliveryQueue<Delivery> = deliveryQueue<Delivery>(() => undefined);
  const stop = new AbortController();
  stop.signal.addEventListener("abort", () => events.end());
  t.teardown(() => stop.abort());
  let said = "";
  const done = async (): Promise<void> => undefined;
  const about = { installation: INSTALLATION, tenant: TenantName.parse("shop"), time: "2030-01-31T12:00:00.000Z" };
  return {
    ledger,
    clock,
    follow: (command, progress, readOutput) =>
      follow(
        {
          broker: { follow: async () => events.items },
          ledger,
          run: RUN,
          place,
          ...(command !== undefined && { command }),
          ...(readOutput && { readOutput }),
        },
        { out: (text) => void (said += text), signal: stop.signal, ...(progress && { progress }) },
      ),
    tell: (type, data) => {
      const body = writeNotice({ ...about, id: "notice", type: type as "command.refused", data });
      events.give({
        id: "",
        body,
        redeliveries: 0,
        user: undefined,
        replyTo: undefined,
        correlationId: undefined,
        ack: done,
        requeue: done,
        quarantine: done,
      });
    },
    stop: () => stop.abort(),
    said: () => said,
  };
}

const words = (text: string): readonly string[] =>
  [...text.matchAll(/^ +\d+ +\S+Z +(?:\+\S+ \S+)? +(\w+)/gm)].map(([, word = ""]) => word);

t.test("a run that is over is told whole, with how long each state lasted, and nobody waits", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  await it.ledger.record([entry(work, created(work))]);
  await it.clock.pass(12_000);
  await it.ledger.record([entry(work, started(work))]);
  await it.clock.pass(3_000);
  await it.ledger.record([entry(work, complete(work))]);
  const following = await it.follow();
  t.equal(await following.soFar(), "run.succeeded");
  t.same(words(it.said()), ["accepted", "launched", "started", "succeeded"]);
  t.match(it.said(), /\+12 s +started[\s\S]*\+3\.0 s +succeeded/);
});

t.test("a run that is under way is told so far, then as it goes on, each event once", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  const stuck = diagnose("ImageNotFound", "The registry has no such image.");
  const of = { uid: created(work).uid, rv: "2", group: created(work).group };
  await it.ledger.record([entry(work, created(work)), entry(work, { kind: "stalled", diagnosis: stuck, ...of })]);
  await it.clock.pass(250_000);
  const following = await it.follow();
  t.equal(await following.soFar(), undefined);
  t.same(words(it.said()), ["accepted", "launched", "stalled"]);
  t.match(
    it.said(),
    /ImageNotFound: The registry has no such image\.\n {6}Hint: Check the image.* gives up at .*\n {6}stalled for 4 m 10 s so far\n$/,
  );
  const end = following.toEnd();
  await finish(it.ledger, work, failed);
  it.tell("run.failed", { run: RUN });
  t.equal(await end, "run.failed");
  t.equal(words(it.said()).filter((word) => word === "stalled").length, 1);
  t.equal(it.said().match(/gives up at/g)?.length, 1, "the hint of a wait stands once");
  t.same(words(it.said()).at(-1), "failed");
});

t.test("a wait says for what, by the name of the group", async (t) => {
  const it = scene(t);
  await it.ledger.putGroups(groupsOf(1));
  await it.ledger.admit([wanted("before", { priority: 1 }), wanted("a")]);
  await it.ledger.place({ most: 2, placer });
  const following = await it.follow();
  await following.soFar();
  t.match(it.said(), /waiting +GroupsFull: it is full: 1 of 1 Jobs \(east\)\n/);
  t.notMatch(it.said(), "Hint", "nobody has to do anything");
});

t.test("a wait that needs a person says what to do, and when the run gives up", async (t) => {
  const it = scene(t);
  await it.ledger.admit([wanted("a", { groups: [GroupName.parse("nowhere")] })]);
  await it.ledger.place({ most: 1, placer });
  await (await it.follow()).soFar();
  t.match(it.said(), /Hint: Correct the name: `longshore runs cancel a`, .*`longshore group list`.* gives up at /);
});

/** Notes what the progress line says, and stops the following after `most` waits. */
function lines(most: number, stop: () => void) {
  const said: { readonly what: string; readonly isCountedDown: boolean }[] = [];
  const progress: Progress = {
    during: (what, work, how) => {
      said.push({ what, isCountedDown: how?.untilMs !== undefined });
      if (said.length === most) stop();
      return work();
    },
    clear: () => undefined,
  };
  return { said, progress };
}

t.test("between two tries, the progress line counts down to the next one", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a", { retriesMax: 2 })]));
  const evidence = { started: "yes", diagnosis: diagnose("ExitCode", "It ended with exit code 1.") } as const;
  await finish(it.ledger, work, () => ({ ...failed(work), evidence }));
  const { said, progress } = lines(1, it.stop);
  const following = await it.follow(undefined, progress);
  await following.soFar();
  t.equal(await following.toEnd(), "stopped");
  t.same(said, [{ what: "attempt 2 of 3", isCountedDown: true }]);
});

t.test("while a run waits for a person, the progress line says so", async (t) => {
  const it = scene(t);
  await it.ledger.admit([wanted("a", { groups: [GroupName.parse("nowhere")] })]);
  await it.ledger.place({ most: 1, placer });
  const { said, progress } = lines(1, it.stop);
  const following = await it.follow(undefined, progress);
  await following.soFar();
  await following.toEnd();
  t.match(said, [{ what: "waiting, it needs somebody: see the hint above" }]);
});

t.test("while no launcher takes a request, the progress line says after a while that the broker has it", async (t) => {
  const it = scene(t);
  const whats: string[] = [];
  const progress: Progress = {
    during: (what, work) => {
      whats.push(what);
      if (whats.length === 2) it.stop();
      return work();
    },
    clear: () => undefined,
  };
  t.equal(await (await it.follow(undefined, progress)).toEnd(), "stopped");
  t.same(whats, ["waiting for a launcher to take it", "the broker has it, and no launcher has taken it yet"]);
});

t.test("a request that no launcher has taken is told as such, and no longer when it is taken", async (t) => {
  const it = scene(t);
  const following = await it.follow();
  t.equal(following.isTaken(), false);
  const end = following.toEnd();
  await it.ledger.admit([wanted("a")]);
  it.tell("run.accepted", { run: RUN });
  for (let turns = 0; turns < 100 && !following.isTaken(); turns++) await setImmediate();
  t.equal(following.isTaken(), true);
  it.stop();
  t.equal(await end, "stopped");
});

t.test("at the end come the program's last lines, the diagnosis in a sentence, its hint, and the next commands", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  const log = { state: "complete", lines: 2, tail: "\u001b[2Jboom\nbang\n" } as const;
  await finish(it.ledger, work, () => ({ ...failed(work), evidence: { ...failed(work).evidence, log } }));
  await (await it.follow()).soFar();
  const end = it.said().split("\n").slice(-9);
  t.match(end, [
    "  It ended with exit code 1.",
    "  Hint: What it printed may say why; all of it stands here.",
    "  log: 2 lines",
    "    ·[2Jboom",
    "    bang",
    "  next:",
    "    longshore runs show a",
    "    longshore runs restart a",
    "",
  ]);
});

t.test("what a run that succeeded has printed is shown, and no restart is offered", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  const log = { state: "complete", lines: 1, tail: "hi\n" } as const;
  await finish(it.ledger, work, () => ({ ...complete(work), evidence: { started: "yes", log } }));
  await (await it.follow()).soFar();
  t.match(it.said(), /succeeded\n {2}log: 1 line\n {4}hi\n {2}next:\n {4}longshore runs show a\n$/);
});

t.test("of a run that printed nothing, it says so", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  const log = { state: "complete", lines: 0, tail: "" } as const;
  await finish(it.ledger, work, () => ({ ...complete(work), evidence: { started: "yes", log } }));
  await (await it.follow()).soFar();
  t.match(it.said(), /succeeded\n {2}log: it printed nothing\n {2}next:/);
});

const LOG = { state: "complete", lines: 2, tail: "first\nlast\n" } as const;

/** Resolves when this stands on the screen. */
async function until(it: Scene, text: string): Promise<void> {
  for (let turns = 0; !it.said().includes(text) && turns < 1_000; turns++) await setImmediate();
}

t.test("what a program prints is shown while it runs, and not once more at the end", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  await it.ledger.record([entry(work, created(work)), entry(work, started(work))]);
  const goOn = Promise.withResolvers<void>();
  using following = await it.follow(undefined, undefined, async ({ name }, print) => {
    t.equal(name, work.attempt.name);
    print("\u001b[2Jfirst");
    await goOn.promise;
    print("last");
    return true;
  });
  await following.soFar();
  const end = following.toEnd();
  await until(it, "first");
  t.match(it.said(), /started[^]*\n {4}·\[2Jfirst\n$/, "before its end, and without what moves a terminal's cursor");
  await it.ledger.record([entry(work, { ...failed(work), evidence: { ...failed(work).evidence, log: LOG } })]);
  goOn.resolve();
  it.tell("run.failed", { run: RUN });
  t.equal(await end, "run.failed");
  t.match(it.said(), /\n {4}last\n[^]*failed[^]*exit code 1\.\n[^]*next:/);
  t.notMatch(it.said(), "log: 2 lines");
});

for (const { name, read } of [
  { name: "cannot be read", read: async () => false },
  { name: "broke off", read: async () => await Promise.reject(new Error("the connection was lost")) },
])
  t.test(`output that ${name} is told at the end, and after five seconds where it can be read meanwhile`, async (t) => {
    const it = scene(t);
    const work = first(await claimed(it.ledger, [wanted("a")]));
    await it.ledger.record([entry(work, created(work)), entry(work, started(work))]);
    using following = await it.follow(undefined, undefined, read);
    await following.soFar();
    const end = following.toEnd();
    for (const ms of [4_000, 1_000, 9_000]) {
      await it.clock.pass(ms);
      it.tell("run.stalled", { run: RUN });
      await setTimeout(20);
      t.equal(it.said().includes("what it prints"), ms !== 4_000);
    }
    t.equal(it.said().match(/what it prints: `kubectl -n \S+ logs --follow job\/\S+`/g)?.length, 1);
    await it.ledger.record([entry(work, { ...complete(work), evidence: { started: "yes", log: LOG } })]);
    it.tell("run.succeeded", { run: RUN });
    t.equal(await end, "run.succeeded");
    t.match(it.said(), "  log: 2 lines\n    first\n    last\n");
  });

t.test("what a step printed is shown at its end, if its pod went before it could be read", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a", { steps: ["sort"] })]));
  await it.ledger.record([entry(work, created(work)), entry(work, started(work))]);
  using following = await it.follow(undefined, undefined, async () => false);
  await following.soFar();
  const end = following.toEnd();
  await it.ledger.record([entry(work, { ...complete(work), evidence: { started: "yes", log: LOG } })]);
  it.tell("run.succeeded", { run: RUN });
  t.equal(await end, "run.succeeded");
  t.match(it.said(), /step succeeded +sort\n {2}log: 2 lines\n {4}first\n {4}last\n[^]*succeeded\n {2}next:/);
});

t.test("an end that was told late stands at its own time, so that all durations fit together", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  await it.ledger.record([entry(work, created(work)), entry(work, started(work))]);
  const finishedAt = new Date((await it.ledger.now()) + 12_000).toISOString();
  await it.clock.pass(60_000);
  await it.ledger.record([entry(work, { ...complete(work), evidence: { started: "yes", finishedAt } })]);
  await (await it.follow()).soFar();
  t.match(it.said(), /\+12 s +succeeded +told 48 s later\n/);
});

t.test("of a long log the last lines are shown, and the command that prints all", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  const tail = Array.from({ length: 64 }, (_, n) => `${n}%\rline \u001b[31m${n}\u001b[0m\n`).join("");
  const log = { state: "complete", lines: 64, tail } as const;
  await finish(it.ledger, work, () => ({ ...complete(work), evidence: { started: "yes", log } }));
  await (await it.follow()).soFar();
  t.match(it.said(), "  log: the last 20 of 64 lines; the command beneath prints all\n    line 44\n");
  t.match(it.said(), /    line 63\n {2}kubectl -n \S* logs job\/\S+\n/);
});

t.test("its own refusal ends the following with the problems; somebody else's does not", async (t) => {
  const it = scene(t);
  const following = await it.follow("mine");
  const end = following.toEnd();
  const problems = [{ path: "/data/run", code: "NotEnded", message: "the run is not over" }];
  it.tell("command.refused", { run: RUN, command: "theirs", problems: [] });
  it.tell("command.refused", { run: RUN, command: "mine", problems });
  t.equal(await end, "command.refused");
  t.equal(it.said(), "refused\n  /data/run: the run is not over\n");
});

t.test("a run that is restarted is followed from the restart on, to its new end", async (t) => {
  const it = scene(t);
  await finish(it.ledger, first(await claimed(it.ledger, [wanted("a")])), failed);
  const following = await it.follow("again");
  const end = following.toEnd();
  await it.ledger.admit([restarted("a")]);
  it.tell("run.restarted", { run: RUN });
  for (const work of await claimed(it.ledger, [])) await finish(it.ledger, work, complete);
  it.tell("run.succeeded", { run: RUN });
  t.equal(await end, "run.succeeded");
  t.same(words(it.said()), ["restarted", "launched", "started", "succeeded"]);
});

t.test("a ledger that does not answer for a moment ends no following, and one that is gone does", async (t) => {
  const it = scene(t);
  const work = first(await claimed(it.ledger, [wanted("a")]));
  const following = await it.follow();
  let failures = 1;
  const { story } = it.ledger;
  Object.assign(it.ledger, {
    story: async (...of: Parameters<Ledger["story"]>) => {
      if (failures-- > 0) throw new Failure("retry", "LedgerLost", "Query read timeout");
      return await story(...of);
    },
  });
  const end = following.toEnd();
  await finish(it.ledger, work, complete);
  t.equal(await end, "run.succeeded");
  failures = Infinity;
  await t.rejects((await it.follow()).toEnd(), { code: "LedgerLost" });
});

t.test("Ctrl-C ends the following at once", async (t) => {
  const it = scene(t);
  await it.ledger.admit([wanted("a"), cancelled("b")]);
  const following = await it.follow();
  await following.soFar();
  const end = following.toEnd();
  it.stop();
  t.equal(await end, "stopped");
  t.equal(exitCodeOf(await end), 130);
});
