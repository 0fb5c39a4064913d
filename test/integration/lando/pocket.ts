/**
 * Lando's example on the pocket, and jobs of Bespin that run there.
 *
 * The failure this prevents: two tests of the same stories that set the stage differently.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { projectOf, STEP_TYPES, type StepType } from "../../harness/lando/bespin.ts";
import { type Levers, localPrograms, LOCAL_IMAGE } from "../../harness/lando/programs.ts";
import { DEFINITIONS, type LandoStage, landoStage, POLICY, type Variant, VARIANTS } from "../../harness/lando/stage.ts";
import { pythonWithPika } from "../../harness/python.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem, type System } from "../../harness/system.ts";

export interface Job {
  readonly id: number;
  readonly variant: Variant;
  readonly levers: Levers;
}

export interface LandoOnPocket extends AsyncDisposable {
  readonly system: System;
  readonly stage: LandoStage;
  /** A new job. */
  job(variant: Variant, image?: string): Job;
  send(job: Job, command: "start" | "restart" | "cancel"): Promise<void>;
  /** Resolves when Bespin was told the last of the job's end. */
  ended(job: Job, state: "F" | "E" | "C"): Promise<void>;
  /** What Bespin was told of the job since the last call. */
  news(job: Job): readonly string[];
}

const ENDS_WITHIN_MS = 480_000;
const LAST = { F: "state F", E: "error", C: "state C" };

/** Bridges run; launcher, watcher and recorder do not yet. */
export async function landoOnPocket(say: (sentence: string) => void): Promise<LandoOnPocket> {
  await using parts = new AsyncDisposableStack();
  const python = await pythonWithPika(say);
  const rabbit = parts.use(await rabbitmq({ version: "4.0", shared: true, say }));
  const launcher = { definitionsDir: DEFINITIONS, defaults: { giveUpAfter: { ImageNotFound: "1s" } } };
  const system = parts.use(await openSystem({ brokerUrl: rabbit.url, policy: POLICY, launcher }));
  await system.site.ask("POST", "persistentvolumeclaims", {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "system-data" },
    spec: { accessModes: ["ReadWriteMany"], resources: { requests: { storage: "1Gi" } } },
  });
  await system.site.ask("POST", "secrets", {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "ddsclient-agent" },
    stringData: { config: "agent_key: none" },
  });
  const stage = parts.use(await landoStage({ brokerUrl: rabbit.url, ledgerUrl: system.postgres.url, python }));
  const { bespin } = stage;
  for (const variant of VARIANTS) await stage.bridge(variant);
  const { server } = system.site.choice.cluster as { readonly server: string };
  const api = {
    pods: `${server}/api/v1/namespaces/${system.site.namespace}/pods/`,
    token: readFileSync(path.join(system.home, "token"), "utf8"),
  };
  const seen = new Map<number, number>();
  let jobs = 0;
  const kept = parts.move();
  return {
    system,
    stage,
    job: (variant, image = LOCAL_IMAGE) => {
      const id = ++jobs;
      const levers = localPrograms(path.join(system.home, `programs-${id}`), api);
      bespin.add({ id, image, commands: levers.commands });
      return { id, variant, levers };
    },
    send: ({ id, variant }, command) => stage.send(variant, { command, job: id }),
    ended: ({ id }, state) =>
      system.until(
        `job ${id} to be told as ${state}, after ${bespin.wordsOf(id).join(", ")}`,
        () => bespin.stateOf(id) === state && bespin.wordsOf(id).at(-1)?.startsWith(LAST[state]) === true,
        ENDS_WITHIN_MS,
      ),
    news: ({ id }) => {
      const words = bespin.wordsOf(id);
      const before = seen.get(id) ?? 0;
      seen.set(id, words.length);
      return words.slice(before);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The letter that Bespin's API has for each step. */
export const LETTER: Record<StepType, string> = {
  stage_data: "S", run_workflow: "R", organize_output: "o", save_output: "O", record_output_project: "P",
}; // biome-ignore format: a table

const told = (steps: readonly StepType[]): readonly string[] => steps.map((it) => `step ${LETTER[it]}`);
export const stepsFrom = (step: StepType): readonly string[] => told(STEP_TYPES.slice(STEP_TYPES.indexOf(step)));
export const stepsTo = (step: StepType): readonly string[] => told(STEP_TYPES.slice(0, STEP_TYPES.indexOf(step) + 1));
export const BEGUN = ["state R", "step V"];
export const done = ({ id }: Pick<Job, "id">): readonly string[] => [`project ${projectOf(id)}`, "step ''", "state F"];
export const failedAt = (step: StepType): readonly string[] => ["state E", `error ${LETTER[step]}`];
export const CANCELLED = ["step ''", "state C"];
/** In lando-message the last step has no Job. */
export const stepsOf = (variant: Variant): readonly StepType[] => (variant === "lando" ? STEP_TYPES : STEP_TYPES.slice(0, -1));
