/** Seals: which keys open them, which do not, and that no key and no secret is told on the way. */
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import t from "tap";
import { openSeal, type Sealed, sealProblem } from "./seal.ts";

const key = (): string => randomBytes(48).toString("base64");
const SECRET = "a token that nobody may see";
const BOUND = "main/prod-a/17";

t.test("a seal opens with the same key and the same binding", async (t) => {
  const ring = key();
  const sealed = openSeal(ring, "main").seal(SECRET, BOUND);
  t.same(openSeal(`${ring}\n`, "main").open(sealed, BOUND), { kind: "opened", text: SECRET });
  t.notMatch(JSON.stringify(sealed), SECRET);
  t.notMatch(JSON.stringify(sealed), Buffer.from(SECRET).toString("base64url"));
});

t.test("an empty text is sealed too: its seal shows who wrote the text around it", async (t) => {
  const seal = openSeal(key(), "main");
  t.same(seal.open(seal.seal("", BOUND), BOUND), { kind: "opened", text: "" });
  t.match(seal.open(seal.seal("", BOUND), `${BOUND}8`), { kind: "refused", why: "tampered" });
});

t.test("no two seals of the same text are alike", async (t) => {
  const seal = openSeal(key(), "main");
  const all = new Set(Array.from({ length: 100 }, () => seal.seal(SECRET, BOUND).box));
  t.equal(all.size, 100);
});

t.test("keys change one end at a time: the first of the ring seals, any opens", async (t) => {
  const [before, after] = [key(), key()];
  const steps = [before, `${before}\n${after}`, `${after}\n${before}`, after].map((ring) => openSeal(ring, "main"));
  for (const [at, sender] of steps.entries())
    for (const receiver of steps.slice(Math.max(0, at - 1), at + 2))
      t.equal(
        receiver.open(sender.seal(SECRET, BOUND), BOUND).kind,
        "opened",
        `${sender.keys.join()} to ${receiver.keys.join()}`,
      );
  t.match(steps[3]?.open(steps[0]?.seal(SECRET, BOUND) as Sealed, BOUND), { kind: "refused", why: "unknownKey" });
});

t.test("a key that is not in the ring is told by its id, with what to do", async (t) => {
  const [ours, other] = [openSeal(key(), "main"), openSeal(key(), "main")];
  const opened = ours.open(other.seal(SECRET, BOUND), BOUND);
  t.match(opened, { kind: "refused", why: "unknownKey", message: new RegExp(`${other.key}.*has ${ours.key}.*same file`) });
});

t.test("a seal of one installation does not open for another with the same key file", async (t) => {
  const ring = key();
  t.match(openSeal(ring, "test").open(openSeal(ring, "main").seal(SECRET, BOUND), BOUND), { kind: "refused", why: "unknownKey" });
});

const sealer = openSeal(key(), "main");
const flipped = (text: string, at: number): string => {
  const bytes = Buffer.from(text, "base64url");
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes.toString("base64url");
};
const good = sealer.seal(SECRET, BOUND);
for (const { name, sealed, bound = BOUND } of [
  { name: "a bit of the text", sealed: { ...good, box: flipped(good.box, 0) } },
  { name: "a bit of the tag", sealed: { ...good, box: flipped(good.box, Buffer.from(good.box, "base64url").length - 1) } },
  { name: "a bit of the nonce", sealed: { ...good, nonce: flipped(good.nonce, 3) } },
  { name: "the binding", sealed: good, bound: "main/prod-b/17" },
  { name: "a tag cut short", sealed: { ...good, box: good.box.slice(0, -6) } },
  { name: "a box of nothing", sealed: { ...good, box: "" } },
  { name: "a nonce of nothing", sealed: { ...good, nonce: "" } },
  { name: "a box that is no base64", sealed: { ...good, box: "§§§" } },
] as readonly { name: string; sealed: Sealed; bound?: string }[])
  t.test(`refuses, and does not throw: changed is ${name}`, async (t) => {
    const opened = sealer.open(sealed, bound);
    t.match(opened, { kind: "refused", why: "tampered", message: /changed on its way/ });
    t.notMatch(JSON.stringify(opened), SECRET);
  });

t.test("a ring that could be guessed, or is none, refuses to open, without saying what is in it", async (t) => {
  t.match(sealProblem("short"), /fewer than 32 bytes.*openssl/);
  t.match(sealProblem(`${key()}\nshort`), /key number 2/);
  t.match(sealProblem(""), /fewer than 32/);
  t.match(sealProblem(Array.from({ length: 11 }, key).join("\n")), /one key a line/);
  t.equal(sealProblem(`${key()}\r\n\n${key()}\n`), undefined);
  t.throws(() => openSeal("short", "main"), /fewer than 32/);
});

t.test("a seal prints no key", async (t) => {
  const ring = key();
  t.notMatch(inspect(openSeal(ring, "main"), { depth: 9 }), ring);
});
