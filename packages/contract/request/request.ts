/**
 * The request of a run: the short form for one step, or `steps` for a pipeline, and the fields that both forms have.
 *
 * Unknown fields are refused: a run with a misspelt `deadine` would otherwise run for ever.
 */
import { z } from "zod";
import {
  container, imageOr, objectName, renderedContainer, ScratchPath, SecretKey, SecretName, table, text,
} from "./container.ts"; // biome-ignore format: a list of names
import { GroupName, StepName } from "../ids.ts";
import { orExpression, orTemplate } from "../expressions/template.ts";
import { Bytes, Duration } from "../units.ts";
import { Files, type RenderedFile } from "./files.ts";
import { SecretValues } from "./secret-values.ts";
import { RenderedSlices, Slices } from "./slices.ts";
import { KeepVolumesFor, Mount, renderedVolume, requestedVolume } from "./volumes.ts";

/** As in Kubernetes: an optional DNS name and "/", then at most 63 characters. */
const labelName = z
  .string()
  .regex(
    /^((?=.{1,253}\/)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
    "A label's or annotation's name is [prefix/]name, such as example.org/team; the name has at most 63 characters: letters, digits, - _ .",
  )
  .regex(
    /^(?!([^/]*\.)?(longshore\.dev|kubernetes\.io|k8s\.io)\/)/,
    "The prefixes longshore.dev, kubernetes.io and k8s.io are reserved.",
  );
/** Excludes the two labels that the Job controller writes on its pods: the API server refuses a Job that brings its own. */
const ownLabelName = labelName.regex(
  /^(?!(job-name|controller-uid)$)/,
  "Kubernetes writes the labels job-name and controller-uid itself; choose another name, such as example.org/job-name.",
);
const labelValue = z
  .string()
  .regex(
    /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/,
    "A label's value has at most 63 characters: letters, digits, - _ . with a letter or digit at both ends.",
  );

const secretFolder = text(4096)
  .regex(/^\/[^:]*[^:/]$/, 'A folder is an absolute path without ":" and without "/" at its end.')
  .describe("The folder that has a file for each of its keys.");
const Secrets = z
  .array(
    z.union([
      z.strictObject({ name: SecretName.describe("The Secret's name, in the group's namespace."), mount: secretFolder }),
      z.strictObject({
        values: z.array(SecretKey).min(1).max(100).describe("Names of the run's own `secretValues`: each is a file there."),
        mount: secretFolder,
      }),
    ]),
  )
  .max(50);

const ServiceAccount = z.strictObject({
  name: objectName("A service account")
    .describe("The account's name, in the group's namespace. Without it, `default`.")
    .optional(),
  token: z
    .boolean()
    .describe("`true`: the program finds the account's token in its usual folder. Without it, no pod has a token.")
    .optional(),
});

/** `otherwise` is what the domain takes without the field, if the launcher's setting `defaults` says nothing else. */
const limit = (otherwise: string, description: string) => Duration.meta({ description, default: otherwise }).optional();

/** The container of a step has this name. */
const MAIN_CONTAINER = "main";
const InitName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/, "A name is a lower-case DNS label with at most 30 characters.")
  .refine((name) => name !== MAIN_CONTAINER, "The step's own container is called main.");
const SCRATCH_MAX = 20;
const INIT_MAX = 20;

const outputKey = z.string().min(1).max(128);
const OutputKeys = z.array(outputKey).max(100);
/** The size and the number of annotation outputs: a fact carries them all. */
export const ANNOTATION_OUTPUTS_MAX = 16;
const Outputs = z.union([
  OutputKeys,
  z.strictObject({
    message: OutputKeys.describe("Keys of the JSON object in `/dev/termination-log`.").optional(),
    annotations: z
      .array(labelName)
      .max(ANNOTATION_OUTPUTS_MAX)
      .describe("Annotations that the program writes on its own pod, each of at most 4 KiB.")
      .optional(),
  }),
]);

