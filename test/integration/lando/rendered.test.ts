/**
 * The Jobs of the example, field by field beside what Lando made of the same job. Each field that Lando set is compared; each that
 * it did not set is named in the example's README.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { bodyOf, judgeDefinition } from "@longshore/contract/request/definition.ts";
import { GroupName, Installation, RunId } from "@longshore/contract/ids.ts";
import { rendered, renderedVolumes } from "@longshore/contract/expressions/rendering.ts";
import { stepsOf } from "@longshore/contract/request/request.ts";
import { type JobManifest, manifest } from "@longshore/domain/pod/manifest.ts";
import { claimManifests } from "@longshore/domain/pod/volumes.ts";
import t from "tap";
import { parse } from "yaml";
import { STEP_TYPES } from "../../harness/lando/bespin.ts";
import { parametersOf } from "../../harness/lando/parameters.ts";
import { DEFINITIONS, type Variant, VARIANTS } from "../../harness/lando/stage.ts";

const commands = Object.fromEntries(STEP_TYPES.map((step) => [step, ["run", step]]));
const parameters = { class: "glusterfs-storage", ...parametersOf(42, { image: "lando.example/util:1", commands }) };
const run = { id: RunId.parse("bespin/42/1042") };
const group = { name: GroupName.parse("lando"), namespace: "lando-job-runner" };
const installation = Installation.parse("bespin");
/** The labels of pods that the workflow makes: the launcher knows them. */
const CHILDREN = { "longshore.dev/parent": "hash", "longshore.dev/parent-step": "run-workflow" };
const anchor = {
  number: 1, name: "anchor", uid: "uid-1", secretName: "secret", claimName: (volume: string) => `the-runs-${volume}`, fileName: () => "file",
}; // biome-ignore format: a row

function definitionOf(variant: Variant) {
  const judged = judgeDefinition(parse(readFileSync(path.join(DEFINITIONS, `${variant}.yaml`), "utf8")));
  if (judged.kind === "invalid") throw new Error(JSON.stringify(judged.problems));
  return bodyOf(judged.value);
}
const valuesOf = (): Parameters<typeof rendered>[2] => ({ run: { id: run.id, childLabels: CHILDREN }, parameters, steps: {} });

function volumesOf(variant: Variant) {
  const result = renderedVolumes(definitionOf(variant).volumes ?? [], valuesOf());
  if (result.kind === "invalid") throw new Error(JSON.stringify(result.problems));
  return result.volumes;
}

/** The Job of each step, by the step's name. */
function jobsOf(variant: Variant): ReadonlyMap<string, JobManifest> {
  const body = definitionOf(variant);
  const volumes = volumesOf(variant);
  return new Map(
    stepsOf(body).map((step) => {
      const result = rendered(step, body, valuesOf());
      if (result.kind === "invalid") throw new Error(JSON.stringify(result.problems));
      const made = manifest({
        installation, group, anchor, volumes, run: { ...run, labels: result.labels, annotations: result.annotations }, step: result.step,
        attempt: 1, generation: 1, epoch: 1, name: step.name, hashOfRun: "hash", proof: "proof", limits: { waitForMs: 1, startWithinMs: 1, deadlineMs: 1 },
      }); // biome-ignore format: a row
      return [step.name, made];
    }),
  );
}

/** What Lando set of a step's Job. */
interface Step {
  readonly image: string;
  readonly words: readonly string[];
  readonly env: object;
  readonly workingDir: string | undefined;
  readonly requests: object;
  readonly restartPolicy: string;
  readonly account: string | undefined;
  readonly labels: object;
  /** By the path: claim and "ro" or "rw", a Secret, or the content of a file. */
  readonly mounts: Readonly<Record<string, unknown>>;
}

const OURS = /^longshore\.dev\/|^app\.kubernetes\.io\/managed-by$/;

