/**
 * Tests the rules that simulation and chaos tests share, and the rules for journals, on histories in which one thing is wrong.
 * The rules must name the fault, and find no fault in the sound history.
 */
import t from "tap";
import { judge } from "../../judge/rules.ts";
import type { Lifted, View } from "../../judge/view.ts";
import { faultsOfHistory } from "./check.ts";
import type { History } from "./journals.ts";
import { asked, cluster, type Open, passed, podOf, rowOf, sound, T, the, weEnded, type Wrong } from "./sound.ts";
import { viewOf } from "./view.ts";
import { later, wrongs } from "./wrong-histories.ts";

/** Mistakes that the journals show less exactly than the simulation does: these rows change the view, not the journals. */
const wrongViews: readonly { readonly name: string; readonly wrong: (view: Open<View>) => void; readonly says: RegExp }[] = [
  {
    name: "an attempt took somebody else's Job for its own",
    says: /^G3: .*good-1 of good has the Job uid-good, which somebody else made/,
    wrong: (it) => void (the(it.jobs, ({ uid }) => uid === "uid-good").ours = false),
  },
  {
    name: "succeeded was recorded before the Job was Complete",
    says: /^G5: .*good-1 of good ended succeeded, and its Job was never Complete/,
    wrong: (it) => void (the(it.jobs, ({ uid }) => uid === "uid-good").completeMs = T + 4_500),
  },
  {
    name: "a Job had long been Complete when its attempt was recorded as cancelled",
    says: /^G4: .*off-1 of off ended cancelled, and its Job was Complete/,
    wrong: (it) =>
      void Object.assign(
        the(it.jobs, ({ uid }) => uid === "uid-off"),
        { completeMs: T, bindsMs: T + 4_900 },
      ),
  },
  {
    name: "a message that nobody can read was refused",
    says: /^G1: .*unreadable of good .* is not quarantined/,
    wrong: (it) => Object.assign(it.commands[0] ?? {}, { type: "unreadable", is: { refused: true }, mayBe: ["quarantined"] }),
  },
];

for (const { name, wrong, says } of wrongViews) {
  t.test(`it finds that ${name}`, async (t) => {
    const view = viewOf(sound() as History) as Open<View>;
    wrong(view);
    const found = judge(undefined, view as View, {}).map(({ invariant, message }) => `${invariant}: ${message}`);
    t.ok(
      found.some((it) => says.test(it)),
      `it says ${found.join(" | ") || "nothing"}`,
    );
  });
}

t.test("a Job that was Complete a moment before its attempt was recorded as cancelled breaks no rule", async (t) => {
  const view = viewOf(sound() as History) as Open<View>;
  Object.assign(
    the(view.jobs, ({ uid }) => uid === "uid-off"),
    { completeMs: T, bindsMs: T + 5_100 },
  );
  t.same(judge(undefined, view as View, {}), []);
});

for (const [promise, wrong] of [
  ["behind", (it) => void (the(it.pods, ({ job }) => job === "uid-off").overMs = T + 6_000)],
  [
    "end",
    (it) =>
      void (the(it.jobs, ({ uid }) => uid === "uid-off").deletedMs = the(it.jobs, ({ uid }) => uid === "uid-off").goneMs =
        undefined),
  ],
  ["start", (it) => void (the(it.attempts, ({ run }) => run === "off").started = "no")],
  [
    "one Job",
    (it) => {
      it.jobs.push({ ...the(it.jobs, ({ uid }) => uid === "uid-off"), uid: "second" });
      it.pods.push({ ...the(it.pods, ({ job }) => job === "uid-off"), job: "second" });
    },
  ],
] as const satisfies readonly (readonly [Lifted, (view: Open<View>) => void])[]) {
  t.test(`a fault that lifts "${promise}" lifts that alone`, async (t) => {
    for (const lifted of [[promise], ["one Job", "start", "end", "behind"].filter((it) => it !== promise)] as const) {
      const view = viewOf(sound() as History) as Open<View>;
      wrong(view);
      the(view.attempts, ({ run }) => run === "off").lifted = [...lifted] as Lifted[];
      t.equal(judge(undefined, view as View, {}).length > 0, !lifted.includes(promise), `lifted: ${lifted.join(", ")}`);
    }
  });
}

t.test("an exception of G3 excuses the attempts that were created before a time, and no later ones", async (t) => {
  for (const [besideMs, faults] of [[T + 1_701, 0], [T + 1_700, 1], [undefined, 1]] as const) {
    const history = sound();
    later(history, 2);
    const view = viewOf(history as History) as Open<View>;
    the(view.attempts, ({ name }) => name === "bad-1").besideMs = besideMs;
    const found = judge(undefined, view as View, {}).filter(({ invariant }) => invariant.startsWith("G3: two attempts"));
    t.equal(found.length, faults, String(besideMs));
  }
}); // biome-ignore format: a table

t.test("a sound history has no fault", async (t) => {
  t.same(faultsOfHistory(sound() as History), []);
});

t.test("nor has one whose watch was told late of a pod that the cluster had taken away before", async (t) => {
  const history = sound();
  podOf(history, "off").goneMs = T + 6_000;
  cluster(history).asked.push({ ...asked("delete", "off-1-x", T + 100, 200), resource: "pods" });
  t.same(faultsOfHistory(history as History), []);
});

for (const [name, right] of [
  [
    "one that we ended, and that had not started",
    (it) => {
      weEnded(it, "ImageNotFound");
      cluster(it).pods = cluster(it).pods.filter(({ job }) => job !== "uid-bad");
      the(it.ledger.events, ({ run, type }) => run === "bad" && type === "run.started").type = "run.stalled";
      the(it.passed, ({ id }) => id === "bad/3").type = "run.stalled";
      rowOf(it, "bad").started = "no";
    },
  ],
  [
    "one that started in the second in which we ended it",
    (it) => {
      weEnded(it, "StartExpired");
      podOf(it, "bad").startedMs = T + 3_000;
    },
  ],
  [
    "one that we ended at its deadline",
    (it) => {
      weEnded(it, "DeadlineExceeded");
      rowOf(it, "bad").deadlineMs = 1_500;
    },
  ],
  [
    "one that was restarted with another deadline",
    (it) => {
      weEnded(it, "DeadlineExceeded");
      rowOf(it, "bad").deadlineMs = undefined;
    },
  ],
  [
    "one that somebody else deleted while we closed it",
    (it) => {
      weEnded(it, "StartExpired");
      cluster(it).asked.push(asked("delete", "bad-1", T + 3_400, 200, "alice"));
    },
  ],
] as const satisfies readonly (readonly [string, Wrong])[])
  t.test(`nor has ${name}`, async (t) => {
    const history = sound();
    right(history);
    t.same(faultsOfHistory(history as History), []);
  });

t.test("a repeat of an event is none", async (t) => {
  const history = sound();
  history.passed.push({ ...passed("good", { sequence: 2, type: "run.launched" }) });
  t.same(faultsOfHistory(history as History), []);
});

for (const { name, wrong, says } of wrongs) {
  t.test(`it finds that ${name}`, async (t) => {
    const history = sound();
    wrong(history);
    const found = faultsOfHistory(history as History);
    t.ok(
      found.some((it) => says.test(it)),
      `it says ${found.join(" | ") || "nothing"}`,
    );
  });
}
