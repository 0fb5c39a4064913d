import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { readDefinitions } from "./files.ts";

function folder(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), "longshore-definitions-"));
  process.once("exit", () => rmSync(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

const problemsIn = async (files: Readonly<Record<string, string>>): Promise<readonly string[]> => {
  const dir = folder(files);
  return (await readDefinitions(dir)).problems.map((it) => it.replaceAll(`${dir}/`, ""));
};

t.test("all problems of all files are told at once, each with its line, its path and what was meant", async (t) => {
  const problems = await problemsIn({
    "export.yaml": `name: export
parameters:
  type: object
  required: [month, day]
  properties:
    month: { type: string, pattern: "[" }
    day: { type: string, minimun: 1 }
steps:
  - name: load
    image: busybox
    comand: [sh]
  - name: load two
    image: ""
`,
    "broken.yaml": "name: [1\n",
    "greet.yml": "name: greet\nimage: busybox\n",
    "other.yaml": "image: busybox\nname: greet\n",
    "empty.yaml": "",
    "names.yaml": `name: names
parameters: { type: object, properties: { month: { type: string }, of: { type: object, properties: { id: { type: integer } } } } }
image: "app:\${{ parameters.tag }}"
args: ["\${{ parameters.month }}", "\${{ parameters.of.id }}", "\${{ parameters.of.id.x }}"]
`,
    "circle.yaml": "name: circle\nsteps:\n  - { name: a, image: b, needs: [c] }\n  - { name: c, image: b, needs: [a] }\n",
    "README.md": "not looked at",
    ".hidden.yaml": "not looked at, either",
  });
  t.same(problems, [
    "broken.yaml:2:1: not YAML: the indentation does not fit, or a bracket is not closed",
    "circle.yaml:2: /steps: These steps wait for each other in a circle: a, c.",
    "empty.yaml: This must be an object, not null.",
    'export.yaml:11: /steps/0/comand: "comand" is not a field here: did you mean "command"?',
    "export.yaml:12: /steps/1/name: A step's name is a lower-case DNS label: letters, digits and '-', starting and ending with a letter or digit, with at most 30 characters.",
    'export.yaml:13: /steps/1/image: An image is needed, such as "registry.example/app:1.4".',
    "export.yaml:6: /parameters/properties/month/pattern: This is no regular expression that JavaScript understands.",
    'export.yaml:7: /parameters/properties/day/minimun: "minimun" is not a field here: did you mean "minimum"?',
    'names.yaml:3: /image: There is no parameter "tag"; there are month, of.',
    'names.yaml:4: /args/2: There is no parameter "of.id.x"; there are month, of.',
    'other.yaml: /name: "greet" is the name of the definition in greet.yml already',
  ]);
});

t.test("a folder that cannot be read is a problem, not an empty folder", async (t) => {
  t.match((await readDefinitions("/nowhere/definitions")).problems, [/nowhere\/definitions: cannot be read/]);
});

t.test("a mounted ConfigMap, whose files are links into a hidden folder, is read", async (t) => {
  const real = folder({ "greet.yaml": "name: greet\nimage: busybox\n" });
  const mount = folder({});
  symlinkSync(real, join(mount, "..data"));
  symlinkSync(join("..data", "greet.yaml"), join(mount, "greet.yaml"));
  t.match(await readDefinitions(mount), { definitions: [{ body: { name: "greet" } }], problems: [] });
});

t.test("the digest tells content, and not how it is written", async (t) => {
  const digestOf = async (text: string) => (await readDefinitions(folder({ "a.yaml": text }))).definitions[0]?.digest;
  const digest = await digestOf("name: a\nimage: busybox\n");
  t.equal(await digestOf("# the same\nimage: busybox\nname: a\n"), digest);
  t.not(await digestOf("name: a\nimage: busybox:2\n"), digest);
});
