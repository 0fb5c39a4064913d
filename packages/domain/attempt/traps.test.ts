/**
 * Places where the obvious reading of the tables is wrong. Each test is named after the reading that it refutes. Each was found
 * by running an adversarial cluster against tables with that reading.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { LogTail } from "@longshore/contract/messages/fact.ts";
import { Uid } from "@longshore/contract/ids.ts";
import t from "tap";
import type { AttemptInput } from "./input.ts";
import {
  after,
  claimed,
  claimedTwice,
  closing,
  closingUnborn,
  context,
  ended,
  input,
  live,
  MINUTE,
  NOW,
  occupant,
  other,
  own,
  passed,
  ready,
  SECOND,
} from "./testing/examples.ts";
import { moveAttempt } from "./lifecycle.ts";
import { isFenced, isOpen, isParked } from "../run/record.ts";

t.test("unanswered claims are no counter: one answer applied twice does not hide another create", async (t) => {
  const once = after(claimedTwice, [{ ...input.deferred, claimNo: 2 }]);
  t.same(once.unanswered, [1]);
  const twice = moveAttempt(once, { ...input.deferred, claimNo: 2 }, context());
  t.equal(twice.attempt, once, "nothing changes");
});

t.test("an answer that nobody waits for is no answer: a number that is not in the set changes nothing", async (t) => {
  for (const kind of ["refused", "deferred", "nameTaken"] as const) {
    const said = { ...input[kind], claimNo: 7 };
    for (const attempt of [claimed, claimedTwice, live, closing, closingUnborn, ended])
      t.equal(moveAttempt(attempt, said, context()).attempt, attempt, `${kind} in ${attempt.state}`);
  }
});

t.test("an older claim's answer is not the newest one's: it moves no timer of the claim that is under way", async (t) => {
  const heard = after(claimedTwice, [{ ...input.deferred, claimNo: 1 }]);
  t.equal(heard.state, "claimed");
  t.equal(heard.dueMs, claimedTwice.dueMs);
  t.same(heard.unanswered, [2]);
});

t.test("a refusal does not end an attempt whose older create may still land", async (t) => {
  const refused = after(claimedTwice, [{ ...input.refused, claimNo: 2 }]);
  t.match(refused, { state: "closing", cause: "refused", outcome: undefined, dueMs: NOW });
  const taken = after(claimedTwice, [{ ...input.nameTaken, claimNo: 2 }]);
  t.match(taken, { state: "closing", cause: "nameConflict", outcome: undefined });
});

t.test("a full quota does not send an attempt to another group while an older create may still land", async (t) => {
  const full = after(claimedTwice, [{ ...input.deferred, claimNo: 2 }]);
  t.match(full, { state: "claimed", group: claimed.group, dueMs: claimedTwice.fenceUntilMs });
  const free = after(full, [{ ...input.deferred, claimNo: 1 }]);
  t.match(free, { state: "waiting", group: undefined, dueMs: input.deferred.retryAtMs });
});

t.test("a create that was not sent is tried again soon, in its group, though an older one may still land", async (t) => {
  const unsent = after(claimedTwice, [{ ...input.deferred, claimNo: 2, again: true }]);
  t.match(unsent, { state: "claimed", group: claimed.group, unanswered: [1], dueMs: input.deferred.retryAtMs });
});

t.test("waiting too long does not end an attempt whose create may still land", async (t) => {
  t.match(after(claimedTwice, [input.waitExpired]), { state: "closing", cause: "waitExpired" });
});

t.test("that a fence has passed does not show that nothing has landed: only a look begun after it counts", async (t) => {
  const late = passed + MINUTE;
  const said = { ...input.fencePassed, begunAtMs: passed - 1 };
  for (const attempt of [claimed, closingUnborn])
    t.equal(moveAttempt(attempt, said, context(late)).attempt, attempt, `a look begun before, in ${attempt.state}`);
  t.equal(after(claimed, [{ ...said, begunAtMs: passed }], late).state, "waiting");
  t.equal(after(closingUnborn, [{ ...said, begunAtMs: passed }], late).state, "done");
});

t.test("an open attempt is fenced until its fence has passed, and open also after that", async (t) => {
  t.ok(isFenced(claimed, passed - 1));
  t.notOk(isFenced(claimed, passed));
  t.ok(isOpen(claimed));
});

t.test("a Job that is gone does not end what is being closed while another create of it may have landed", async (t) => {
  const unsure = after(claimed, [input.started, input.cancel]);
  for (const [when, atMs] of [
    ["fenced", NOW],
    ["open, its fence passed", passed + 1],
  ] as const) {
    const noted = after(unsure, [input.gone], atMs);
    t.match(noted, { state: "closing", outcome: undefined, dueMs: atMs, notes: { gone: true } }, when);
    const late = after(noted, [{ ...input.created, adopted: true, uid: other }], atMs);
    t.match(late, { state: "closing", uid: other, dueMs: atMs }, "the late one is bound, to be deleted");
    t.notOk(late.notes.gone);
  }
});

t.test("a watcher that sees no pods does not end a deletion: it only means to look now", async (t) => {
  const later = NOW + SECOND;
  const told = moveAttempt({ ...closing, dueMs: NOW + MINUTE }, input.deleting, context(later));
  t.match(told.attempt, { state: "closing", outcome: undefined, dueMs: later });
  t.match(after(live, [input.deleting]), { state: "closing", cause: "external", outcome: undefined });
});

t.test("a log that was read while the pod was there outlasts one that could not be read when it was gone", async (t) => {
  const log = { state: "complete", lines: 1, tail: "working" } as const;
  const gone = { state: "unavailable", lines: 0, tail: "" } as const;
  const deleted = after(live, [
    { ...input.deleting, log },
    { ...input.deleting, log: gone },
  ]);
  const told = (log: LogTail) => after(deleted, [{ ...input.failed, evidence: { ...input.failed.evidence, log } }]);
  t.match(told(gone), { state: "ended", outcome: { evidence: { log } } });
  t.match(told({ ...log, tail: "worked" }), { state: "ended", outcome: { evidence: { log: { tail: "worked" } } } });
});

t.test("a stray's hold is not released while a create of its attempt may land under that name", async (t) => {
  const unsure = after(claimed, [input.started]);
  const { strays } = moveAttempt(unsure, { ...input.created, uid: other, claimNo: 9 }, context());
  t.match(strays, [{ kind: "stray", uid: other, holdUntilMs: unsure.fenceUntilMs }]);
  const sure = moveAttempt(live, { ...input.created, uid: other }, context());
  t.match(sure.strays, [{ kind: "stray", uid: other, holdUntilMs: NOW }]);
});

t.test(
  "an ended attempt rests until its fence only once a look saw its name taken: a Job or an occupant may be gone",
  async (t) => {
    const given = after(claimed, [input.abandon]);
    t.match(given, { state: "ended", dueMs: NOW });
    const occupied = after(given, [input.occupied]);
    t.match(occupied, { state: "ended", dueMs: NOW }, "the occupant may have come back without our hold");
    const looked = { ...input.kept, uid: occupant, begunAtMs: NOW + SECOND };
    t.match(after(occupied, [looked], NOW + SECOND), { dueMs: given.fenceUntilMs });
    const unsure = after(claimed, [input.complete]);
    t.match(unsure, { state: "ended", dueMs: NOW });
    t.match(after(unsure, [input.kept]), { state: "ended", dueMs: unsure.fenceUntilMs });
  },
);

/** Each of these inputs shows that an ended attempt's name may be free. */
const DOUBTS: readonly AttemptInput[] = [
  { ...input.deleting, vanished: true },
  input.gone,
  input.occupied,
  input.inDoubt,
  input.released,
  { ...input.created, uid: other, claimNo: 9 },
];

