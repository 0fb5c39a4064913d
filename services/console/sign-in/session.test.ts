import t from "tap";
import { cookieName, isOwn } from "./session.ts";

const HOST = "127.0.0.1:7373";

for (const [name, headers, want] of [
  ["our own page", { "sec-fetch-site": "same-origin" }, true],
  ["a page of another site", { "sec-fetch-site": "cross-site" }, false],
  ["a page of another port of this machine", { "sec-fetch-site": "same-site" }, false],
  ["an address that a person typed", { "sec-fetch-site": "none" }, false],
  ["a page of another site that claims our origin", { "sec-fetch-site": "cross-site", origin: `http://${HOST}` }, false],
  ["an old browser's page of ours", { origin: `http://${HOST}` }, true],
  ["an old browser's page of another site", { origin: "https://evil.example" }, false],
  ["a page in a sandbox", { origin: "null" }, false],
  ["a program, which nobody else's page can be", {}, true],
] as const)
  t.test(`${name}: ${want ? "may" : "may not"} do something`, async (t) => t.equal(isOwn(headers, HOST), want));

t.test("two consoles on one machine have cookies of two names, and one over TLS a name that only TLS can set", async (t) => {
  t.not(cookieName(7373, false), cookieName(7374, false));
  t.match(cookieName(443, true), /^__Host-/);
});
