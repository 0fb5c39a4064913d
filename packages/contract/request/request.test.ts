/** Every way in which a request can be bad, read by the function that reads messages. */
import t from "tap";
import { BAD_REQUESTS, CANARY } from "../testing/bad-requests.ts";
import { readCommand } from "../messages/envelope.ts";
import type { Problem } from "../problems/problem.ts";
import { MAIN, stepsOf } from "./request.ts";
import { requestProblems } from "./request-problems.ts";
import { REQUESTED } from "../messages/command.ts";

const message = (data: unknown): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify({ specversion: "1.0", id: "m1", source: "/shop", type: "dev.longshore.run.requested", data }),
  );

/** Returns the problems of a refused request. If it was not refused, the list is empty, which no test here expects. */
function refusal(data: unknown): readonly Problem[] {
  const read = readCommand(message(data));
  return read.kind === "refused" ? read.problems : [];
}

for (const { name, data, want } of BAD_REQUESTS)
  t.test(`refuses a request that ${name}`, async (t) => {
    const problems = refusal(data);
    t.same(
      problems.map(({ path, code }) => [path, code]),
      want,
    );
    for (const problem of problems) {
      t.match(problem.message, /^["A-Z].*[.?]$/s, "a full sentence");
      t.notMatch(problem.message, CANARY, "no value is repeated");
    }
  });

t.test("says which field was meant, and which fields there are", async (t) => {
  const problems = refusal({ run: "a", image: "x", deadine: "5m", hostNetwork: true });
  t.match(problems[0]?.message, 'did you mean "deadline"?');
  t.match(problems[1]?.message, /these are: image, command, .*actor/);
});

t.test("says what was meant by swapped letters and by bytes", async (t) => {
  t.match(refusal({ run: "a", imgae: "x" }).find(({ code }) => code === "UnknownField")?.message, 'did you mean "image"?');
  const memory = (text: string) => refusal({ run: "a", image: "x", resources: { limits: { memory: text } } })[0]?.message;
  t.match(memory("2GB"), "write 2G or 2Gi.");
  t.match(memory("64 KiB"), "write 64k or 64Ki.");
});

t.test("says what may stand where a text is missing", async (t) => {
  const said = (text: object): readonly string[] => {
    const read = readCommand(new TextEncoder().encode(JSON.stringify({ id: "m1", source: "/shop", ...text })));
    return read.kind === "command" ? [] : read.problems.map((it) => it.message);
  };
  const restart = { specversion: "1.0", type: "dev.longshore.run.restart" };
  t.same(said({ ...restart, data: { run: "a" } }), ['"from" is needed: failed, start, or a step\'s name.']);
  t.same(said({ ...restart, data: { run: "a", from: 1 } }), ["This must be a text: failed, start, or a step's name."]);
  t.same(said({ type: "dev.longshore.run.cancel", data: { run: "a" } }), ['"specversion" is needed: "1.0".']);
});

t.test("says that steps may stand in place of an image, but not in a step", async (t) => {
  t.equal(refusal({ run: "a" })[0]?.message, '"image" is needed, or "steps" for a pipeline.');
  t.equal(refusal({ run: "a", steps: [{ name: "load" }] })[0]?.message, '"image" is needed: a text.');
});

t.test("says what a restart corrects if it is asked for something else, also of a run without steps", async (t) => {
  const data = { run: "a", from: "failed", with: { command: ["true"] } };
  const restart = { specversion: "1.0", id: "m1", source: "/shop", type: "dev.longshore.run.restart", data };
  const read = readCommand(new TextEncoder().encode(JSON.stringify(restart)));
  t.same(read.kind === "refused" && read.problems.map(({ message }) => message), [
    '"command" is not a field here; these are: image, env, resources, deadline, steps, parameters, secretValues.',
  ]);
});

t.test("tells an author who mixed the two forms where the field belongs", async (t) => {
  const problems = refusal({ run: "a", image: "x", steps: [{ name: "load", image: "x" }] });
  t.same(
    problems.map(({ message }) => message),
    ['"image" belongs inside a step, since "steps" is given.'],
  );
});

t.test("knows what fields are called elsewhere, and names all fields once", async (t) => {
  const said = refusal({
    run: "a",
    image: "x",
    timeout: "5m",
    memory: "1Gi",
    environment: {},
    priorty: 1,
    colour: "red",
    shape: "round",
  });
  t.match(
    said.map(({ message }) => message),
    [
      '"timeout" is not a field here: did you mean "deadline"?',
      '"memory" is not a field here: did you mean "resources.limits.memory"?',
      '"environment" is not a field here: did you mean "env"?',
      '"priorty" is not a field here: did you mean "priority"?',
      /^"colour" is not a field here; these are: .*deadline.*, or steps, or definition in place of image\.$/,
      '"shape" is not a field here.',
    ],
  );
  t.equal(refusal({ run: "a", image: "x", constructor: 1 })[0]?.path, "/data/constructor");
});

t.test("answers a flood of problems with a bounded list", async (t) => {
  const env = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`${at}`, "x"]));
  const problems = refusal({ run: "a", image: "x", env });
  t.equal(problems.length, 51);
  t.equal(problems.at(-1)?.code, "MoreProblems");
});

