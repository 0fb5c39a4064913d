import t from "tap";
import { parts } from "./ansi.ts";

const E = "\u001b";

t.test("colours become names of classes, bright ones as their plain ones", async (t) => {
  t.same(parts(`a ${E}[31mred${E}[0m ${E}[1;92mgreen${E}[m end`), [
    { text: "a ", look: "" },
    { text: "red", look: "red" },
    { text: " ", look: "" },
    { text: "green", look: "green bold" },
    { text: " end", look: "" },
  ]);
});

t.test("of other sequences nothing is seen, and no text is lost", async (t) => {
  const text = `${E}[2K${E}[1Gsome more${E}[?25l items${E}]0;title\u0007, ${E}[38;5;200mpink${E}[39m`;
  const shown = parts(text);
  t.equal(shown.map((it) => it.text).join(""), "some more items, pink");
  t.ok(shown.every(({ look }) => look === ""));
  t.same(parts(`${E}[8mhidden`), [{ text: "hidden", look: "" }], "what a program hides is shown");
});
