import t from "tap";
import { type Column, paragraph, row, table } from "./rows.ts";
import { painted, PIPE, type Screen, toned } from "./screen.ts";
import { shortened, widthOf } from "./text.ts";

const terminal = (columns: number): Screen => ({ columns, styled: false });

interface Thing {
  readonly state: string;
  readonly id: string;
  readonly group: string;
  readonly took: string;
}

const COLUMNS: readonly Column<Thing>[] = [
  { head: "STATE", cell: ({ state }) => toned(state) },
  { head: "RUN", yields: true, cell: ({ id }) => id },
  { head: "GROUP", goes: 1, cell: ({ group }) => group },
  { head: "TOOK", cell: ({ took }) => took },
];
const LONG = `orders/${"0123456789".repeat(5)}`;
const things: readonly Thing[] = [
  { state: "SUCCEEDED", id: "first", group: "prod-a/batch", took: "1.2 s" },
  { state: "FAILED", id: LONG, group: "prod-a/batch", took: "3.4 s" },
];

t.same(
  table(things, COLUMNS, PIPE),
  ["STATE      RUN    GROUP         TOOK", "SUCCEEDED  first  prod-a/batch  1.2 s", `FAILED     ${LONG}  prod-a/batch  3.4 s`],
  "in a pipe each row is one line, whatever its length, and a long id pads no other row",
);

const SHORTENING = COLUMNS.map((it) => (it.yields ? { ...it, shorten: shortened } : it));
t.same(
  table(things, SHORTENING, terminal(60)),
  [
    `STATE      RUN${" ".repeat(25)}  GROUP         TOOK`,
    `SUCCEEDED  first${" ".repeat(23)}  prod-a/batch  1.2 s`,
    "FAILED     orders/0123456…7890123456789  prod-a/batch  3.4 s",
  ],
  "an id that has no room is cut in its middle",
);
t.match(table(things, SHORTENING, PIPE).join(), LONG, "in a pipe it stays whole");

t.same(
  table(things, COLUMNS, terminal(70)),
  [
    "STATE      RUN    GROUP         TOOK",
    "SUCCEEDED  first  prod-a/batch  1.2 s",
    `FAILED     ${LONG}`,
    "                  prod-a/batch  3.4 s",
  ],
  "an id that is too long has a line of its own, whole, and moves no other column",
);

t.same(
  table(things, COLUMNS, terminal(45)),
  ["STATE      RUN    TOOK", "SUCCEEDED  first  1.2 s", `FAILED     ${LONG}`, "                  3.4 s"],
  "in a narrow terminal the least important column goes",
);

t.same(
  table([things[0] as Thing], COLUMNS, terminal(80), () => ["    a note"]),
  ["STATE      RUN    GROUP         TOOK", "SUCCEEDED  first  prod-a/batch  1.2 s", "    a note"],
  "columns are as wide as what they hold, and notes stand beneath their row",
);

for (const { name, cells, columns, want } of [
  { name: "the last cell folds beneath itself", cells: ["ok", "one two three four five six seven"], columns: 34, want: ["ok      one two three four five", "        six seven"] },
  { name: "and beneath the row, if little room is left", cells: ["ok", "one two three four five six"], columns: 24, want: ["ok", "      one two three four", "      five six"] },
  { name: "and so does a word that has no room there", cells: ["ok", "batch/orders-8812-export-main-1"], columns: 38, want: ["ok", "      batch/orders-8812-export-main-1"] },
  { name: "a wide text keeps its column", cells: ["漢字", "x"], columns: 40, want: ["漢字    x"] },
  { name: "a text cannot begin a row of its own", cells: ["a", "b\nok  forged"], columns: 40, want: ["a       b ok  forged"] },
  { name: "an empty end leaves no spaces", cells: ["a", ""], columns: 40, want: ["a"] },
]) // biome-ignore format: a table is read down its columns
  t.same(row(cells, { widths: [6] }, terminal(columns)), want, name);

t.same(
  paragraph("Renew the token now; `longshore doctor` tests it.", { indent: 2, mark: "› " }, terminal(30)),
  ["  › Renew the token now;", "    `longshore doctor` tests", "    it."],
  "a paragraph hangs beneath its mark",
);
t.same(paragraph("a ".repeat(100).trim(), { indent: 2 }, PIPE).length, 1, "in a pipe nothing is folded");

const styled: Screen = { columns: 60, styled: true };
t.equal(
  row([toned("FAILED"), "x"], { widths: [8] }, styled).join(""),
  `${painted("FAILED", "bad", styled)}    x`,
  "padding counts no colours",
);
t.notMatch(row(["\u001b[31mred"], { widths: [] }, styled).join(""), "\u001b", "a text brings no colours of its own");
t.equal(painted("x", "bad", PIPE), "x");
for (const it of table(things, COLUMNS, styled)) t.ok(!it.includes("\u001b") || widthOf(it) > 0);