// biome-ignore format: a table
const GOOD: readonly (readonly [name: string, data: object])[] = [
  ["the shortest request", { run: "a", image: "x" }],
  ["every field of the short form", {
    run: "orders/8812:export@1+2=3", image: "registry.example:5000/a/b@sha256:abc", command: ["/bin/sh", "-c"], args: ["", "exit 0\n"],
    env: { EMPTY: "", "a.b-c_D": "ü😀", NODE: { field: "spec.nodeName" }, constructor: "harmless" },
    resources: { limits: { cpu: "1.5", memory: "2Gi", "ephemeral-storage": "1G" }, requests: { cpu: "500m", memory: "2048Mi" } },
    workingDir: "/", outputs: ["rows"], groups: ["gpu", "prod/team-a"], labels: { team: "", "example.org/team": "a" },
    annotations: { "example.org/why": "because, of course" }, priority: -1000, notBefore: "1999-12-31T23:59:59.5+02:00", waitFor: "366d",
    startWithin: "90s", deadline: "500ms", retries: { max: 0, on: [], backoff: { first: "1s", most: "5m" } },
    keepFor: { succeeded: "0s", failed: "7d" }, actor: { name: "Ada", id: "7" },
  }],
  ["a pipeline", { run: "a", steps: [{ name: "load", image: "x" }, { name: "mail", image: "y", needs: ["load"], when: "always" }], deadline: "1h" }],
];

for (const [name, data] of GOOD)
  t.test(`takes ${name} and changes nothing in it`, async (t) => {
    const read = readCommand(message(data));
    t.same(read, { kind: "command", command: { type: "run.requested", id: "m1", source: "/shop", data } });
  });

t.test("a simple request is one step named main, without the fields that were not given", async (t) => {
  const request = REQUESTED.simple.parse({ run: "a", image: "x", args: ["1"], deadline: "5m" });
  t.same(stepsOf(request), [{ name: MAIN, image: "x", args: ["1"] }]);
  t.same(requestProblems(request), []);
});

t.test("annotations that fill a pod are taken, unless its program has to write some too", async (t) => {
  const annotations = Object.fromEntries(Array.from({ length: 45 }, (_, at) => [`a${at}`, "x".repeat(4_050)]));
  const sound = { run: "a", image: "x", annotations };
  t.same(refusal({ ...sound, outputs: ["id"] }), []);
  t.match(refusal({ ...sound, outputs: { annotations: ["id"] } }), [
    { path: "/data/annotations", message: "at most 180224 fit" },
  ]);
});
