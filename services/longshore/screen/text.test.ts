import t from "tap";
import { clipped, folded, oneLine, plain, printed, shortened, widthOf } from "./text.ts";

for (const { name, text, want } of [
  { name: "an escape sequence, a bell, and a C1 control", text: "\u001b[2Jgone\u0007\r\u009b31m", want: "·[2Jgone···31m" },
  { name: "marks that turn the order of what follows", text: "a\u202eb\u2066c", want: "a·b·c" },
  { name: "what is only text", text: "ein Wörtchen\n\t🚢 שלום", want: "ein Wörtchen\n\t🚢 שלום" },
])
  t.equal(plain(text), want, `plain: ${name}`);

for (const { name, line, want } of [
  { name: "colours go whole", line: "\u001b[1;31mred\u001b[0m and \u009b38:5:2mgreen\u009bm", want: "red and green" },
  { name: "a counter shows its last state", line: "50%\r100%\r", want: "100%" },
  { name: "other sequences stay, to be made harmless", line: "\u001b[2Jx\u0007", want: "\u001b[2Jx\u0007" },
])
  t.equal(printed(line), want, `printed: ${name}`);
t.equal(plain(printed("\u001b[\u001b[0m31mred")), "·[31mred", "what is left when colours go reaches no terminal");

t.equal(oneLine("over\n   5  succeeded\u001b[1A"), "over    5  succeeded·[1A", "a reason cannot forge another row");

for (const { name, text, want } of [
  { name: "ASCII", text: "orders/8812", want: 11 },
  { name: "an accent of its own", text: "e\u0301", want: 1 },
  { name: "Chinese, Japanese and Korean", text: "漢字かな한글", want: 12 },
  { name: "an emoji of several characters", text: "👩‍👩‍👧", want: 2 },
  { name: "a flag", text: "🇩🇪", want: 2 },
  { name: "signs that are as narrow as letters", text: "›✓…×", want: 4 },
])
  t.equal(widthOf(text), want, `the width of ${name}`);

t.equal(clipped("漢字", 3), "漢", "half of a wide character is not shown");
t.equal(clipped("short", 80), "short");
t.equal(shortened("cli/0123456789", 8), "cli/…789");
t.equal(shortened("orders/1", 8), "orders/1");

for (const { name, text, width, want } of [
  { name: "at its spaces", text: "one two three", width: 8, want: ["one two", "three"] },
  { name: "no word is cut, so that an id can be copied", text: "see orders/8812/export now", width: 8, want: ["see", "orders/8812/export", "now"] },
  { name: "no command either", text: "Read it: `kubectl logs x`; then go", width: 12, want: ["Read it:", "`kubectl logs x`;", "then go"] },
  { name: "a quote that is never closed is a word", text: "a ` b c", width: 4, want: ["a `", "b c"] },
  { name: "by width, not by characters", text: "漢字 漢字", width: 8, want: ["漢字", "漢字"] },
  { name: "the gaps within a line stay", text: "exit 1  Code", width: 40, want: ["exit 1  Code"] },
  { name: "nothing is one empty line", text: "", width: 40, want: [""] },
]) // biome-ignore format: a table is read down its columns
  t.same(folded(text, width), want, `folds ${name}`);
