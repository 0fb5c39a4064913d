/** Parameters are judged as every validator of JSON Schema judges them, and a keyword that is not judged is refused. */
import { Ajv } from "ajv";
import fc from "fast-check";
import t from "tap";
import { judgeDefinition } from "./definition.ts";
import { judgeParameters, parameterProblems, ParametersSchema } from "./parameters.ts";

const ajv = new Ajv({ strict: false, allErrors: true, useDefaults: true, unicodeRegExp: true });

const name = fc.constantFrom("a", "b", "c");
const scalar = fc.oneof(
  fc.constantFrom("", "x", "xy", "2030-01"),
  fc.integer({ min: -2, max: 12 }),
  fc.constantFrom(0.5, true, false, null),
);
const value = fc.letrec((tie) => ({
  any: fc.oneof(scalar, fc.array(tie("any"), { maxLength: 3 }), fc.dictionary(name, tie("any"), { maxKeys: 3 })),
})).any;

const bound = fc.integer({ min: 0, max: 10 });
const schema = fc.letrec((tie) => ({
  text: fc.record({ type: fc.constant("string"), minLength: bound, maxLength: bound, pattern: fc.constantFrom("^x", "[0-9]+$") }, { requiredKeys: ["type"] }),
  number: fc.record({ type: fc.constantFrom("integer", "number"), minimum: bound, maximum: bound, exclusiveMinimum: bound, exclusiveMaximum: bound, multipleOf: fc.constantFrom(1, 2, 0.5) }, { requiredKeys: ["type"] }),
  list: fc.record({ type: fc.constant("array"), items: tie("any"), minItems: bound, maxItems: bound }, { requiredKeys: ["type", "items"] }),
  words: fc.record({ enum: fc.constantFrom(["x", "xy"], [1, 2], ["x", null]) }),
  one: fc.record({ const: fc.constantFrom("x", 1, true) }),
  several: fc.record({ type: fc.constantFrom(["string", "null"], ["integer", "boolean"]) }),
  either: fc.record({ anyOf: fc.array(tie("any"), { minLength: 1, maxLength: 2 }) }),
  object: fc.record({ type: fc.constant("object"), properties: fc.dictionary(name, tie("any"), { maxKeys: 3 }), additionalProperties: fc.oneof(fc.boolean(), tie("any")) }, { requiredKeys: ["type", "properties"] }),
  any: fc.oneof({ maxDepth: 3, withCrossShrink: true }, tie("text"), tie("number"), tie("words"), tie("one"), tie("several"), fc.constant({ type: "boolean" }), tie("list"), tie("either"), tie("object")),
})).object; // biome-ignore format: a grammar

t.test("another validator takes and refuses the same values", async (t) => {
  let taken = 0;
  const property = fc.property(schema, value, (made, given) => {
    const parsed = ParametersSchema.safeParse(made);
    if (!parsed.success) throw new Error(`a schema of the grammar was refused: ${parsed.error.message}`);
    const theirs = ajv.validate(made as object, structuredClone(given));
    const ours = judgeParameters(parsed.data, given, "").kind === "valid";
    if (theirs) taken++;
    if (ours !== theirs) throw new Error(`we say ${ours}, they say ${theirs} (${ajv.errorsText()})`);
  });
  fc.assert(property, { numRuns: Number(process.env["RUNS"] ?? 1_500) });
  t.ok(taken > 20, `${taken} were taken`);
});

t.test("defaults are filled in, in objects that are given, too", async (t) => {
  const schema = ParametersSchema.parse({
    type: "object",
    properties: {
      class: { type: "string", default: "fast" },
      of: { type: "object", properties: { n: { type: "integer", default: 2 } } },
    },
  });
  t.same(judgeParameters(schema, { of: {} }, ""), { kind: "valid", value: { class: "fast", of: { n: 2 } } });
});

// biome-ignore format: a table
const bad: readonly (readonly [name: string, parameters: object, want: readonly [path: string, message: RegExp][]])[] = [
  ["a misspelt keyword", { type: "object", properties: { a: { type: "string", minimun: 1 } } }, [["/parameters/properties/a/minimun", /did you mean "minimum"/]]],
  ["a keyword that is not judged", { type: "object", if: {} }, [["/parameters/if", /is not a field here/]]],
  ["a type that is none", { type: "object", properties: { a: { type: "strin" } } }, [["/parameters/properties/a/type", /one of string, integer/]]],
  ["a list of parameters", { type: "array" }, [["/parameters/type", /`type: object`/]]],
  ["a format that nobody judges", { type: "object", properties: { a: { type: "string", format: "dates" } } }, [["/parameters/properties/a/format", /"date"/]]],
  ["a default that it refuses itself", { type: "object", properties: { a: { type: "array", items: { type: "integer", default: "x" } } } }, [["/parameters/properties/a/items/default", /default is refused/]]],
  ["a bound of a list that would not be judged", { type: "object", properties: { a: { type: "array", minItems: 1 } } }, [["/parameters/properties/a", /`items`/]]],
  ["a needed property that is not there", { type: "object", required: ["b"], properties: { a: {} } }, [["/parameters/required/0", /No property is named "b"/]]],
];
for (const [name, parameters, want] of bad)
  t.test(`refuses ${name}, where it stands`, async (t) => {
    const judged = judgeDefinition({ name: "a", image: "b", parameters });
    t.match(judged, { kind: "invalid", problems: want.map(([path, message]) => ({ path, message })) });
  });

t.test("a schema without mistakes has no problems", async (t) => {
  t.same(parameterProblems({ type: "object", required: ["a"], properties: { a: { type: "integer", default: 3 } } }), []);
});
