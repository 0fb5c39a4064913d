/** The Job that is created, word for word; and each mark that is written on it is read back. */
import { readFileSync } from "node:fs";
import { GroupName, Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import { rendered } from "@longshore/contract/expressions/rendering.ts";
import { forms, type StepRequest, stepsOf } from "@longshore/contract/request/request.ts";
import t from "tap";
import { HOLD, LABELS, selectorOf } from "../run/marks.ts";
import { DEFAULTS, planOf } from "../run/plan.ts";
import { seeJob } from "../watch/seen.ts";
import { manifest, type ManifestInput, occupant } from "./manifest.ts";
import type { meetingOn } from "./volumes.ts";

const input: ManifestInput = {
  installation: Installation.parse("demo"),
  group: { name: GroupName.parse("prod-a"), namespace: "batch" },
  run: { id: RunId.parse("orders/8812/export"), labels: { team: "shop" }, annotations: { "example.com/ticket": "SHOP-1" } },
  step: {
    name: StepName.parse("main"),
    image: "registry.example.com/export:4.2",
    command: ["export"],
    args: ["--order", "8812"],
    env: { REGION: "eu", POD: { field: "metadata.name" } },
    resources: { requests: { cpu: "250m" }, limits: { memory: "1Gi" } },
    workingDir: "/srv",
    outputs: ["rows"],
  },
  attempt: 2,
  generation: 1,
  epoch: 1,
  name: "orders-8812-export-main-2-abcdefghijk",
  hashOfRun: "mfrggzdfmztwq2lknnwg23tpob",
  proof: "proof-1",
  limits: { waitForMs: 86_400_000, startWithinMs: 900_000, deadlineMs: 21_600_000 },
};

/** The Job as the API server would store it. */
const stored = (made: object): unknown => {
  const { metadata, ...rest } = JSON.parse(JSON.stringify(made)) as { metadata: object };
  return { ...rest, metadata: { ...metadata, uid: "uid-1", resourceVersion: "1" } };
};

t.test("a whole step becomes exactly this Job", async (t) => {
  const golden: unknown = JSON.parse(readFileSync(new URL("manifest.golden.json", import.meta.url), "utf8"));
  t.same(JSON.parse(JSON.stringify(manifest(input))), golden, "if the change is meant, write it into manifest.golden.json");
});

/** A value for each field of a step, with texts that occur nowhere else. A field without a value does not compile. */
const FIELDS: { readonly [F in Exclude<keyof StepRequest, "name" | "needs" | "when">]-?: NonNullable<StepRequest[F]> } = {
  image: "registry.example.com/asked:1",
  command: ["asked-command"],
  args: ["asked-args"],
  env: {
    ASKED_ENV: "asked-env",
    ASKED_FIELD: { field: "spec.nodeName" },
    ASKED_SECRET: { secret: "asked-env-secret", key: "asked.key" },
  },
  resources: { limits: { memory: "71Mi" }, requests: { cpu: "73m", "ephemeral-storage": "79Mi" } },
  secrets: [{ name: "asked-secret", mount: "/asked/secrets" }],
  files: [{ path: "/asked/file", text: "asked-content" }],
  serviceAccount: { name: "asked-account", token: true },
  workingDir: "/asked/dir",
  mounts: [{ volume: "asked-volume", path: "/asked/mount", readOnly: true }],
  init: [{ name: "asked-init", image: "registry.example.com/init:1", command: ["init-command"], env: { INIT_ENV: "init-env" } }],
  scratch: [{ path: "/asked/scratch", size: "107Mi" }],
  slices: { count: 113, parallelism: 109, retriesPerSlice: 3, failedMax: 107 },
  if: false,
  outputs: ["asked-output"],
  labels: { "asked-label": "asked-value" },
  annotations: { "asked-annotation": "asked-text" },
  grace: "83s",
  startWithin: "89s",
  deadline: "97s",
  retries: { max: 17, on: ["infrastructure"], backoff: { first: "101s", most: "103s" } },
};
/** The launcher goes by these fields. The pod does not have them. */
const OF_PLAN = ["if", "outputs", "startWithin", "deadline", "retries"];
/** The pod has durations in seconds, the plan in milliseconds. */
const inUnitOf = (where: "plan" | "pod", text: string): string => text.replace(/^(\d+)s$/, where === "plan" ? "$1000" : "$1");

const textsIn = (value: unknown): readonly string[] =>
  typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [String(value)];

for (const [field, value] of Object.entries(FIELDS)) {
  const where = OF_PLAN.includes(field) ? "plan" : "pod";
  t.test(`a step's field ${field} reaches the ${where}`, async (t) => {
    const request = forms.Pipeline.parse({ steps: [{ name: "main", image: "plain", [field]: value }] });
    const step = stepsOf(request)[0];
    const made = step && rendered(step, {}, { run: { id: "r" }, steps: {} });
    if (made?.kind !== "rendered") throw new TypeError("the request has no step");
    const volumes = [{ name: "asked-volume", claim: "asked-volume" }];
    const found = textsIn(
      where === "plan" ? planOf(request, DEFAULTS).steps : manifest({ ...input, step: made.step, volumes, slots: 109 }).spec,
    );
    for (const text of textsIn(value)) t.ok(found.includes(inUnitOf(where, text)), text);
  });
}

t.test("what we write on a Job is what we read from it", async (t) => {
  const job = seeJob(stored(manifest(input)));
  t.match(job?.mark, {
    installation: "demo",
    group: "prod-a",
    proof: "proof-1",
    run: "orders/8812/export",
    step: "main",
    attempt: 2,
    occupant: false,
  });
  t.ok(job?.held);
  t.equal(job?.ttlSeconds, undefined, "a Job without a hold and with a time to live is one that we released");
});

t.test("the watcher's selector finds the Job and its pods", async (t) => {
  const { metadata, spec } = manifest(input);
  for (const term of selectorOf(input.installation).split(",")) {
    const [label = "", value] = term.split("=");
    t.equal(metadata.labels[label], value);
    t.equal(spec.template.metadata.labels[label], value);
  }
});

t.test("pods meet on one node only with those that have the same volumes", async (t) => {
  const anchor = {
    number: 2,
    name: "anchor",
    uid: "uid-of-the-anchor",
    claimName: (volume: string) => volume,
    secretName: "secret",
    fileName: () => "file",
  };
  const { metadata, spec } = manifest({ ...input, node: "data", anchor }).spec.template;
  const [term] = (spec.affinity as ReturnType<typeof meetingOn>).podAffinity.requiredDuringSchedulingIgnoredDuringExecution;
  const selected = term?.labelSelector.matchLabels;
  t.match(metadata.labels, selected, "it fits its own term");
  t.match(selected, {
    [LABELS.installation]: "demo", [LABELS.run]: input.hashOfRun, [LABELS.anchor]: "2", [LABELS.node]: "data",
  }); // biome-ignore format: one value
});

t.test("nothing in a request takes the place of what is ours", async (t) => {
  const made = manifest({
    ...input,
    run: {
      ...input.run,
      labels: { [LABELS.run]: "forged", [LABELS.installation]: "forged" },
      annotations: { "longshore.dev/proof": "forged" },
    },
    step: { ...input.step, env: { LONGSHORE_RUN: "forged" } },
  });
  t.notMatch(JSON.stringify(made.metadata), /forged/);
  t.same(
    made.spec.template.spec.containers[0]?.env?.filter(({ name }) => name === "LONGSHORE_RUN"),
    [{ name: "LONGSHORE_RUN", value: "orders/8812/export" }],
  );
});

t.test("a run's trace is in its pods' environment, unless the request names another, and in no occupant", async (t) => {
  const run = { ...input.run, traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
  const traces = (of: ManifestInput, made = manifest(of)) =>
    made.spec.template.spec.containers.flatMap(({ env = [] }) => env.filter(({ name }) => name === "TRACEPARENT"));
  t.same(traces({ ...input, run }), [{ name: "TRACEPARENT", value: run.traceparent }]);
  t.same(traces({ ...input, run, step: { ...input.step, env: { TRACEPARENT: "other" } } }), [
    { name: "TRACEPARENT", value: "other" },
  ]);
  t.same(traces(input), []);
  t.same(traces(input, occupant({ ...input, run })), []);
});

t.test("the Job's own deadline comes after all of ours, also where it waits for a node all the time it may", async (t) => {
  const { waitForMs, deadlineMs } = input.limits;
  t.ok(manifest(input).spec.activeDeadlineSeconds * 1000 > waitForMs + deadlineMs);
  const short = manifest({ ...input, limits: { waitForMs: 1, startWithinMs: 60_000, deadlineMs: 60_000 } });
  t.ok(short.spec.activeDeadlineSeconds * 1000 > 120_000);
});

t.test("an image alone is enough", async (t) => {
  const { spec } = manifest({ ...input, step: { name: StepName.parse("main"), image: "busybox" }, run: { id: input.run.id } });
  const [container] = spec.template.spec.containers;
  t.notOk(Object.hasOwn(container ?? {}, "command"));
  t.same(
    container?.env?.map(({ name }) => name),
    ["LONGSHORE_RUN", "LONGSHORE_STEP", "LONGSHORE_ATTEMPT"],
  );
});

t.test("an occupant holds the same name and can run nothing", async (t) => {
  const made = occupant(input);
  const job = seeJob(stored(made));
  t.equal(made.metadata.name, manifest(input).metadata.name);
  t.equal(made.metadata.labels[LABELS.occupant], "true");
  t.same(made.metadata.finalizers, [HOLD]);
  t.match(made.spec, { suspend: true, parallelism: 0 });
  t.ok(job?.mark?.occupant, "and is known by it");
  t.notMatch(
    JSON.stringify(made.spec.template.spec),
    /8812|REGION/,
    "none of the step's words are in it, should anybody resume it",
  );
});
