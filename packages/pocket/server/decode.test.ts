/** A Job's manifest, decoded: which fields are dropped with a Warning, and which are refused. */
import t from "tap";
import { decodeJob } from "./decode.ts";
import { Refusal } from "./status.ts";

const job = (pod: object, more: object = {}): Record<string, unknown> => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name: "one", anything: "goes here" },
  spec: { template: { spec: { restartPolicy: "Never", ...pod } }, ...more },
});

interface Case {
  readonly name: string;
  readonly given: Record<string, unknown>;
  readonly warnings?: readonly string[];
  readonly refused?: RegExp;
}

const cases: readonly Case[] = [
  { name: "a sound manifest is taken as it is", given: job({ containers: [{ name: "main", image: "x", args: ["a"] }] }) },
  {
    name: "a misspelt field of a container is named with its place",
    given: job({ containers: [{ name: "main" }, { name: "other", imge: "x" }] }),
    warnings: ['unknown field "spec.template.spec.containers[1].imge"'],
  },
  {
    name: "every misspelt field is named",
    given: { ...job({ restartpolicy: "Never" }, { backofLimit: 1 }), metdata: {} },
    warnings: ['unknown field "spec.template.spec.restartpolicy"', 'unknown field "spec.backofLimit"', 'unknown field "metdata"'],
  },
  { name: "a null is as good as nothing", given: job({ containers: null }, { backoffLimit: null }) },
  {
    name: "a number in quotes",
    given: job({}, { backoffLimit: "3" }),
    refused: /cannot unmarshal string into Go struct field JobSpec.spec.backoffLimit of type int32/,
  },
  {
    name: "a fraction",
    given: job({}, { completions: 1.5 }),
    refused: /cannot unmarshal number 1.5 into .*completions of type int32/,
  },
  {
    name: "a command in one string",
    given: job({ containers: [{ name: "main", command: "true" }] }),
    refused: /cannot unmarshal string into Go struct field Container.spec.template.spec.containers.command of type \[\]string/,
  },
  { name: "a boolean in quotes", given: job({}, { suspend: "yes" }), refused: /spec.suspend of type bool/ },
];

for (const { name, given, warnings = [], refused } of cases) {
  t.test(name, async (t) => {
    if (refused !== undefined) {
      const error = thrown(() => decodeJob(given));
      t.match(error instanceof Refusal && error.answer, { status: 400, body: { reason: "BadRequest", message: refused } });
      return;
    }
    const decoded = decodeJob(given);
    t.same(decoded.warnings, warnings);
    if (warnings.length === 0) t.same(decoded.given, given);
    for (const it of warnings) t.notMatch(JSON.stringify(decoded.given), `"${/(\w+)"$/.exec(it)?.[1]}"`);
  });
}

function thrown(work: () => unknown): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}
