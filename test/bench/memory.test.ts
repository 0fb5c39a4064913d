/** The bench of memory plays all its phases, with real parts, and finds figures in each. No test measures how much they are. */
// runs with integration
// needs rabbitmq
import t from "tap";
import { memory } from "./memory.ts";
import type { MemoryUse } from "./parts/process-memory.ts";

t.setTimeout(0); // each wait of the bench has its own bound

await t.test("every phase has figures of both programs, and progress is told", async (t) => {
  const said: string[] = [];
  const { phases } = (await memory({ jobs: [10], profile: undefined, settleMs: 0, say: (it) => said.push(it) })) as Figures;
  const names = ["start", "10 waiting, 0 live", "10 live", "10 end and are removed", "at rest"];
  t.same(Object.keys(phases), names);
  for (const [name, { launcher, watcher }] of Object.entries(phases)) {
    for (const { peakMb, rssMb, heapMb } of [launcher, watcher]) t.ok(peakMb >= rssMb && rssMb > heapMb && heapMb > 0, name);
    t.match(said.join("\n"), `${name}: launcher peakMb`);
  }
});

interface Figures {
  readonly phases: Readonly<Record<string, Readonly<Record<"launcher" | "watcher", MemoryUse>>>>;
}
