/** What the kubelet makes of the texts of a command and of variables. */
import t from "tap";
import { expand } from "./command.ts";

const values = { A: "a", "B.c-d": "b", NESTED: "$(A)", EMPTY: "" };

/** As in the table of Kubernetes' own tests of its expansion. */
const CASES: readonly (readonly [text: string, want: string])[] = [
  ["$(A)", "a"],
  ["x$(A)y$(B.c-d)z", "xaybz"],
  ["$(NESTED)", "$(A)"],
  ["[$(EMPTY)]", "[]"],
  ["$$(A)", "$(A)"],
  ["$$$(A)", "$a"],
  ["$$$$(A)", "$$(A)"],
  ["$$$$$(A)", "$$a"],
  ["$(UNKNOWN)", "$(UNKNOWN)"],
  ["$A", "$A"],
  ["$", "$"],
  ["$$", "$"],
  ["foo$$bar", "foo$bar"],
  ["$(A", "$(A"],
  ["$(A$$", "$(A$"],
  ["$(A $(A)", "$(A $(A)"],
  ["$((A))", "$((A))"],
  ["$()", "$()"],
  ["\n$(A)\n", "\na\n"],
];

for (const [text, want] of CASES)
  t.test(`${JSON.stringify(text)} is ${JSON.stringify(want)}`, async (t) => t.equal(expand(text, values), want));
