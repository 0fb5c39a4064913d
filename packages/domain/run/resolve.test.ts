import type { Invocation } from "@longshore/contract/messages/command.ts";
import { type Definition, judgeDefinition } from "@longshore/contract/request/definition.ts";
import { REQUESTED } from "@longshore/contract/messages/command.ts";
import t from "tap";
import { keptOf, resolve } from "./resolve.ts";

function definitionOf(value: object): Definition {
  const judged = judgeDefinition(value);
  if (judged.kind === "invalid") throw new Error(JSON.stringify(judged.problems));
  return judged.value;
}

const definition = definitionOf({
  name: "export",
  title: "Export",
  owner: { name: "Shop" },
  image: "export:1",
  groups: ["east", "west"],
  labels: { team: "shop" },
  priority: 3,
  concurrency: { limit: 2 },
  parameters: {
    type: "object",
    additionalProperties: false,
    required: ["month"],
    properties: { month: { type: "string" }, rows: { type: "integer", default: 10 } },
  },
});

const asked = (more: object): Invocation => {
  const { run: _, ...rest } = REQUESTED.invocation.parse({ run: "a", definition: "export", ...more });
  return rest;
};

// biome-ignore format: a table
const cases: readonly { readonly name: string; readonly asked: object; readonly want: object }[] = [
  { name: "defaults are filled in, and the key is the definition's name", asked: { parameters: { month: "1" } },
    want: { kind: "resolved", request: { image: "export:1", groups: ["east", "west"], labels: { team: "shop" }, priority: 3, concurrency: { key: "export", limit: 2 }, parameters: { month: "1", rows: 10 } } } },
  { name: "a request says where, when and how urgently", asked: { parameters: { month: "1" }, groups: ["west"], priority: 9, notBefore: "2030-01-01T00:00:00Z", waitFor: "1h", labels: { customer: "acme" } },
    want: { kind: "resolved", request: { image: "export:1", groups: ["west"], labels: { team: "shop", customer: "acme" }, priority: 9, notBefore: "2030-01-01T00:00:00Z", waitFor: "1h", concurrency: { key: "export", limit: 2 }, parameters: { month: "1", rows: 10 } } } },
  { name: "all that a request gets wrong is told at once, by its path", asked: { parameters: { mont: "1", rows: "2" }, groups: ["east", "north"], labels: { team: "bank" } },
    want: { kind: "refused", problems: [
      { path: "/data/parameters/month", code: "Missing", message: '"month" is needed: a text.' },
      { path: "/data/parameters/rows", code: "WrongType", message: "This must be a number, not a text." },
      { path: "/data/parameters/mont", code: "UnknownField", message: '"mont" is not a field here: did you mean "month"?' },
      { path: "/data/groups/1", code: "Inconsistent", message: 'The definition "export" runs in east, west; a request may choose among these.' },
      { path: "/data/labels/team", code: "Inconsistent", message: 'The definition "export" says this itself; a request may add others.' },
    ] } },
];
for (const { name, asked: request, want } of cases)
  t.test(name, async (t) => t.same(resolve(definition, asked(request), "a"), want));

t.test("a run keeps the schemas of the parameters that its expressions use", async (t) => {
  t.same(keptOf({ body: definition, digest: "1" }, ["month"]), {
    name: "export",
    digest: "1",
    owner: { name: "Shop" },
    parameters: { month: { type: "string" } },
  });
  t.notOk("parameters" in keptOf({ body: definition, digest: "1" }));
});

t.test("a definition without parameters takes none", async (t) => {
  const plain = definitionOf({ name: "export", image: "export:1" });
  t.same(resolve(plain, asked({}), "a"), { kind: "resolved", request: { image: "export:1" } });
  t.match(resolve(plain, asked({ parameters: { month: "1" } }), "a"), { problems: [{ path: "/data/parameters/month" }] });
});

t.test("what the definition cannot do with the values is told where they stand", async (t) => {
  const parameters = { type: "object", properties: { tag: { type: "string" }, of: { type: "string" } } };
  const tagged = definitionOf({
    name: "export",
    image: "app:${{ parameters.tag }}",
    parameters,
    concurrency: { key: "for/${{ parameters.of }}" },
  });
  t.match(resolve(tagged, asked({ parameters: { tag: "1", of: "acme" } }), "a"), { kind: "resolved" });
  t.match(resolve(tagged, asked({ parameters: { tag: "a b", of: "acme" } }), "a"), {
    problems: [{ path: "/data/parameters", message: /cannot take these values, at \/image: An image's name holds no spaces/ }],
  });
  t.match(resolve(tagged, asked({ parameters: { tag: "1" } }), "a"), { problems: [{ message: /no parameter "of"/ }] });
  t.match(resolve(tagged, asked({ parameters: { tag: "1", of: "x".repeat(300) } }), "a"), {
    problems: [{ message: /at \/concurrency\/key: / }],
  });
});

t.test("a definition's volumes take their sizes from parameters", async (t) => {
  const sized = definitionOf({
    name: "export",
    image: "app:1",
    parameters: { type: "object", properties: { gib: { type: "number" } } },
    volumes: [{ name: "data", size: { gib: "${{ parameters.gib }}", plusGib: 1 } }],
    mounts: [{ volume: "data", path: "/data" }],
  });
  t.match(resolve(sized, asked({ parameters: { gib: 4 } }), "a"), { kind: "resolved" });
  t.match(resolve(sized, asked({ parameters: { gib: 0.5 } }), "a"), {
    problems: [{ path: "/data/parameters", message: /at \/volumes\/0\/size\/gib: The value of `gib` must be a whole number/ }],
  });
  const typo = { name: "export", image: "app:1", volumes: [{ name: "data", size: "${{ parameters.gb }}Gi" }] };
  t.match(judgeDefinition(typo), { problems: [{ path: "/volumes/0/size", message: /no parameter "gb"/ }] });
});

t.test("a definition names secret values, and a request for it brings exactly those", async (t) => {
  const named = { name: "export", image: "app:1", env: { TOKEN: { secretValue: "token" } } };
  const made = definitionOf(named);
  t.match(resolve(made, asked({ secretValues: { token: "hunter2" } }), "a"), { kind: "resolved" });
  t.match(resolve(made, asked({}), "a"), {
    problems: [{ path: "/data/secretValues", message: /at \/env\/TOKEN\/secretValue: No secret value is named "token"/ }],
  });
  t.match(resolve(made, asked({ secretValues: { token: "a", more: "b" } }), "a"), {
    problems: [{ message: /uses the secret value "more"/ }],
  });
  t.match(judgeDefinition({ ...named, secretValues: { token: "hunter2" } }), {
    problems: [{ path: "/secretValues", code: "UnknownField" }],
  });
});
