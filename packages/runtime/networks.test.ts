import t from "tap";
import { isNetwork } from "./networks.ts";

t.test("what is a network", async (t) => {
  for (const it of ["10.2.0.0/16", "127.0.0.1", "::1", "fd00::/8"]) t.equal(isNetwork(it), true, it);
  for (const it of ["10.2.0.0/33", "example.com", "10.2/16", "10.2.0.0/16/1", ""]) t.equal(isNetwork(it), false, it);
});
