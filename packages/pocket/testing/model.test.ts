/** The pocket's model passes the suite that a real cluster passes, with delays like a real cluster's, in virtual time. */
import { clusterConformance, COMMANDS } from "@longshore/kubernetes/testing/conformance.ts";
import { virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import type { Transport as Port } from "@longshore/kubernetes/transport.ts";
import t from "tap";
import type { Transport } from "../api.ts";
import { LEAST_DELAYS, type ModelDelays, REAL_DELAYS } from "./delays.ts";
import { createModel } from "./model.ts";
import { environmentOf, wordsOf } from "../pods/command.ts";
import type { PodObject } from "../objects.ts";
import { type PodScript, scriptedPods } from "./scripted.ts";

/** The behaviour of the suite's commands, without processes. */
function script(pod: PodObject): PodScript {
  const [container] = pod.spec.containers;
  const pulled =
    container?.image.includes(".invalid") === true ? { waits: { reason: "ErrImagePull", message: "not found" } } : undefined;
  if (pulled !== undefined) return pulled;
  const command = JSON.stringify(container?.command);
  if (command === JSON.stringify(COMMANDS.succeed)) return { runsMs: 5, log: "done\n" };
  if (command === JSON.stringify(COMMANDS.fail)) return { runsMs: 5, exitCode: 3, log: "sorry\n" };
  if (command === JSON.stringify(COMMANDS.outlast(4))) return { runsMs: 4_000, log: "running\n" };
  if (command === JSON.stringify(COMMANDS.lastWords))
    return { log: "running\nlast words\n", onStop: { kind: "ends", afterMs: 2_000, exitCode: 1 } };
  const job = pod.metadata.labels?.["batch.kubernetes.io/job-name"];
  if (job === "expands") return { runsMs: 5, log: expanded(pod) };
  if (job === "reads") return { runsMs: 5, log: itemsAndIndex(pod) };
  return ofIndex(pod) ?? { log: "running\n" };
}

/** Does as the branch of the suite's `case $JOB_COMPLETION_INDEX in` says. */
function ofIndex(pod: PodObject): PodScript | undefined {
  const index = pod.metadata.annotations?.["batch.kubernetes.io/job-completion-index"];
  const [, branches = ""] = /^case \$JOB_COMPLETION_INDEX in (.*) esac$/.exec(pod.spec.containers[0]?.command?.[2] ?? "") ?? [];
  const all = [...branches.matchAll(/(\S+)\) (?:exec )?(exit|sleep) (\d+);;/g)];
  const [, , word, number] = all.find(([, of]) => of === index) ?? all.find(([, of]) => of === "*") ?? [];
  if (word === "exit") return { runsMs: 5, exitCode: Number(number) };
  return word === "sleep" ? { runsMs: Number(number) * 1_000 } : undefined;
}

function itemsAndIndex(pod: PodObject): string {
  const { SLICE, JOB_COMPLETION_INDEX: index } = variablesOf(pod);
  return `${pod.metadata.annotations?.["example.org/items"]} ${SLICE} ${index}\n`;
}

function variablesOf(pod: PodObject): Readonly<Record<string, string>> {
  const [container] = pod.spec.containers;
  const environment = container && environmentOf(pod, container, () => undefined);
  if (environment === undefined || !("values" in environment)) throw new TypeError("no container");
  return environment.values;
}

/** Prints as the suite's shell does: its arguments, then the variables E0, E1 and so on. */
function expanded(pod: PodObject): string {
  const [container] = pod.spec.containers;
  if (container === undefined) throw new TypeError("no container");
  const values = variablesOf(pod);
  const variables = Object.entries(values).flatMap(([name, value]) => (/^E\d+$/.test(name) ? [value] : []));
  return `${[...wordsOf(container, values, "/dev/null").slice(4), ...variables].join("\n")}\n`;
}

/** A generator of 32 bits: the same names and delays in every run. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

async function conforms(name: string, delays: ModelDelays, seed: number, emptying?: "all at once"): Promise<void> {
  await clusterConformance(t, {
    name,
    pods: "processes",
    image: "busybox",
    open: async () => {
      const clock = virtualClock({ random: chance(seed) });
      const kubelet = scriptedPods(clock, script);
      const model = createModel({
        clock,
        kubelet,
        delays,
        namespaces: ["conformance", "kube-system"],
        ...(emptying === undefined ? {} : { emptying }),
      });
      // The port is declared twice, and both declarations must stay the same shape.
      const transport: Transport & Port = model.transport();
      return {
        transport,
        namespace: "conformance",
        confined: model.transport({ user: "confined", namespaces: ["conformance"] }),
        expire: async () => model.meddle({ kind: "compact" }),
        [Symbol.asyncDispose]: async () => {
          await model[Symbol.asyncDispose]();
          await kubelet[Symbol.asyncDispose]();
        },
      };
    },
  });
}

await conforms("the model", LEAST_DELAYS, 1);
for (const seed of [2, 3, 4]) await conforms(`the model with a real cluster's delays, seed ${seed}`, REAL_DELAYS, seed);
await conforms("the model of a cluster before 1.33", REAL_DELAYS, 5, "all at once");
