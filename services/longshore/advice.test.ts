import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { embeddedHint } from "@longshore/domain/diagnosis/embedded-hints.ts";
import {
  claimed,
  created,
  entry,
  first,
  groupsOf,
  INSTALLATION,
  jobName,
  placer,
  runId,
  wanted,
} from "@longshore/ledger/testing/conformance-parts.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import { GroupName } from "@longshore/contract/ids.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { adviceOn, againOf, holdersBefore, restartOf } from "./advice.ts";
import { placeOf } from "./place.ts";

const CLUSTER = { where: "", kubectl: "kubectl" };

const open = (): Ledger => ledgerModel({ clock: stepsClock(), installation: INSTALLATION, jobName }).connect();

async function adviceIn(ledger: Ledger) {
  const record = (await ledger.find(runId("a")))?.record;
  if (record === undefined) throw new Error("the run is there");
  const place = placeOf(record, { groupsFile: "/nowhere", installation: INSTALLATION }, "x.yaml");
  return adviceOn(record, (await ledger.story(runId("a"), 0, 99)).at(-1), place);
}

const GIVES_UP = / If nothing changes, the run gives up at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\.$/;

t.test("a run that waits for a group that nobody has is told how to find the groups, and how to be asked for anew", async (t) => {
  const ledger = open();
  await ledger.admit([wanted("a", { groups: [GroupName.parse("nowhere")] })]);
  await ledger.place({ most: 1, placer });
  const { hint = "" } = (await adviceIn(ledger)) ?? {};
  t.match(hint, "`longshore group list --config x.yaml`");
  t.match(hint, "`longshore runs cancel a --config x.yaml`");
  t.match(hint, GIVES_UP);
});

t.test("a run that waits for a paused group is told how to resume it", async (t) => {
  const ledger = open();
  await ledger.putGroups(groupsOf(1));
  await ledger.setGroup(GroupName.parse("east"), { paused: true });
  await ledger.admit([wanted("a", { groups: [GroupName.parse("east")] })]);
  await ledger.place({ most: 1, placer });
  t.match((await adviceIn(ledger))?.hint, "`longshore group resume east --config x.yaml` lets it start.");
});

t.test(
  "a run that is stuck is told the hint of its diagnosis, and when it gives up; one that goes on is told nothing",
  async (t) => {
    const ledger = open();
    const work = first(await claimed(ledger, [wanted("a")]));
    await ledger.record([entry(work, created(work))]);
    t.equal(await adviceIn(ledger), undefined);
    const { uid, group } = created(work);
    const diagnosis = diagnose("ImageNotFound", "There is no such image.");
    await ledger.record([entry(work, { kind: "stalled", diagnosis, uid, rv: "2", group })]);
    const { sentence, hint = "" } = (await adviceIn(ledger)) ?? {};
    t.equal(sentence, "There is no such image.");
    t.match(hint, /^Check the image's name and tag/);
    t.match(hint, GIVES_UP);
  },
);

t.test("a restart does not help a run whose own request is to blame for the wait", async (t) => {
  t.equal(restartOf("a", CLUSTER, { ...diagnose("WaitExpired", ""), blame: "request" }), undefined);
  t.equal(restartOf("a", CLUSTER, diagnose("WaitExpired", "")), "longshore runs restart a");
});

t.test("a run that waits for its turn is told in which line, and which runs are before it", async (t) => {
  const ledger = open();
  await ledger.putGroups(groupsOf(9));
  const one = { concurrency: { key: "export/1" } };
  await ledger.admit([wanted("before", { ...one, priority: 1 }), wanted("a", one)]);
  await ledger.place({ most: 9, placer });
  const record = (await ledger.find(runId("a")))?.record;
  if (record === undefined) return void t.fail("the run is there");
  const holders = await holdersBefore(ledger, record);
  const [newest] = await ledger.story(runId("a"), 1, 9);
  const told = adviceOn(record, newest, placeOf(record, { groupsFile: "/nowhere", installation: INSTALLATION }, undefined), {
    holders,
  });
  t.equal(told?.sentence, 'Of the runs with the key "export/1", 1 may go on at a time; now this is before.');
  t.match(told, { hint: /^There is nothing to do: .* turn comes\./, needsNobody: true });
});

t.test("a run with `notBefore` is told when it starts", async (t) => {
  const ledger = open();
  await ledger.admit([wanted("a", { notBeforeMs: Date.parse("2099-12-31T23:59:59Z") })]);
  t.match((await adviceIn(ledger))?.hint, "It starts at 2099-12-31 23:59:59Z, as its `notBefore` says.");
});

t.test(
  "after a cancel a restart is offered, but not of a run whose only group nobody has; of no use, a new id is asked for",
  async (t) => {
    const record = (groups: readonly string[], outcome = "cancelled", made: object = {}) =>
      ({ run: { id: runId("a"), outcome, plan: { groups, simple: true, ...made } } }) as never;
    const there = [{ name: "east" }];
    t.same(againOf(record([]), CLUSTER, undefined, there), { command: "longshore runs restart a" });
    t.same(againOf(record(["east", "nowhere"]), CLUSTER, undefined, there), { command: "longshore runs restart a" });
    t.match(againOf(record(["nowhere"]), CLUSTER, undefined, there), {
      command: "longshore publish --image IMAGE --group GROUP --follow -- COMMAND",
      instead: /the group: .*new id/,
    });
    for (const { made, command } of [
      { made: {}, command: "longshore publish --image IMAGE --config x --follow -- COMMAND" },
      { made: { definition: { name: "greet" } }, command: "longshore publish --definition greet --config x --follow" },
      { made: { simple: false }, command: "longshore publish --file REQUEST.yaml --config x --follow" },
    ])
      t.match(againOf(record([], "failed", made), { ...CLUSTER, where: " --config x" }, diagnose("StartError", ""), there), {
        command,
        instead: /new id/,
      });
    t.same(againOf(record([], "succeeded"), CLUSTER, undefined, there), {});
  },
);

for (const { code, want } of [
  { code: "ImageNotFound", want: "longshore runs restart a --with image=IMAGE --config x" },
  { code: "OutOfMemory", want: "longshore runs restart a --with resources.limits.memory=SIZE --config x" },
  { code: "OutputsInvalid", want: undefined },
  { code: "StartError", want: undefined },
  { code: "QuotaImpossible", want: "longshore runs restart a --config x" },
  { code: "ConfigMissing", want: "longshore runs restart a --config x" },
  { code: "ExitCode", want: "longshore runs restart a --config x" },
  { code: "NodeLost", want: "longshore runs restart a --config x" },
  { code: undefined, want: "longshore runs restart a --config x" },
] as const)
  t.equal(
    restartOf("a", { ...CLUSTER, where: " --config x" }, code && diagnose(code, "")),
    want,
    `the restart after ${code ?? "a cancel"}`,
  );

t.test("in the pocket, a program that wrote no outputs can be mended, and a restart runs it as it then is", async (t) => {
  for (const code of ["OutputsLost", "OutputsInvalid"] as const)
    t.equal(restartOf("a", { where: "", kubectl: undefined }, diagnose(code, "")), "longshore runs restart a");
});

t.test("in the pocket, a restart finds a Secret as little as before: the request is to be published anew", async (t) => {
  const record = { run: { id: runId("a"), outcome: "failed", plan: { simple: true } } } as never;
  const diagnosis = { ...diagnose("ConfigMissing", ""), hint: embeddedHint("ConfigMissing", "") };
  t.same(againOf(record, { where: "", kubectl: undefined }, diagnosis, []), {
    command: "longshore publish --image IMAGE --follow -- COMMAND",
  });
});
