/** Names and proofs are equal for the same attempt, and different for any other. */
import { createHash } from "node:crypto";
import { Installation, GroupName, RunId, StepName } from "@longshore/contract/ids.ts";
import fc from "fast-check";
import t from "tap";
import {
  anchorName,
  type AttemptIdentity,
  jobName,
  nameOfOwned,
  ownedNameInput,
  jobNameInput,
  proofInput,
  runLabel,
} from "./identity.ts";

const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
const name = (identity: AttemptIdentity): string => jobName({ ...identity, hash });

const example: AttemptIdentity = {
  installation: Installation.parse("demo"),
  run: RunId.parse("orders/8812/export"),
  step: StepName.parse("main"),
  attempt: 1,
};

const longest: AttemptIdentity = {
  ...example,
  run: RunId.parse("r".repeat(200)),
  step: StepName.parse("s".repeat(30)),
  attempt: 2 ** 31 - 1,
};

const identities = fc.record({
  installation: fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/).map((it) => Installation.parse(it)),
  run: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,199}$/).map((it) => RunId.parse(it)),
  step: fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/).map((it) => StepName.parse(it)),
  attempt: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});

t.test("a name tells people whose Job it is, and stays the same for ever", async (t) => {
  t.equal(
    name(example),
    "orders-8812-export-main-1-m5ilczoxinl",
    "an installation that is running now relies on exactly this name",
  );
});

t.test("every name is a DNS label with room for an index and a generated end", async (t) => {
  t.equal(name(longest).length, 52, "the longest one fills the room");
  t.match(name({ ...example, attempt: 12 }), /-main-12-[a-z2-7]{11}$/);
  fc.assert(
    fc.property(identities, (identity) => {
      const made = name(identity);
      return made.length <= 52 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(made) && !made.includes("--");
    }),
  );
});

t.test("names differ where any part of the identity does, also where the readable parts are cut to the same", async (t) => {
  const long = "a".repeat(150);
  const others: readonly AttemptIdentity[] = [
    { ...example, installation: Installation.parse("demo-2") },
    { ...example, run: RunId.parse("orders-8812-export") },
    { ...example, run: RunId.parse("Orders/8812/export") },
    { ...example, run: RunId.parse(`${long}1`) },
    { ...example, run: RunId.parse(`${long}2`) },
    { ...example, step: StepName.parse("main-2") },
    { ...example, step: StepName.parse(`${"a".repeat(29)}1`) },
    { ...example, step: StepName.parse(`${"a".repeat(29)}2`) },
    { ...example, attempt: 11 },
    example,
  ];
  t.equal(new Set(others.map(name)).size, others.length);
});

t.test("no two identities are hashed or proved from the same text", async (t) => {
  fc.assert(
    fc.property(identities, identities, (a, b) => {
      const place = { group: GroupName.parse("prod-a"), namespaceUid: "uid-ns" };
      const same = JSON.stringify(a) === JSON.stringify(b);
      return (
        (jobNameInput(a) === jobNameInput(b)) === same &&
        (proofInput({ ...a, ...place }) === proofInput({ ...b, ...place })) === same
      );
    }),
  );
  const place = { group: GroupName.parse("prod-a"), namespaceUid: "uid-ns" };
  const elsewhere = { ...example, installation: Installation.parse("other") };
  t.not(
    proofInput({ ...example, ...place }),
    proofInput({ ...elsewhere, ...place }),
    "another installation's proof is no proof here",
  );
  t.not(
    proofInput({ ...example, group: GroupName.parse("a"), namespaceUid: "bc" }),
    proofInput({ ...example, group: GroupName.parse("ab"), namespaceUid: "c" }),
    "what moves from one field to the next is another proof",
  );
});

t.test("a run's label is a label, whatever its id holds", async (t) => {
  t.match(runLabel(RunId.parse(`a/@+=:${"x".repeat(190)}`), hash), /^[a-z2-7]{26}$/);
});

t.test("a hash that is too short is a bug and is said to be one", async (t) => {
  t.throws(() => jobName({ ...example, hash: () => "abc" }), /too short/);
});

t.test("an anchor's name is one run's and one number's, and a DNS label", async (t) => {
  const { installation, run } = longest;
  const names = [1, 2, 2 ** 31 - 1].map((number) => anchorName({ installation, run, number, hash }));
  t.equal(new Set(names).size, 3);
  for (const it of names) t.match(it, /^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$/);
  t.not(anchorName({ ...example, number: 1, hash }), anchorName({ ...example, run: RunId.parse("orders/8812-export"), number: 1, hash })); // biome-ignore format: one line
});

t.test("the claims of two anchors never share a name", async (t) => {
  const nameOf = (uid: string, volume: string): string => nameOfOwned(volume, hash(ownedNameInput("claim", uid, volume)));
  const names = ["uid-1", "uid-2"].flatMap((uid) => ["data", "more", "v".repeat(63)].map((volume) => nameOf(uid, volume)));
  t.equal(new Set(names).size, 6);
  for (const it of names) t.match(it, /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
});