t.test(
  "a look that began before the attempt's end, or before the name was in doubt, does not show that it is taken",
  async (t) => {
    const later = NOW + SECOND;
    const unsure = after(claimed, [input.failed], later);
    t.equal(moveAttempt(unsure, input.kept, context(later)).attempt, unsure, "begun before the end");
    const parked = after(unsure, [{ ...input.kept, begunAtMs: later }], later);
    t.ok(isParked(parked));
    for (const doubt of DOUBTS) {
      const doubted = after(parked, [doubt], later + SECOND);
      t.notOk(isParked(doubted), doubt.kind);
      t.equal(doubted.dueMs, later + SECOND, "it is looked at now");
      t.notOk(
        isParked(after(doubted, [{ ...input.kept, begunAtMs: later + SECOND }], later + MINUTE)),
        "not newer than the doubt",
      );
      const meanwhile = after(unsure, [doubt, { ...input.kept, begunAtMs: later }], later + SECOND);
      t.notOk(isParked(meanwhile), `${doubt.kind} while the look was under way`);
      t.equal(meanwhile.dueMs, later + SECOND);
    }
    const gone = after(parked, [{ ...input.deleting, vanished: true }], later + SECOND);
    t.ok(isParked(after(gone, [{ ...input.kept, begunAtMs: later + 2 * SECOND }], later + MINUTE)), "a later look counts again");
  },
);

