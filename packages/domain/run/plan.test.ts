/** The fields that a restart may correct, and the effect of each correction. */
import { Correction } from "@longshore/contract/messages/command.ts";
import { forms, type RenderedStep, type SimpleRequest } from "@longshore/contract/request/request.ts";
import { StepName } from "@longshore/contract/ids.ts";
import t from "tap";
import { z } from "zod";
import { corrected, DEFAULTS, limitsFor, NO_PLAN, planOf } from "./plan.ts";
import type { Plan } from "./record.ts";

const step: RenderedStep = {
  name: StepName.parse("main"),
  image: "app:1",
  command: ["export"],
  env: { REGION: "eu", MODE: "fast" },
  resources: { limits: { memory: "1Gi", cpu: "1" }, requests: { memory: "512Mi" } },
};

interface Case {
  readonly name: string;
  readonly correction: Correction;
  /** The fields that the correction changes. */
  readonly want: Partial<RenderedStep>;
}

/** A field of the correction without a row here does not compile. The deadline is one of the step's limits: see `limitsFor`. */
const CASES: { readonly [F in Exclude<keyof Correction, "deadline">]-?: Case } = {
  image: { name: "another image takes the place of the first", correction: { image: "app:2" }, want: { image: "app:2" } },
  env: {
    name: "variables are added and replaced, and the others stay",
    correction: { env: { MODE: "slow", NEW: { field: "metadata.name" } } },
    want: { env: { REGION: "eu", MODE: "slow", NEW: { field: "metadata.name" } } },
  },
  resources: {
    name: "amounts are replaced one by one",
    correction: { resources: { limits: { memory: "2Gi" } } },
    want: { resources: { limits: { memory: "2Gi", cpu: "1" }, requests: { memory: "512Mi" } } },
  },
};

for (const { name, correction, want } of Object.values(CASES))
  t.test(name, async (t) => t.same(corrected(step, Correction.parse(correction)), { ...step, ...want }));

t.test("without a correction a step stays as it is", async (t) => t.same(corrected(step, undefined), step));

t.test("every field that a correction may name has its row", async (t) => {
  t.same(Object.keys(Correction.shape).toSorted(), [...Object.keys(CASES), "deadline"].toSorted());
});

t.test("the defaults that the published schema names are those of a plan", async (t) => {
  const { properties } = z.toJSONSchema(forms.Simple, { io: "input" }) as { properties: Record<string, Described> };
  const named = Object.entries(properties).flatMap(([name, it]) => {
    const value = defaultsIn(it);
    return value === undefined ? [] : [[name, value] as const];
  });
  t.same(
    named.map(([name]) => name),
    ["slices", "priority", "concurrency", "waitFor", "startWithin", "deadline", "retries", "keepFor", "keepVolumesFor"],
  );
  const request = { image: "busybox" };
  t.same(planOf({ ...request, ...Object.fromEntries(named) } as SimpleRequest, NO_PLAN.limits).limits, {
    ...DEFAULTS,
    giveUpAfterMs: {},
  });
  t.equal(properties["priority"]?.default, planOf(request, DEFAULTS).priority);
  const { keepVolumesFor } = Object.fromEntries(named) as Pick<SimpleRequest, "keepVolumesFor">;
  const withVolumes = { ...request, volumes: [{ name: "data", size: "1Gi" }] };
  t.same(planOf({ ...withVolumes, keepVolumesFor }, DEFAULTS).storage, planOf(withVolumes, DEFAULTS).storage);
});

t.test("a plan keeps whether its request asked for retries", async (t) => {
  const asked = (retries?: SimpleRequest["retries"]) => planOf({ image: "busybox", retries }, DEFAULTS).steps[0]?.retriesAsked;
  t.same([asked({ max: 1 }), asked({ max: 0 }), asked({}), asked()], [true, undefined, undefined, undefined]);
});

t.test("a step has its run's limits, then its own, then a restart's deadline", async (t) => {
  const request = forms.Pipeline.parse({
    deadline: "1h",
    retries: { max: 3, backoff: { first: "20s", most: "30s" } },
    steps: [
      { name: "plain", image: "app:1" },
      { name: "own", image: "app:1", deadline: "2h", startWithin: "5m", retries: { on: ["failure"], backoff: { first: "40s" } } },
    ],
  });
  const plan = planOf(request, DEFAULTS);
  const of = (name: string, corrections?: Plan["with"]) => limitsFor({ ...plan, with: corrections }, StepName.parse(name));
  const run = { deadlineMs: 3_600_000, startWithinMs: DEFAULTS.startWithinMs, retriesMax: 3, retriesOn: ["never-started"] };
  t.match(of("plain"), { ...run, backoffFirstMs: 20_000, backoffMostMs: 30_000 });
  const own = { deadlineMs: 7_200_000, startWithinMs: 300_000, retriesMax: 3, retriesOn: ["failure"] };
  t.match(of("own"), { ...own, backoffFirstMs: 40_000, backoffMostMs: 40_000 }, "the longest wait is not below the first");
  t.equal(of("own", { own: { deadline: "3h" } }).deadlineMs, 10_800_000);
  t.equal(of("plain", { own: { deadline: "3h" } }).deadlineMs, 3_600_000);
});

interface Described {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Described>>;
}

function defaultsIn(it: Described): unknown {
  if (it.properties === undefined) return it.default;
  const inner = Object.entries(it.properties).flatMap(([name, value]) => {
    const found = defaultsIn(value);
    return found === undefined ? [] : [[name, found] as const];
  });
  return inner.length === 0 ? undefined : Object.fromEntries(inner);
}

t.test("a plan knows what no output decides: an `if`, the images, and the parameters that are used", async (t) => {
  const request = forms.Pipeline.parse({
    parameters: { go: false, tag: "2", text: "${{ parameters.text }}" },
    outputs: { rows: "${{ steps.a.outputs.rows }}" },
    steps: [
      { name: "a", image: "app:${{ parameters.tag }}-${{ run.id }}", outputs: { message: ["rows"], annotations: ["id"] } },
      {
        name: "b",
        needs: ["a"],
        image: "${{ steps.a.outputs.rows }}",
        if: "${{ parameters.go }}",
        init: [{ name: "i", image: "init" }],
      },
      { name: "c", needs: ["a"], image: "plain", if: "${{ steps.a.outputs.rows }}" },
    ],
  });
  const { steps, parameters, outputs } = planOf(request, DEFAULTS, "r");
  t.match(steps[0], { uses: { image: "app:2-r" }, outputs: ["rows"], annotations: ["id"] });
  t.match(steps[1], { uses: { image: undefined, initImages: ["init"] }, if: { given: "${{ parameters.go }}", known: false } });
  t.match(steps[2], { uses: { image: "plain" }, if: { given: "${{ steps.a.outputs.rows }}", known: undefined } });
  t.same(parameters?.toSorted(), ["go", "tag"]);
  t.same(outputs, request.outputs);
});