/** The fields of one step: the short form has them beside the common fields. */
const shortForm = {
  ...container,
  slices: Slices.describe(
    "Many pods for one step, each with its index, in place of one: `{count | over, parallelism, retriesPerSlice, failedMax}`.",
  ).optional(),
  init: z
    .array(z.strictObject({ name: InitName, ...container }))
    .max(INIT_MAX)
    .describe(
      "Containers that run first in the same pod, one after the other: each with a `name` and the fields of a container (`image`, `command`, `args`, `env`, `resources`, `workingDir`). If one fails, the step's program does not start.",
    )
    .optional(),
  scratch: z
    .array(z.strictObject({ path: orTemplate(ScratchPath), size: orTemplate(Bytes) }))
    .max(SCRATCH_MAX)
    .describe(
      "Empty folders that live as long as the pod, each with its `path` and `size`. All of the pod's containers see them; a pod that writes more is evicted.",
    )
    .optional(),
  files: Files.describe(
    "Files with a content from the request: each `{path, text}` or `{path, json}`, in which expressions may stand. A `json` that is one expression keeps the type of its value. All of the pod's containers see them, and none may write them.",
  ).optional(),
  secrets: Secrets.describe(
    "Secrets as files: each `{name, mount}`, a Secret of the group's namespace, or `{values, mount}`, some of the run's own `secretValues`. The group's policy must allow them, as those of `env`.",
  ).optional(),
  serviceAccount: ServiceAccount.describe(
    "The account with which the program speaks to the cluster's API. The group's policy must allow the account, and its token.",
  ).optional(),
  grace: Duration.describe(
    "How long the program may take to stop after SIGTERM, before it is killed. Without it, Kubernetes' 30 s. The `grace` of `run.cancel` goes before it.",
  ).optional(),
  mounts: z
    .array(Mount)
    .max(50)
    .describe("Where the program finds volumes of the run: each `{volume, path, readOnly}`. Each volume at most once.")
    .optional(),
  outputs: Outputs.meta({
    title: "list of texts, or object",
    description:
      "The keys that the JSON object in `/dev/termination-log` must have, or `{message: […], annotations: […]}`: `annotations` are read from the pod. Without one of them the step fails (`OutputsLost`), and so it does with other text (`OutputsInvalid`) or more than 4 KiB (`OutputsTooLarge`). Without this field, such text is no output, and the step's end says so (`outputsIgnored`).",
  }).optional(),
};

export const RetryCause = z.enum(["never-started", "infrastructure", "failure"]);
export type RetryCause = z.infer<typeof RetryCause>;

const Retries = z.strictObject({
  max: z.int().min(0).max(20).meta({ description: "How often a step is tried again.", default: 2 }).optional(),
  on: z
    .array(RetryCause)
    .max(3)
    .meta({
      description:
        "What is tried again: `never-started` (nothing ran), `infrastructure` (node or cluster took it away), `failure` (the program failed by itself). A program that fails is tried again only if `failure` is named.",
      default: ["never-started"],
    })
    .optional(),
  backoff: z
    .strictObject({
      first: limit("10s", "The wait before the first retry. It doubles with each."),
      most: limit("5m", "The longest wait between two tries."),
    })
    .optional(),
});

const Labels = table(ownLabelName, orTemplate(labelValue), 50);
const Annotations = table(labelName, text(4096), 50);

/** Fields of a step that go before the run's field of the same name. */
const ownOfStep = {
  labels: Labels.meta({ description: "Labels of this step's Jobs and pods, beside the run's." }).optional(),
  annotations: Annotations.meta({ description: "Annotations of this step's Jobs and pods, beside the run's." }).optional(),
  startWithin: Duration.describe("How long this step's Job may take until its container runs. Without it, the run's.").optional(),
  deadline: Duration.describe("How long this step's program may run. Without it, the run's.").optional(),
  retries: Retries.describe("When this step is tried again. What it leaves out is as the run says.").optional(),
};