t.test("a Job that is kept does not make way if nobody saw it end, or if it carries no hold", async (t) => {
  t.notOk(isParked(after(claimed, [input.started, input.abandon, input.kept])));
  const unheld: typeof claimed = { ...claimed, notes: { ...claimed.notes, hold: false } };
  const rests = after(unheld, [input.failed, input.kept]);
  t.notOk(isParked(rests));
  t.equal(rests.dueMs, rests.fenceUntilMs, "but it rests");
});

t.test("another Job under the name does not keep it, nor does the own one that is gone", async (t) => {
  const unsure = after(claimed, [input.failed]);
  t.equal(moveAttempt(unsure, { ...input.kept, uid: other }, context()).attempt, unsure);
  const gone = after(unsure, [input.gone], NOW);
  t.equal(moveAttempt(gone, { ...input.kept, begunAtMs: NOW + SECOND }, context(NOW + SECOND)).attempt, gone);
});

t.test("a hold that went too early does not end an attempt whose create may still land: it is looked at", async (t) => {
  const unsure = after(claimed, [input.complete, input.kept]);
  for (const found of ["released", "missing"] as const)
    t.match(after(unsure, [{ ...input.released, found }]), { state: "ended", dueMs: NOW }, found);
});

t.test("an ended attempt's hold goes as soon as the last create is answered, not only when the fence has passed", async (t) => {
  const unsure = after(claimed, [input.complete]);
  const later = NOW + SECOND;
  t.match(moveAttempt(unsure, { ...input.created, adopted: true }, context(later)).attempt, {
    state: "ended",
    dueMs: later,
    unanswered: [],
  });
});

t.test("started: no is said only where every create was refused, or the name was occupied before anything landed", async (t) => {
  t.equal(after(claimed, [input.refused]).started, "no");
  t.equal(after(closingUnborn, [input.occupied]).started, "no");
  t.equal(after(ready, [input.cancel]).started, "no");
  t.equal(claimed.started, "unknown", "not while one is on the wire");
  t.equal(after(live, [input.gone]).started, "unknown", "not of a Job that vanished");
  const blind = after(claimed, [{ ...input.fencePassed, begunAtMs: passed }], passed);
  t.equal(blind.started, "unknown", "not where one was never answered");
  t.equal(after(blind, [input.waitExpired]).started, "unknown");
  t.equal(after(blind, [input.placed, input.claimDue, { ...input.refused, claimNo: 2 }]).started, "unknown");
});

t.test("started: no is said where a look after the deletion still lists the pod and shows that it never started", async (t) => {
  const never = { ...input.lookedDeleted, evidence: { started: "no" as const } };
  t.equal(after(closing, [never]).started, "no");
  t.equal(after(live, [input.started, never]).started, "yes", "but not against what was seen");
});

