/**
 * The request of a run: the short form for one step, or `steps` for a pipeline, and the fields that both forms have.
 *
 * Unknown fields are refused: a run with a misspelt `deadine` would otherwise run for ever.
 */
import { z } from "zod";
import { GroupName, StepName } from "./ids.ts";
import { Duration, Quantity, quantity } from "./units.ts";
import { KeepVolumesFor, Mount, volumeOf, volumeProblems } from "./volumes.ts";

const text = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[^\0]*$/, "A NUL character cannot be passed to a program.");

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

/** The limit is repeated in `meta`, since a JSON Schema cannot see into a refinement. */
const table = <T extends z.ZodType>(name: z.ZodString, values: T, most: number) =>
  z
    .record(name, values)
    .refine((all) => Object.keys(all).length <= most, {
      error: `At most ${most} entries are allowed.`,
      params: { code: "OutOfRange" },
    })
    .meta({ maxProperties: most });

const EnvName = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/,
    "An environment variable's name is letters, digits, _ . - and does not start with a digit.",
  );
const EnvField = z.strictObject({
  field: z.enum(["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP", "status.hostIP"]),
});

/** The name of an object in the group's namespace. */
const objectName = (what: string) =>
  z
    .string()
    .regex(
      /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
      `${what} has a name of lower-case letters, digits, "-" and ".", at most 253 characters.`,
    );
const SecretName = objectName("A Secret");
const EnvSecret = z.strictObject({
  secret: SecretName,
  key: z.string().regex(/^[-._A-Za-z0-9]{1,253}$/, "A Secret's key is letters, digits, - _ and ."),
});

/** Each value is a text, a field that only the cluster knows, or a key of a Secret that only the pod sees. */
const Env = table(EnvName, z.union([text(32_768), EnvField, EnvSecret]), 1000);