export const StepRequest = z.strictObject({
  name: StepName.describe("What the step is called in events, labels and `needs`."),
  needs: z.array(StepName).max(100).describe("The steps that must have ended before this one.").optional(),
  when: z
    .enum(["success", "failure", "always"])
    .meta({
      description:
        "Whether the step runs: if all that it needs succeeded, if any of it failed, or in any case. Else it is skipped.",
      default: "success",
    })
    .optional(),
  if: orExpression(z.boolean(), "true or false")
    .meta({
      description:
        "Whether the step runs, once its `needs` have ended: true or false, or one expression with such a value; null is false. Skipped in this way it counts as succeeded, and its outputs are null.",
      default: true,
    })
    .optional(),
  ...shortForm,
  ...ownOfStep,
});
export type StepRequest = z.infer<typeof StepRequest>;

const ConcurrencyLimit = {
  limit: z
    .int()
    .min(1)
    .max(10_000)
    .meta({
      description: "How many runs with the key may go on at the same time, from the first placement of each to its end.",
      default: 1,
    })
    .optional(),
  then: z
    .enum(["queue", "refuse"])
    .meta({
      description:
        "What becomes of one run more: it waits in line (`queue`), or it is refused (`refuse`). A restart always waits in line.",
      default: "queue",
    })
    .optional(),
};
export const CONCURRENCY_KEY_MAX = 200;
const ConcurrencyKey = orTemplate(text(CONCURRENCY_KEY_MAX).min(1, "A key has at least one character."));

/** In a request. */
const Concurrency = z.strictObject({
  key: ConcurrencyKey.describe("Runs with the same key share the limit. Each run's own `limit` counts for it."),
  ...ConcurrencyLimit,
});
/** In a definition, whose runs have a key without saying so. */
export const DefinedConcurrency = z.strictObject({
  key: ConcurrencyKey.describe("Runs with the same key share the limit. Without it, the definition's name.").optional(),
  ...ConcurrencyLimit,
});

/** Fields of both forms. Defaults are not filled in here: the digest is taken of the request as received. */
const common = {
  parameters: z
    .record(z.string().min(1).max(128), z.unknown())
    .describe("Values for the expressions `${{ parameters.NAME }}`: any JSON.")
    .optional(),
  groups: z
    .array(GroupName)
    .min(1)
    .max(50)
    .describe("The groups that may take it, the preferred one first. Without it, each group may.")
    .optional(),
  labels: Labels.meta({ description: "Labels of its Jobs and pods." }).optional(),
  annotations: Annotations.meta({ description: "Annotations of its Jobs and pods." }).optional(),
  priority: z
    .int()
    .min(-1000)
    .max(1000)
    .meta({ description: "Of the runs that wait for a group, the highest goes first.", default: 0 })
    .optional(),
  notBefore: z.iso
    .datetime({ offset: true })
    // A text that is no date passes this check: it is refused as no date, not as too late.
    .refine((at) => !(new Date(at).getUTCFullYear() > 2100), {
      error: "A date is not later than the year 2100.",
      params: { code: "OutOfRange" },
    })
    .describe("It waits until then.")
    .optional(),
  concurrency: Concurrency.optional(),
  waitFor: limit("24h", "How long it may wait for a group that takes it, and for room there. Then it fails with `WaitExpired`."),
  startWithin: limit("15m", "How long a Job may take until its container runs. Then it fails with `StartExpired`."),
  deadline: limit("6h", "How long a step's program may run. Then it is ended, with `DeadlineExceeded`."),
  retries: Retries.optional(),
  keepFor: z
    .strictObject({
      succeeded: limit("1h", "How long the Job of a step that succeeded stays in the cluster, to be looked at."),
      failed: limit("24h", "The same for a step that did not succeed."),
    })
    .optional(),
  volumes: z
    .array(requestedVolume(Labels))
    .min(1)
    .max(50)
    .describe(
      "The volumes that its steps may mount: each is made for the run, `{name, size, class, access, labels}`, for each pod, `{name, size, class, life: step}`, or there already, `{name, claim}`. A size is a quantity, or `{gib, plusGib}` with whole numbers, which are added. A run with volumes of its own stays in one group.",
    )
    .optional(),
  keepVolumesFor: KeepVolumesFor.optional(),
  secretValues: SecretValues.describe(
    "Secret values by their names, for `env` (`{secretValue}`) and `secrets` (`{values, mount}`) of its steps. They are kept sealed, and no longer than the run's volumes would be: no event, log or command tells them.",
  ).optional(),
};

