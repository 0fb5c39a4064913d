import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import t from "tap";
import { asksTheSame } from "./asks-the-same.ts";

const kept = {
  record: { run: { plan: { definition: { name: "export" } } } } as unknown as RunRecord,
  request: { parameters: { month: "2026-10", format: "csv", only: { b: 1, a: 2 } } } as unknown as RunRequest,
};

for (const [name, definition, parameters, want] of [
  ["the same values", "export", { month: "2026-10", format: "csv" }, true],
  ["without those that had their default", "export", { month: "2026-10" }, true],
  ["the same object in another order", "export", { only: { a: 2, b: 1 } }, true],
  ["another value", "export", { month: "2026-11" }, false],
  ["one value more", "export", { month: "2026-10", dry: true }, false],
  ["a number for a text", "export", { month: 202610 }, false],
  ["another job", "import", { month: "2026-10" }, false],
] as const)
  t.test(`${name}: ${want ? "the same run" : "another"}`, async (t) =>
    t.equal(asksTheSame(kept, { definition, parameters }), want),
  );