const Secrets = z
  .array(
    z.strictObject({
      name: SecretName.describe("The Secret's name, in the group's namespace."),
      mount: text(4096)
        .regex(/^\/[^:]*[^:/]$/, 'A folder is an absolute path without ":" and without "/" at its end.')
        .describe("The folder that has a file for each of its keys."),
    }),
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

const Amounts = z.strictObject({
  cpu: Quantity.optional(),
  memory: Quantity.optional(),
  "ephemeral-storage": Quantity.optional(),
});
const Resources = z.strictObject({
  limits: Amounts.describe("At most this much: `cpu`, `memory`, `ephemeral-storage`. Above its memory it is killed.").optional(),
  requests: Amounts.describe("A node must have this much free. Without it, as much as the limit says.").optional(),
});

/** `missing` is said instead of the usual sentence if there is no image. */
const image = (missing?: string) =>
  z
    .string({ error: ({ input }) => (input === undefined ? missing : undefined) })
    .min(1, 'An image is needed, such as "registry.example/app:1.4".')
    .max(512)
    .regex(/^[^\s\0]*$/, "An image's name holds no spaces.")
    .describe("What to run.");

/** `otherwise` is what the domain takes without the field, if the launcher's setting `defaults` says nothing else. */
const limit = (otherwise: string, description: string) => Duration.meta({ description, default: otherwise }).optional();

/** The fields of one container: a step has them, and the short form has them beside the common fields. */
const shortForm = {
  image: image(),
  command: z
    .array(text(131_072))
    .max(1000)
    .describe(
      "The program and its words, in place of the image's entrypoint. As in Kubernetes, `$(NAME)` becomes the variable's value, if there is such a variable, and `$$` one `$`.",
    )
    .optional(),
  args: z
    .array(text(131_072))
    .max(1000)
    .describe("The program's arguments, in place of the image's. `$(NAME)` and `$$` are replaced as in `command`.")
    .optional(),
  env: Env.meta({
    description:
      'Environment variables by their names: a text, which is kept in clear; `{"field": "spec.nodeName"}`, which the cluster fills in; or `{"secret": "db", "key": "password"}`, a key of a Secret in the namespace of the group, which only the pod sees.',
  }).optional(),
  resources: Resources.optional(),
  secrets: Secrets.describe(
    "Secrets of the group's namespace as files. The group's policy must allow them, as those of `env`.",
  ).optional(),
  serviceAccount: ServiceAccount.describe(
    "The account with which the program speaks to the cluster's API. The group's policy must allow the account, and its token.",
  ).optional(),
  workingDir: text(4096)
    .regex(/^\//, "A working directory is an absolute path.")
    .describe("The folder in which the program starts. Without it, the image's.")
    .optional(),
  grace: Duration.describe(
    "How long the program may take to stop after SIGTERM, before it is killed. Without it, Kubernetes' 30 s. The `grace` of `run.cancel` goes before it.",
  ).optional(),
  mounts: z
    .array(Mount)
    .max(50)
    .describe("Where the program finds volumes of the run: each `{volume, path, readOnly}`. Each volume at most once.")
    .optional(),
  outputs: z
    .array(z.string().min(1).max(128))
    .max(100)
    .describe(
      "The keys that the JSON object in `/dev/termination-log` must have. Without one of them the step fails (`OutputsLost`), and so it does with other text (`OutputsInvalid`) or more than 4 KiB (`OutputsTooLarge`). Without this field, such text is no output, and the step's end says so (`outputsIgnored`).",
    )
    .optional(),
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

const Labels = table(ownLabelName, labelValue, 50);
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
  ...shortForm,
  ...ownOfStep,
});
export type StepRequest = z.infer<typeof StepRequest>;

/** Fields of both forms. Defaults are not filled in here: the digest is taken of the request as received. */
const common = {
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
    .array(volumeOf(Labels))
    .min(1)
    .max(50)
    .describe(
      "The volumes that its steps may mount: each is made for the run, `{name, size, class, access, labels}`, for each pod, `{name, size, class, life: step}`, or there already, `{name, claim}`. A run with volumes of its own stays in one group.",
    )
    .optional(),
  keepVolumesFor: KeepVolumesFor.optional(),
};

/** An author who gave neither would otherwise not hear of `steps`. */
const Simple = z.strictObject({
  ...shortForm,
  image: image('"image" is needed, or "steps" for a pipeline.'),
  ...common,
});
const Pipeline = z.strictObject({
  steps: z.array(StepRequest).min(1).max(100).describe("A pipeline, in place of `image` and the fields beside it."),
  ...common,
});

export type SimpleRequest = z.infer<typeof Simple>;
export type PipelineRequest = z.infer<typeof Pipeline>;
export type RunRequest = SimpleRequest | PipelineRequest;
export const forms = { Simple, Pipeline };

/** The name of a simple run's only step. */
export const MAIN = StepName.parse("main");

/** Returns the steps of a request of either form. */
export function stepsOf(request: RunRequest): readonly StepRequest[] {
  if ("steps" in request) return request.steps;
  const given = Object.entries(request).filter(([field, value]) => Object.hasOwn(shortForm, field) && value !== undefined);
  return [{ name: MAIN, image: request.image, ...Object.fromEntries(given) }];
}

/** Finds problems that no schema can express: names used twice, needs that name nothing, circles, requests above limits. */
export function requestProblems(request: RunRequest): readonly (readonly [path: string, message: string])[] {
  const ofSteps = stepsOf(request).flatMap((step, at) => {
    const path = "steps" in request ? `/steps/${at}` : "";
    return [...exceeding(step, path), ...mountedTwice(step, path)];
  });
  const inPlan = pipelineProblems(request);
  return [...inPlan, ...ofSteps, ...(inPlan.length > 0 ? [] : mountProblems(request))];
}

function mountedTwice({ secrets = [] }: StepRequest, at: string): readonly (readonly [string, string])[] {
  const folders = secrets.map(({ mount }) => mount);
  return folders.flatMap((folder, which) =>
    folders.indexOf(folder) < which
      ? [[`${at}/secrets/${which}/mount`, `Something else is mounted at "${folder}" already.`] as const]
      : [],
  );
}

/** Which steps may run at the same time is known only of a sound pipeline. */
const mountProblems = (request: RunRequest): ReturnType<typeof volumeProblems> =>
  volumeProblems(
    request.volumes ?? [],
    stepsOf(request).map((step, at) => ({ ...step, at: "steps" in request ? `/steps/${at}` : "" })),
  );

/** The cluster would refuse such a request too, but only after the run has waited to be placed. */
function exceeding({ resources }: StepRequest, at: string): readonly (readonly [string, string])[] {
  return (["cpu", "memory", "ephemeral-storage"] as const).flatMap((name) => {
    const requested = quantity(resources?.requests?.[name] ?? "");
    const limit = quantity(resources?.limits?.[name] ?? "");
    if (requested === undefined || limit === undefined || requested <= limit) return [];
    return [[`${at}/resources/requests/${name}`, "A request is not above its limit."] as const];
  });
}

export function pipelineProblems(request: RunRequest): readonly (readonly [path: string, message: string])[] {
  if (!("steps" in request)) return [];
  const names = request.steps.map(({ name }) => name);
  const twice = request.steps.flatMap(({ name }, at) =>
    names.indexOf(name) < at ? [[`/steps/${at}/name`, `The step "${name}" is there twice.`] as const] : [],
  );
  const unknown = request.steps.flatMap(({ needs = [] }, at) =>
    needs.flatMap((need, which) =>
      names.includes(need) ? [] : [[`/steps/${at}/needs/${which}`, `No step is named "${need}".`] as const],
    ),
  );
  const problems = [...twice, ...unknown];
  return problems.length > 0 ? problems : circle(request.steps);
}

function circle(steps: readonly StepRequest[]): readonly (readonly [string, string])[] {
  const free = new Set<string>();
  let left = steps;
  for (;;) {
    const blocked = left.filter(({ needs = [] }) => needs.some((need) => !free.has(need)));
    if (blocked.length === 0) return [];
    if (blocked.length === left.length)
      return [["/steps", `These steps wait for each other in a circle: ${blocked.map(({ name }) => name).join(", ")}.`]];
    for (const { name } of left) if (!blocked.some((step) => step.name === name)) free.add(name);
    left = blocked;
  }
}
