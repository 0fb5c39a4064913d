/** What doctor says of runs that need a person: one line for each cause, and one for runs that wait for a paused group. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Installation } from "@longshore/contract/ids.ts";
import { diagnose, DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { runsThatWait } from "./runs.ts";

const longshore = { groupsFile: join(tmpdir(), "no-groups.yaml"), installation: Installation.parse("shop") };

/** The attempts' fields that the lines are made of. */
const stalled = (sentence: string) => ({
  state: "live",
  claimNo: 1,
  group: "prod-a",
  name: "a-job",
  notes: { namespace: "batch", stall: { code: "ImageNotFound", sentence, hint: DIAGNOSES.ImageNotFound.hint } },
});
const paused = {
  state: "waiting",
  claimNo: 0,
  notes: { waiting: "GroupsPaused", considered: [{ group: "prod-a", why: "It is paused." }] },
};

async function told(attempts: readonly object[], newest: object = {}) {
  const records = attempts.map((it, index) => ({ run: { id: `r/${index + 1}`, plan: {} }, attempts: [it] }));
  const ledger = {
    list: () => Promise.resolve(records.map(({ run }) => run)),
    find: (id: string) => Promise.resolve({ record: records.find(({ run }) => run.id === id) }),
    story: () => Promise.resolve([{ data: newest }]),
  };
  return await runsThatWait(ledger as never, longshore, undefined);
}

t.test("runs with one cause are one line that names some of them", async (t) => {
  const seven = Array.from({ length: 7 }, () => stalled("No such image."));
  t.match(await told([...seven, stalled("No such tag.")]), [
    {
      state: "WARN",
      says: "7 runs are stalled (ImageNotFound): No such image. (r/1, r/2, r/3, r/4, r/5 and 2 more)",
      todo: /image's name and tag/,
    },
    { state: "WARN", says: "r/8 is stalled (ImageNotFound): No such tag." },
  ]);
});

t.test("the runs of more causes than are told are counted, and not the causes", async (t) => {
  const found = await told(["a", "b", "c", "d", "e", "f", "f"].map(stalled));
  t.equal(found.length, 6);
  t.match(found.at(-1), { says: "2 more runs need a person", todo: /longshore runs list/ });
});

t.test("runs that wait for a paused group are a warning that says how to resume it", async (t) => {
  t.match(await told([paused]), [
    { state: "WARN", says: "r/1 is waiting (GroupsPaused). prod-a: It is paused.", todo: /`longshore group resume prod-a`/ },
  ]);
});

t.test("of a group that nobody has, the remedy is the one of the run's own page: a mistyped name is the request's", async (t) => {
  const waiting = (hint: string) => ({
    reason: "NoGroup",
    diagnosis: { ...diagnose("NoGroup", "No group is called prdo."), hint },
  });
  const considered = [{ group: "prdo", why: "No group has this name." }];
  const attempt = { state: "waiting", claimNo: 0, notes: { waiting: "NoGroup", considered } };
  const correct = "Correct the name: `longshore runs cancel r/1`, and publish it again with another group and a new id.";
  t.match(await told([attempt], waiting(correct)), [
    { says: "r/1 is waiting (NoGroup). prdo: No group has this name.", todo: correct },
  ]);
  t.match(await told([attempt], { reason: "GroupsFull" }), [{ todo: /^add the group to a launcher's groups file/ }]);
});
