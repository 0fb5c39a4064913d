import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { claimed, groupsOf, INSTALLATION, jobName, wanted } from "@longshore/ledger/testing/conformance-parts.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import type { Standing } from "@longshore/ledger/port.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { NAMED_MOST, openReasons, reasonOf } from "./left-behind.ts";

const nowMs = Date.UTC(2030, 0, 31, 12);

async function standing(): Promise<Standing> {
  const ledger = ledgerModel({ clock: stepsClock(), installation: INSTALLATION, jobName }).connect();
  await ledger.putGroups(groupsOf(1));
  const [work] = await claimed(ledger, [wanted("orders")]);
  if (work === undefined) throw new Error("nothing was claimed");
  return { run: work.run.id, attempt: work.attempt };
}

t.test("a run that stays is named with the reason, and with what would end it", async (t) => {
  const { run, attempt } = await standing();
  const why = (changes: object) => reasonOf({ run, attempt: { ...attempt, ...changes } }, { nowMs, config: "a b.yaml" });
  t.equal(why({}), undefined, "it is being created");
  t.match(why({ state: "live" }), {
    isStuck: false,
    says: /^orders runs; to end it: longshore runs cancel orders --config 'a b\.yaml'$/,
  });
  const stall = diagnose("ImageNotFound", "There is none.");
  t.match(why({ state: "live", notes: { ...attempt.notes, stall } }), {
    isStuck: true,
    says: /^orders is stalled \(ImageNotFound\).*runs cancel/,
  });
  const ended = { state: "ended", unanswered: [1], fenceUntilMs: nowMs + 61_000 };
  t.match(why(ended), {
    isStuck: true,
    says: /until 12:01:01Z, since a create of its Job may still land\. Nothing is to be done$/,
  });
  t.equal(why({ ...ended, fenceUntilMs: nowMs - 1 }), undefined, "it is released now");
});

t.test("each reason is said once, the stuck ones first, and five at most", (t) => {
  const say = openReasons();
  const runs = Array.from({ length: NAMED_MOST + 1 }, (_, n) => ({ says: `runs ${n}`, isStuck: false }));
  t.same(say([...runs, { says: "stuck", isStuck: true }], "running"), [
    "stuck",
    "runs 0",
    "runs 1",
    "runs 2",
    "runs 3",
    "and 2 more",
  ]);
  t.same(say([...runs, { says: "stuck", isStuck: true }], "stuck alone"), []);
  t.same(say([...runs, { says: "new", isStuck: true }], "stuck alone"), ["new"]);
  t.end();
});