function seenOf(job: JobManifest): Step {
  const { metadata, spec } = job.spec.template;
  const [container] = spec.containers;
  if (container === undefined) throw new Error("the pod has a container");
  const { annotations } = metadata;
  const mounts = (container.volumeMounts ?? []).map(({ name, mountPath, subPath, readOnly }) => {
    const volume: object = spec.volumes?.find((it) => it.name === name) ?? {};
    if ("secret" in volume) return [mountPath, (volume.secret as { readonly secretName: string }).secretName];
    if ("persistentVolumeClaim" in volume) {
      const { claimName, readOnly: atClaim } = volume.persistentVolumeClaim as {
        readonly claimName: string;
        readonly readOnly?: true;
      };
      t.equal(atClaim, readOnly, `${mountPath} says at the claim and at the mount who may write`);
      return [mountPath, `${claimName} ${readOnly === true ? "ro" : "rw"}`];
    }
    return [mountPath, JSON.parse(annotations[`longshore.dev/file-${subPath}`] ?? "null")];
  });
  const env = (container.env ?? []).map(
    ({ name, ...value }) => [name, "value" in value ? value.value : value.valueFrom] as const,
  );
  return {
    image: container.image,
    words: [...(container.command ?? []), ...(container.args ?? [])],
    env: Object.fromEntries(env.filter(([name]) => !name.startsWith("LONGSHORE_"))),
    workingDir: container.workingDir,
    requests: container.resources?.requests ?? {},
    restartPolicy: spec.restartPolicy,
    account: spec.serviceAccountName,
    labels: Object.fromEntries(Object.entries(metadata.labels).filter(([name]) => !OURS.test(name))),
    mounts: Object.fromEntries(mounts) as Step["mounts"],
  };
}

const [JOB_DATA, OUTPUT_DATA] = ["/bespin/job-data", "/bespin/output-data"];
const field = (fieldPath: string) => ({ fieldRef: { fieldPath } });
const lando = (type: string, of: Pick<Step, "words" | "mounts"> & Partial<Step>): Step => ({
  image: "lando.example/util:1",
  env: {},
  workingDir: undefined,
  requests: { cpu: "1", memory: "64Mi" },
  restartPolicy: "Never",
  account: undefined,
  labels: { "bespin-job": "true", "bespin-job-id": "42", "bespin-job-step": type },
  ...of,
});
const DDSCLIENT = { env: { DDSCLIENT_CONF: "/etc/ddsclient/config" }, mounts: { "/etc/ddsclient": "ddsclient-agent" } };
const job = (how: "ro" | "rw") => ({ [JOB_DATA]: `the-runs-job-data ${how}` });
const output = (how: "ro" | "rw") => ({ [OUTPUT_DATA]: `the-runs-output-data ${how}` });

/** As Lando's sources say. */
const LANDO: Readonly<Record<string, Step>> = {
  "stage-data": lando("stage_data", {
    words: ["run", "stage_data", "/bespin/config/stagedata.json", `${JOB_DATA}/workflow-input-files-metadata.json`],
    env: DDSCLIENT.env,
    mounts: { ...job("rw"), ...DDSCLIENT.mounts, "/bespin/config/stagedata.json": parameters.stage },
  }),
  "run-workflow": lando("run_workflow", {
    words: [
      "run", "run_workflow", "--cachedir", `${OUTPUT_DATA}/tmpout/`, "--outdir", `${OUTPUT_DATA}/results/`, "--max-ram", "4Gi",
      "--max-cores", "2", "--usage-report", `${OUTPUT_DATA}/job-42-Ada_L-resource-usage.json`,
      "--stdout", `${OUTPUT_DATA}/bespin-workflow-output.json`, "--stderr", `${OUTPUT_DATA}/bespin-workflow-output.log`,
      `${JOB_DATA}/workflow/exome/main.cwl`, `${JOB_DATA}/job-order.json`,
    ], // biome-ignore format: options and their values
    env: { CALRISSIAN_POD_NAME: field("metadata.name") },
    mounts: { ...job("ro"), ...output("rw"), "/bespin/system": "system-data ro" },
  }),
  "organize-output": lando("organize_output", {
    words: ["run", "organize_output", "/bespin/config/organizeoutput.json"],
    mounts: { ...job("ro"), ...output("rw"), "/bespin/config/organizeoutput.json": parameters.organize },
  }),
  "save-output": lando("save_output", {
    words: ["run", "save_output", "/bespin/config/saveoutput.json", `${OUTPUT_DATA}/annotate_project_details.sh`],
    workingDir: `${OUTPUT_DATA}/results`,
    env: DDSCLIENT.env,
    mounts: { ...job("ro"), ...output("rw"), ...DDSCLIENT.mounts, "/bespin/config/saveoutput.json": parameters.save },
  }),
  "record-output": lando("record_output_project", {
    words: ["sh", `${OUTPUT_DATA}/annotate_project_details.sh`],
    workingDir: `${OUTPUT_DATA}/results`,
    env: { MY_POD_NAME: field("metadata.name") },
    account: "annotator",
    mounts: output("ro"),
  }),
};

