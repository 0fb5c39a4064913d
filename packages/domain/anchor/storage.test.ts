import { forms } from "@longshore/contract/request/request.ts";
import t from "tap";
import { RunId } from "@longshore/contract/ids.ts";
import { DEFAULTS, planOf } from "../run/plan.ts";
import type { Plan } from "../run/record.ts";
import { storageWith } from "./storage.ts";

const GIB = 2 ** 30;
const id = RunId.parse("orders/8812");
const expression = (name: string): string => `\${{ parameters.${name} }}`;
const volumes = [
  { name: "data", size: { gib: expression("gib"), plusGib: 1 }, class: expression("class") },
  { name: "each", size: `${expression("each")}Gi`, life: "step" },
  { name: "shared", claim: "shared" },
];
const parameters = { gib: 4, each: 1, class: "slow", other: 1 };
const requested = (more: object = {}): Plan =>
  planOf(forms.Simple.parse({ image: "x", volumes, parameters, ...more }), DEFAULTS, id);

t.test("a plan has the sizes and classes that its parameters make, and keeps what a restart may correct", async (t) => {
  t.match(requested().storage, {
    claims: ["shared"],
    classes: ["slow", ""],
    anchor: { bytes: 5 * GIB },
    asked: { parameters: { gib: 4, each: 1, class: "slow" } },
  });
  t.notOk("other" in (requested().storage?.asked?.parameters ?? {}));
  t.equal(requested({ volumes: [{ name: "data", size: { gib: 3 } }] }).storage?.asked, undefined);
});

interface Case {
  readonly name: string;
  readonly before?: Plan["withParameters"];
  readonly given: Plan["withParameters"];
  readonly sameVolumes: boolean;
  readonly want: object;
}

const refused = { problems: [{ path: "/data/with/parameters", code: "RequestInvalid" }] };
const cases: readonly Case[] = [
  { name: "the same parameters change nothing", given: undefined, sameVolumes: true, want: { storage: { anchor: { bytes: 5 * GIB } } } },
  { name: "another size is refused for volumes that are there", given: { gib: 5 }, sameVolumes: true, want: refused },
  { name: "another class is refused for them, too", given: { class: "fast" }, sameVolumes: true, want: refused },
  { name: "new volumes have another size and class", given: { gib: 9, class: "fast" }, sameVolumes: false, want: { storage: { classes: ["fast", ""], anchor: { bytes: 10 * GIB } } } },
  { name: "volumes of each pod are always new", given: { each: 7 }, sameVolumes: true, want: { storage: { anchor: { bytes: 5 * GIB } } } },
  { name: "a size that was corrected is not corrected back unsaid", before: { gib: 9 }, given: undefined, sameVolumes: true, want: refused },
  { name: "a size that was corrected may be given again", before: { gib: 9 }, given: { gib: 9 }, sameVolumes: true, want: { storage: { anchor: { bytes: 10 * GIB } } } },
  { name: "a value that is no size is refused", given: { gib: "many" }, sameVolumes: false, want: refused },
]; // biome-ignore format: a table is read down its columns

for (const { name, before, given, sameVolumes, want } of cases)
  t.test(name, async (t) => {
    const plan = { ...requested(), ...(before && { withParameters: before }) };
    t.match(storageWith({ id, plan }, given, sameVolumes), want);
  });

t.test("volumes without parameters stay as they are", async (t) =>
  t.same(storageWith({ id, plan: requested({ volumes: [{ name: "data", size: "1Gi" }] }) }, undefined, true), {}),
);