/** An author who gave neither would otherwise not hear of `steps`. */
const Simple = z.strictObject({
  ...shortForm,
  image: imageOr('"image" is needed, or "steps" for a pipeline.'),
  ...common,
});
/** Not longer than a tenth of an event, however often a step's output stands in it. */
export const RUN_OUTPUT_BYTES_MAX = 64 * 1024;
const RunOutputs = z.record(outputKey, text(4096)).refine((all) => Object.keys(all).length <= 100, {
  error: "At most 100 entries are allowed.",
  params: { code: "OutOfRange" },
});

const Pipeline = z.strictObject({
  outputs: RunOutputs.meta({
    maxProperties: 100,
    description:
      "The outputs of `run.succeeded`, each a text with expressions of steps' outputs; at most 64 KiB. Without it, all outputs of each step, by its name.",
  }).optional(),
  steps: z.array(StepRequest).min(1).max(100).describe("A pipeline, in place of `image` and the fields beside it."),
  ...common,
});

export type SimpleRequest = z.infer<typeof Simple>;
export type PipelineRequest = z.infer<typeof Pipeline>;
export type RunRequest = SimpleRequest | PipelineRequest;
export const forms = { Simple, Pipeline };

/** The fields by which a request for a definition says where, when and how urgently; the definition says all else. */
const { parameters, groups, labels, annotations, priority, notBefore, waitFor, secretValues } = common;
export const ofInvocation = { parameters, groups, labels, annotations, priority, notBefore, waitFor, secretValues };

/** The name of a simple run's only step. */
export const MAIN = StepName.parse("main");

/** Returns the steps of a request of either form. */
export function stepsOf(request: RunRequest): readonly StepRequest[] {
  if ("steps" in request) return request.steps;
  const given = Object.entries(request).filter(([field, value]) => Object.hasOwn(shortForm, field) && value !== undefined);
  return [{ name: MAIN, image: request.image, ...Object.fromEntries(given) }];
}

/** The fields of a step in which expressions may stand, and the run's labels, with their values. */
export const Rendered = z.object({
  ...renderedContainer,
  init: z.array(z.object({ name: InitName, ...renderedContainer })).optional(),
  scratch: z.array(z.object({ path: ScratchPath, size: Bytes })).optional(),
  slices: RenderedSlices.optional(),
  labels: table(ownLabelName, labelValue, 50).optional(),
  annotations: Annotations.optional(),
});
export const RenderedVolumes = z.array(renderedVolume(table(ownLabelName, labelValue, 50)));
/** A step with its values in place, as the manifest takes it. */
export type RenderedStep = Omit<StepRequest, keyof z.infer<typeof Rendered> | "files"> &
  z.infer<typeof Rendered> & { readonly files?: readonly RenderedFile[] };

/** Declared outputs by their source. */
export function declaredOf({ outputs = [] }: Pick<StepRequest, "outputs">): {
  readonly message: readonly string[];
  readonly annotations: readonly string[];
} {
  return Array.isArray(outputs)
    ? { message: outputs, annotations: [] }
    : { message: outputs.message ?? [], annotations: outputs.annotations ?? [] };
}
