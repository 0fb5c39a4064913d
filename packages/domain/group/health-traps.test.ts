/** Places where the obvious reading of the group's table is wrong. Each test is named after the reading that it refutes. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { hear } from "./health.ts";
import { wordOf } from "./recorded-health.ts";
import { ANOTHER, context, input, NOW, OURS, SECOND, silence, view } from "./testing/views.ts";
import { type GroupView, ledgerInput, mayClaim, mayCreate, mayJudge, UNREACHED, unverified, type ViewState } from "./view.ts";

const { answered, missing, refused, silent, throttled, writeRefused, writeTaken, unnamed, overruled, recorded } = input;
const others = { ...answered, uid: ANOTHER };
const every = Object.entries(view) as [ViewState, GroupView][];

t.test("the ledger's word is no answer: a healthy group may be another one since the launcher that said so", async (t) => {
  const told = hear(
    unverified(UNREACHED),
    [ledgerInput({ namespaceUid: OURS, health: "healthy", diagnosis: undefined })],
    context(),
  );
  t.same([mayClaim(told), mayCreate(told), mayJudge(told)], [false, false, false]);
});

t.test("a failed probe is no answer either: what answers first may be a create, in another cluster", async (t) => {
  for (const heard of [silent, refused]) {
    const failed = hear(view.unverified, [heard], context());
    t.same([mayCreate(failed), mayJudge(failed)], [false, false], heard.kind);
  }
});

t.test(
  "one silence does not give up what the ledger calls healthy, just because this launcher was started a moment ago",
  async (t) => {
    const healthy = unverified({ namespaceUid: OURS, health: "healthy", diagnosis: undefined });
    const once = hear(healthy, [silent], context());
    t.equal(wordOf(once, healthy), undefined);
    t.match(hear(once, [recorded, silent], context()), { state: "away" }, "a second one does");
  },
);

t.test("an answer of before an outage shows nothing after it", async (t) => {
  const back = hear(view.healthy, [silent, silent], context());
  t.same([mayCreate(back), mayJudge(back)], [false, false]);
  t.ok(mayClaim(back), "what is ready there is given back for another group to take");
});

t.test("a refused read does not bring back what an outage took", async (t) => {
  t.match(hear(view.healthy, [silent, silent, refused], context()), { state: "away" });
});

t.test("another namespace that is being deleted is another one, and not ours to leave", async (t) => {
  t.match(hear(view.healthy, [{ ...others, deleting: true }], context()), { state: "moved" });
});

t.test("an outage, a refusal or an empty cluster does not bring a moved group back", async (t) => {
  for (const heard of [silent, refused, missing, throttled, writeTaken])
    t.match(hear(view.moved, [heard, heard], context()), { state: "moved", diagnosis: { code: "GroupMoved" } }, heard.kind);
});

t.test("what a person accepted is not undone by a launcher that remembers the old namespace", async (t) => {
  for (const [state, before] of every)
    t.match(hear(before, [unnamed, others], context(NOW + 60 * SECOND)), { state: "healthy", namespaceUid: ANOTHER }, state);
});

t.test("a rest is of the old namespace: the one that was accepted begins without it", async (t) => {
  t.match(hear(view.refusing, [unnamed, others], context()), { state: "healthy", refusals: undefined });
});

t.test(
  "creates that are refused together are one refusal: the second neither prolongs the rest nor doubles the next",
  async (t) => {
    const once = hear(view.healthy, [writeRefused], context());
    t.equal(hear(once, [writeRefused, writeRefused], context(NOW + SECOND)), once);
  },
);

t.test("that a create was taken does not end the rest: of those that were sent with it others are refused yet", async (t) => {
  const taken = hear(view.healthy, [writeRefused, writeTaken], context());
  t.equal(taken.state, "refusing");
  t.equal(hear(taken, [writeRefused], context()), taken, "nor does the next refusal begin another rest");
});

t.test("answered reads do not end the rest of refused writes", async (t) => {
  const resting = hear(view.refusing, [answered, answered], context(view.refusing.refusals.untilMs - 1));
  t.match(resting, { state: "refusing" });
});

t.test("a late answer to a create of before says nothing of a group that is trusted anew", async (t) => {
  for (const heard of [writeRefused, writeTaken]) t.equal(hear(view.unverified, [heard], context()), view.unverified);
});

t.test("a request to wait is no trouble, and an answer to who doubted", async (t) => {
  for (const [state, before] of every) {
    const after = hear(before, [throttled], context()).state;
    t.equal(after, state === "doubted" ? "healthy" : state);
  }
  t.match(hear(view.healthy, [silent, throttled, silent], context()), { state: "doubted" }, "two silences, not in a row");
});

t.test("a refused token in a namespace that was being deleted is that deletion, and no new token mends it", async (t) => {
  const shut = hear(view.terminating, [refused], context());
  t.match(shut, { state: "barred", diagnosis: { code: "NamespaceTerminating", sentence: /account and Role there are gone/ } });
  t.match(hear(shut, [refused], context()), { diagnosis: { code: "NamespaceTerminating" } }, "however often it is refused");
  const started = hear(
    unverified(UNREACHED),
    [{ ...recorded, health: "unhealthy", diagnosis: view.terminating.diagnosis }, refused],
    context(),
  );
  t.match(started, { state: "away", diagnosis: { code: "NamespaceTerminating" } }, "also for a launcher that was just started");
});

t.test("that a group answers another launcher does not make it safe for us", async (t) => {
  const moved = hear(view.moved, [overruled], context());
  t.same([mayClaim(moved), mayCreate(moved), mayJudge(moved)], [false, false, false]);
});

t.test("two reasons for one trouble do not take turns", async (t) => {
  const theirs = { namespaceUid: OURS, health: "unhealthy", diagnosis: diagnose("TlsUntrusted", "It shows another certificate.") } as const;
  t.match(wordOf({ ...view.away, diagnosis: silence }, theirs), { turns: true, needs: ["healthy", "unhealthy"] });
}); // biome-ignore format: one value a line