/** Calrissian labels its pods as it is told, so that none of them is left. */
const WITH_LABELS: Partial<Step> = {
  account: "workflow",
  words: LANDO["run-workflow"]?.words.toSpliced(-2, 0, "--pod-labels", "/bespin/config/pod-labels.json") ?? [],
  mounts: { "/bespin/config/pod-labels.json": CHILDREN },
};

/** What is meant to differ from Lando, in fields that Lando set. README.md has the reasons. */
const DIFFERS: Readonly<Record<Variant, Readonly<Record<string, Partial<Step>>>>> = {
  lando: { "run-workflow": WITH_LABELS },
  "lando-message": {
    "run-workflow": WITH_LABELS,
    "save-output": {
      words: ["run", "save_output", "/bespin/config/saveoutput.json", "/dev/termination-log", "--outfile-format", "json"],
    },
  },
};

for (const variant of VARIANTS)
  await t.test(`${variant}: each Job has what Lando's had`, async (t) => {
    const jobs = jobsOf(variant);
    t.same([...jobs.keys()], Object.keys(LANDO).slice(0, variant === "lando" ? 5 : 4));
    for (const [name, made] of jobs) {
      const { mounts = {}, ...others } = DIFFERS[variant][name] ?? {};
      const wanted = LANDO[name];
      t.same(seenOf(made), { ...wanted, ...others, mounts: { ...wanted?.mounts, ...mounts } }, name);
    }
  });

const names = (of: object, lando: readonly string[]): readonly string[] => Object.keys(of).filter((it) => !lando.includes(it));

await t.test("each field that Lando did not set is one that the README names", async (t) => {
  for (const { metadata, spec } of jobsOf("lando").values()) {
    const pod = spec.template.spec;
    const beyond = [
      ...names(metadata, ["name", "namespace", "labels"]),
      ...names(spec, ["template"]),
      ...names(pod, ["containers", "volumes", "restartPolicy", "serviceAccountName"]),
      ...pod.containers.flatMap((it) =>
        names(it, ["name", "image", "workingDir", "command", "args", "resources", "env", "volumeMounts"]),
      ),
    ];
    t.same(beyond, [
      "annotations", "finalizers", "ownerReferences", "parallelism", "completions", "backoffLimit", "podReplacementPolicy", "activeDeadlineSeconds",
      "automountServiceAccountToken", "enableServiceLinks", "securityContext", "terminationMessagePolicy", "securityContext",
    ]); // biome-ignore format: a list
    const { serviceAccountName, automountServiceAccountToken } = pod;
    t.equal(automountServiceAccountToken, serviceAccountName !== undefined, "only a step that asks for one has a token");
  }
});

await t.test("the claims are those of Lando", async (t) => {
  const labels = { "bespin-job": "true", "bespin-job-id": "42" };
  const input = { installation, group, run: { ...run, labels }, hashOfRun: "hash", number: 1, name: "anchor" };
  const claims = claimManifests(input, anchor, volumesOf("lando")).map(({ metadata, spec }) => ({
    name: metadata.name,
    labels: Object.fromEntries(Object.entries(metadata.labels).filter(([name]) => !OURS.test(name))),
    spec,
  }));
  const claim = (name: string, storage: string) => ({
    name: `the-runs-${name}`,
    labels,
    spec: { accessModes: ["ReadWriteMany"], resources: { requests: { storage } }, storageClassName: "glusterfs-storage" },
  });
  t.same(claims, [claim("job-data", "5Gi"), claim("output-data", "20Gi")]);
});
