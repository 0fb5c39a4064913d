import { GroupName, Installation, RunId, StepName, TenantName } from "@longshore/contract/ids.ts";
import t from "tap";
import { type Identity, openKeys, type Place } from "./keys.ts";

const installation = Installation.parse("test");
const keys = openKeys(Buffer.alloc(48, 1), installation);
const identity: Identity = { run: RunId.parse("orders/1"), step: StepName.parse("main"), attempt: 1 };
const place: Place = { group: GroupName.parse("prod-a"), namespaceUid: "uid-1" };
const proof = keys.prove(identity, place);
const shop = TenantName.parse("shop");

interface Case {
  readonly name: string;
  readonly proof?: string | undefined;
  readonly identity?: Partial<Identity>;
  readonly place?: Partial<Place>;
  readonly by?: ReturnType<typeof openKeys>;
}

const forged: readonly Case[] = [
  { name: "no proof at all", proof: undefined },
  { name: "an empty one", proof: "" },
  { name: "one that is cut", proof: proof.slice(0, -1) },
  { name: "one with something after it", proof: `${proof}A` },
  { name: "another run's", identity: { run: RunId.parse("orders/2") } },
  { name: "another step's", identity: { step: StepName.parse("other") } },
  { name: "another attempt's", identity: { attempt: 2 } },
  { name: "one of another group", place: { group: GroupName.parse("prod-b") } },
  { name: "one of another namespace of the same name", place: { namespaceUid: "uid-2" } },
  { name: "one made with another key", by: openKeys(Buffer.alloc(48, 2), installation) },
  { name: "one of another installation with the same key", by: openKeys(Buffer.alloc(48, 1), Installation.parse("other")) },
];

t.ok(keys.isProof(proof, identity, place), "its own proof is believed");
for (const { name, by = keys, ...change } of forged) {
  const given = "proof" in change ? change.proof : proof;
  t.notOk(by.isProof(given, { ...identity, ...change.identity }, { ...place, ...change.place }), `not believed: ${name}`);
}

t.test("the same request has the same digest, whatever the order of its fields, and another tenant's has another", async (t) => {
  const digest = keys.digest(shop, { image: "a", env: { A: "1", B: "2" } });
  t.equal(keys.digest(shop, { env: { B: "2", A: "1" }, image: "a" }), digest);
  t.not(keys.digest(shop, { image: "b", env: { A: "1", B: "2" } }), digest);
  t.not(keys.digest(TenantName.parse("bank"), { image: "a", env: { A: "1", B: "2" } }), digest);
});

t.test("the mark tells two keys apart, and is no other value of the key", async (t) => {
  t.equal(openKeys(Buffer.alloc(48, 1), installation).mark, keys.mark);
  t.not(openKeys(Buffer.alloc(48, 9), installation).mark, keys.mark);
  t.not(keys.mark, keys.digest(shop, "the ledger's key"));
});

t.test("what is computed is the same after a restart, and proofs and digests have keys of their own", async (t) => {
  const restarted = openKeys(Buffer.alloc(48, 1), installation);
  t.equal(restarted.prove(identity, place), proof);
  t.equal(restarted.digest(shop, identity), keys.digest(shop, identity), "else the same request would be another one");
  t.equal(
    keys.jobName(identity.run, identity.step, 1),
    openKeys(Buffer.alloc(48, 9), installation).jobName(identity.run, identity.step, 1),
    "a name needs no key: it is found again after the loss of one",
  );
  t.not(keys.jobName(identity.run, identity.step, 1), keys.jobName(identity.run, identity.step, 2));
});

t.test("secret values open with the key and for the run for which they were sealed, and say nothing before", async (t) => {
  const sealed = keys.sealValues(identity.run, { token: "hunter2" });
  t.notMatch(sealed, /hunter2|token/);
  t.not(keys.sealValues(identity.run, { token: "hunter2" }), sealed, "the same values look different each time");
  t.same(keys.openValues(identity.run, sealed), { token: "hunter2" });
  t.equal(keys.openValues(RunId.parse("orders/2"), sealed), undefined, "moved to another run");
  t.equal(openKeys(Buffer.alloc(48, 9), installation).openValues(identity.run, sealed), undefined, "with another key");
});

t.test("the names of what an anchor owns change with the anchor, and with what they stand for", async (t) => {
  const names = ["uid-1", "uid-2"].flatMap((uid) => [
    keys.claimName(uid, "data"), keys.secretName(uid, 1), keys.secretName(uid, 2), keys.fileName(uid, "a"), keys.fileName(uid, "b"),
  ]); // biome-ignore format: one list
  t.equal(new Set(names).size, names.length);
  for (const name of names) t.match(name, /^[a-z0-9-]{1,63}$/);
});
