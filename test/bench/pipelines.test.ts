/** The bench of pipelines plays its turns on real parts, and finds figures of each. No test measures how much they are. */
// runs with integration
// runs at most 10 min
// needs rabbitmq, kubernetes
import t from "tap";
import { pipelines } from "./pipelines.ts";

t.setTimeout(0); // each wait of the bench has its own bound

await t.test("both kinds of runs are measured beside bare work of the same size, and leave nothing", async (t) => {
  const said: string[] = [];
  const found = (await pipelines({ runs: 2, turns: 1, warmUp: 1, broker: "rabbitmq", profile: undefined, say: (it) => said.push(it) })) as Figures; // biome-ignore format: one call
  t.ok(found.ratio > 0 && found.ratioVolumes > 0);
  // A run of five steps has five Jobs, created and released; with objects an anchor, two claims and a Secret, and the anchor's
  // deletion. A small file is an annotation.
  t.ok(found.writesPerRun.plain >= 10, `${found.writesPerRun.plain} writes`);
  t.ok(found.writesPerRun.volumes >= 15, `${found.writesPerRun.volumes} writes`);
  for (const { bare, pipelines } of [found.plain, found.volumes])
    for (const { cpuMsEach } of [bare, pipelines]) t.ok((cpuMsEach["kube-apiserver"] ?? 0) > 0);
  for (const part of ["launcher", "watcher", "postgres", "rabbitmq", "kube-apiserver", "simulated-kubelet"])
    t.ok((found.memoryMb[part] ?? 0) > 0, `memory of ${part}`);
  t.match(said.join("\n"), /turn 1, plain: .*\n(.*\n)*turn 1, volumes: /);
});

type Numbers = Readonly<Record<string, number>>;

interface Figures {
  readonly plain: Kind;
  readonly volumes: Kind;
  readonly memoryMb: Numbers;
  readonly writesPerRun: { readonly plain: number; readonly volumes: number };
  readonly ratio: number;
  readonly ratioVolumes: number;
}

interface Kind {
  readonly bare: { readonly cpuMsEach: Numbers };
  readonly pipelines: { readonly cpuMsEach: Numbers };
}
