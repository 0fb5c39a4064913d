import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import t from "tap";
import { Refused } from "../problem.ts";
import { openAssertions } from "./assertion.ts";

const { privateKey, publicKey } = await generateKeyPair("ES256");
const foreign = await generateKeyPair("ES256");
const SETTINGS = {
  ...{ header: "x-assertion", issuer: "https://proxy.example", audience: "longshore", jwks: "https://proxy.example/keys" },
  ...{ idClaim: "email", nameClaim: "name", teamsClaim: "groups" },
};
const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), alg: "ES256" }] });
const personIn = openAssertions(SETTINGS, keys);
const GOOD = { iss: SETTINGS.issuer, aud: SETTINGS.audience, email: "ada@shop.example", name: "Ada", groups: ["ops"] };
const unending = (claims: JWTPayload) => new SignJWT(claims).setProtectedHeader({ alg: "ES256" });
const signed = (claims: JWTPayload, until = "1 minute from now", key = privateKey) =>
  unending(claims).setExpirationTime(until).sign(key);

t.test("what the proxy has signed names a person", async (t) => {
  const want = { id: "ada@shop.example", name: "Ada", teams: ["ops"] };
  t.same(await personIn(await signed(GOOD)), want);
  t.same(await personIn(`Bearer ${await signed(GOOD)}`), want, "as some proxies write it");
});

for (const [name, assertion, says] of [
  ["by another key", await signed(GOOD, "1m", foreign.privateKey), "None of the proxy's keys"],
  ["that has expired", await signed(GOOD, "1 minute ago"), "It has expired"],
  ["without an end", await unending(GOOD).sign(privateKey), '"exp"'],
  ["of another issuer", await signed({ ...GOOD, iss: "https://evil.example" }), '"iss"'],
  ["for another audience", await signed({ ...GOOD, aud: "other" }), '"aud"'],
  ["that nobody signed", new UnsecuredJWT(GOOD).setExpirationTime("1m").encode(), "no signed JWT"],
  ["that is none", "ada@shop.example", "no signed JWT"],
  ["by a key that is shared", await new SignJWT(GOOD).setProtectedHeader({ alg: "HS256" }).sign(new Uint8Array(32)), "no signed JWT"],
  ["of nobody", await signed({ ...GOOD, email: 7 }), "who you are"],
  ["of an address that nobody confirmed", await signed({ ...GOOD, email_verified: false }), "who you are"],
] as const) // biome-ignore format: a table
  t.test(`an assertion ${name} is refused, and says why`, async (t) => {
    const error = await personIn(assertion).catch((it: unknown) => it);
    t.ok(error instanceof Refused, String(error));
    t.match(error, { status: 401, message: says });
  });

t.test("while the proxy's keys cannot be read, nobody is taken for somebody, and the answer says to come again", async (t) => {
  const broken = openAssertions(SETTINGS, async () => {
    throw new TypeError("fetch failed");
  });
  t.match(await broken(await signed(GOOD)).catch((it: unknown) => it), { status: 503, title: "Not just now" });
});
