import t from "tap";
import { personOf } from "./claims.ts";

const NAMES = { idClaim: "sub", nameClaim: "name", teamsClaim: "groups" };
const BY_ADDRESS = { ...NAMES, idClaim: "email" };

for (const [name, claims, names, want] of [
  ["all of it", { sub: "7", name: "Ada", groups: ["ops", "shop"] }, NAMES, { id: "7", name: "Ada", teams: ["ops", "shop"] }],
  ["one team that is no list", { sub: "7", name: "Ada", groups: "ops" }, NAMES, { id: "7", name: "Ada", teams: ["ops"] }],
  ["only an id", { sub: "7" }, NAMES, { id: "7", name: "7", teams: [] }],
  ["teams that are no texts", { sub: "7", groups: [1, null, "ops", { a: 1 }] }, NAMES, { id: "7", name: "7", teams: ["ops"] }],
  ["no id", { name: "Ada" }, NAMES, undefined],
  ["an id that is no text", { sub: 7 }, NAMES, undefined],
  ["an empty id", { sub: " " }, NAMES, undefined],
  ["an id like that of a program's token", { sub: "token:nightly" }, NAMES, undefined],
  ["an address that was confirmed", { email: "a@b.example", email_verified: true }, BY_ADDRESS, { id: "a@b.example", name: "a@b.example", teams: [] }],
  ["an address that nobody confirmed", { email: "a@b.example", email_verified: false }, BY_ADDRESS, undefined],
  ["a name that reads backwards", { sub: "7", name: "Ada\u202egro.elpmaxe" }, NAMES, { id: "7", name: "7", teams: [] }],
  ["an id with a line in it", { sub: "7\nadmin" }, NAMES, undefined],
  ["an id that is too long", { sub: "7".repeat(201) }, NAMES, undefined],
] as const) // biome-ignore format: a table
  t.test(`claims with ${name} ${want === undefined ? "name nobody" : "name a person"}`, async (t) =>
    t.same(personOf(claims, names), want),
  );
