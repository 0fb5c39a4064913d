import type { Person } from "@longshore/ledger/pages.ts";
import t from "tap";
import { hashOf, LINK_MS, newLink, newToken } from "./tokens.ts";

t.test("a link has its token behind the #, and the ledger gets its hash alone", async (t) => {
  const offered: { readonly hash: Uint8Array; readonly person: Person; readonly forMs: number }[] = [];
  const signIns = {
    offer: async (hash: Uint8Array, person: Person, forMs: number) => void offered.push({ hash, person, forMs }),
  };
  const link = new URL(await newLink(signIns, "http://127.0.0.1:7373", { name: "Ada" }));
  t.equal(link.origin + link.pathname + link.search, "http://127.0.0.1:7373/enter");
  const token = link.hash.slice(1);
  t.match(token, /^[\w-]{32}$/);
  t.same(offered, [{ hash: hashOf(token), person: { name: "Ada" }, forMs: LINK_MS }]);
  t.notMatch(Buffer.from(offered[0]?.hash ?? []).toString(), token);
});

t.test("no two tokens are the same", async (t) => t.equal(new Set(Array.from({ length: 1_000 }, newToken)).size, 1_000));