t.test("started: no that was noted while the pods could be seen outlives them, but not another Job", async (t) => {
  const noted = after(closing, [input.unstarted]);
  t.equal(noted.started, "no");
  t.equal(after(noted, [input.lookedDeleted]).started, "no");
  t.equal(after(noted, [input.started, input.lookedDeleted]).started, "yes");
  const unsure = after(claimed, [input.stalled, input.cancel, input.unstarted, input.gone]);
  t.equal(after(unsure, [input.occupied]).started, "no", "the name is occupied: no other create landed");
  t.equal(after(unsure, [{ ...input.created, uid: other }]).started, "unknown", "another one did");
  t.equal(after(unsure, [{ ...input.fencePassed, begunAtMs: passed }], passed).started, "unknown", "one was never answered");
});

t.test("a fact before the create's answer is no stranger's: it binds, and the answer then changes nothing", async (t) => {
  const bound = after(claimed, [input.started]);
  t.match(bound, { state: "live", uid: own, started: "yes", unanswered: [1] });
  const answered = moveAttempt(bound, input.created, context());
  t.match(answered.attempt, { state: "live", uid: own, unanswered: [] });
  t.same(answered.news, []);
});

t.test("our own SIGTERM's exit code is not the program's failure, and Complete beats our DELETE", async (t) => {
  t.equal(after(closing, [input.failed]).outcome?.result, "cancelled");
  t.equal(after(closing, [input.complete]).outcome?.result, "succeeded");
});

t.test("one cause is told once, whatever its counts are", async (t) => {
  const of = (sentence: string): AttemptInput => ({ ...input.stalled, diagnosis: diagnose("Unschedulable", sentence) });
  const stalled = after(live, [of("No node can take the pod: of 3 nodes, 1 has too little CPU left.")]);
  const again = moveAttempt(stalled, of("No node can take the pod: of 4 nodes, 4 have too little CPU left."), context());
  t.same(again.news, []);
  t.equal(
    moveAttempt(stalled, of("No node can take the pod: of 3 nodes, 3 have too little memory left."), context()).news.length,
    1,
  );
});

t.test("news that was slower is not newer", async (t) => {
  const stalled = after(live, [input.stalled]);
  t.same(moveAttempt(stalled, { ...input.resumed, rv: "9" }, context()).news, [], "an older resumed ends no newer stall");
  const started = after(live, [input.started]);
  t.same(moveAttempt(started, input.stalled, context()).news, [], "an older stall is not told after the start");
  const resumed = after(live, [input.resumed]);
  t.same(moveAttempt(resumed, input.stalled, context()).news, [], "an older stall is not told after its end");
  t.match(moveAttempt(stalled, { ...input.resumed, rv: "100" }, context()).news, [{ kind: "resumed" }], "versions are numbers");
});

t.test(
  "a stall that changed nothing of the Job is news: no pod was made, and the create's answer had the same version",
  async (t) => {
    t.match(moveAttempt(live, { ...input.stalled, rv: input.created.rv }, context()).news, [{ kind: "stalled" }]);
  },
);

t.test("a deadline counts from the first start, by a clock that is not the node's", async (t) => {
  const startedAt = (at: number) =>
    after(live, [{ ...input.started, evidence: { started: "yes", startedAt: new Date(at).toISOString() } }], NOW + MINUTE).notes
      .startedAtMs;
  t.equal(startedAt(NOW + 30 * SECOND), NOW + 30 * SECOND);
  t.equal(startedAt(NOW - 60 * MINUTE), NOW, "a node an hour behind does not shorten it");
  t.equal(startedAt(NOW + 60 * MINUTE), NOW + MINUTE, "nor does one an hour ahead make it longer");
});

t.test("what skipped a phase tells the skipped events in order", async (t) => {
  const kinds = (from: typeof claimed, said: Parameters<typeof moveAttempt>[1]) =>
    moveAttempt(from, said, context()).news.map(({ kind }) => kind);
  t.same(kinds(claimed, input.complete), ["launched", "started"]);
  t.same(kinds(live, input.complete), ["started"]);
  t.same(kinds(after(live, [input.started]), input.complete), []);
  t.same(kinds(claimed, input.deleting), ["launched"]);
  t.same(kinds(claimed, { ...input.failed, evidence: { started: "unknown" } }), ["launched"], "nobody saw that it started");
  t.same(kinds(claimed, { ...input.stalled, uid: Uid.parse("u") }), ["launched", "stalled"]);
});
