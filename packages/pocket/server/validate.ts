/**
 * Fills in a Job's defaults and judges it, as an API server does before it stores one.
 *
 * The bug this prevents: a manifest that works here and is refused by every real cluster, or the other way round.
 */
import type { Fields, JobObject, JobSpec, Metadata } from "../objects.ts";
import { CONTROLLER_UID, fieldsIn, isFields, JOB_NAME } from "../objects.ts";
import { type Cause, forbiddenField, invalidValue, required, unsupported } from "./status.ts";

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const NAME_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL_RULE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const QUALIFIED = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

export function badName(name: string, most: number): readonly Cause[] {
  if (name === "") return [required("metadata.name", "name or generateName is required")];
  const long = name.length > most ? [invalidValue("metadata.name", name, `must be no more than ${most} characters`)] : [];
  const shaped = name.split(".").every((it) => LABEL.test(it));
  return shaped ? long : [...long, invalidValue("metadata.name", name, NAME_RULE)];
}

export function badLabels(labels: unknown, field: string): readonly Cause[] {
  if (labels === undefined || labels === null) return [];
  if (!isFields(labels)) return [invalidValue(field, labels, "must be an object of strings")];
  return Object.entries(labels).flatMap(([key, value]): readonly Cause[] => {
    if (!QUALIFIED.test(key) || key.replace(/^.*\//, "").length > 63) {
      return [invalidValue(field, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")];
    }
    if (typeof value === "string" && value.length <= 63 && VALUE.test(value)) return [];
    return [
      invalidValue(field, value, "a valid label must be an empty string or at most 63 alphanumeric characters, '-', '_' or '.'"),
    ];
  });
}

export function badFinalizers(finalizers: readonly string[]): readonly Cause[] {
  return finalizers
    .filter((it) => !QUALIFIED.test(it) || (!it.includes("/") && it !== "orphan" && it !== "foregroundDeletion"))
    .map((it) => invalidValue("metadata.finalizers", it, "name is neither a standard finalizer name nor is it fully qualified"));
}

/** Returns all problems of a Job's spec as the client sent it. */
export function badJob(given: unknown): readonly Cause[] {
  const spec = fieldsIn(given);
  const template = fieldsIn(spec["template"]);
  const pod = fieldsIn(template["spec"]);
  return [
    ...["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"].flatMap((it) =>
      badCount(spec[it], `spec.${it}`, it === "activeDeadlineSeconds" ? 1 : 0),
    ),
    ...oneOf(spec["completionMode"], "spec.completionMode", ["NonIndexed", "Indexed"]),
    ...oneOf(spec["podReplacementPolicy"], "spec.podReplacementPolicy", ["Failed", "TerminatingOrFailed"]),
    ...(spec["completionMode"] === "Indexed" && (spec["completions"] ?? undefined) === undefined
      ? [required("spec.completions", "when completion mode is Indexed")]
      : []),
    ...badPerIndex(spec),
    ...badLabels(fieldsIn(template["metadata"])["labels"], "spec.template.labels"),
    ...badContainers(pod["containers"], "spec.template.spec.containers"),
    ...(Array.isArray(pod["initContainers"]) ? badContainers(pod["initContainers"], "spec.template.spec.initContainers") : []),
    ...(pod["restartPolicy"] === "Never" || pod["restartPolicy"] === "OnFailure" ? [] : [restartPolicy(pod["restartPolicy"])]),
  ];
}

/** CronJobs are kept, and no schedule is obeyed: people run them by their template. */
export function badCronJob(given: unknown): readonly Cause[] {
  const { schedule, jobTemplate } = fieldsIn(given);
  const at = "spec.jobTemplate.";
  return [
    ...(typeof schedule === "string" && schedule !== "" ? [] : [required("spec.schedule")]),
    ...badJob(fieldsIn(jobTemplate)["spec"]).map((it) => ({ ...it, field: at + it.field })),
  ];
}

function badPerIndex(spec: Fields): readonly Cause[] {
  const { completionMode, completions, backoffLimitPerIndex: limit, maxFailedIndexes: most } = spec;
  const given = (it: unknown): boolean => it !== undefined && it !== null;
  const isIndexed = completionMode === "Indexed";
  return [
    ...badCount(limit, "spec.backoffLimitPerIndex", 0),
    ...badCount(most, "spec.maxFailedIndexes", 0),
    ...(given(most) && !given(limit) ? [required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified")] : []),
    ...(given(limit) && !isIndexed ? [invalidValue("spec.backoffLimitPerIndex", limit, "requires indexed completion mode")] : []),
    ...(given(most) && !isIndexed ? [invalidValue("spec.maxFailedIndexes", most, "requires indexed completion mode")] : []),
    ...(isIndexed && typeof most === "number" && typeof completions === "number" && most > completions
      ? [invalidValue("spec.maxFailedIndexes", most, "must be less than or equal to completions")]
      : []),
  ];
}

/** Refuses labels that tie a template to another Job, as in a manifest that was copied from the cluster. */
export function badMarks(spec: unknown, { uid, name }: Metadata): readonly Cause[] {
  const labels = fieldsIn(fieldsIn(fieldsIn(fieldsIn(spec)["template"])["metadata"])["labels"]);
  return Object.entries(marksOf(uid, name))
    .filter(([key, value]) => (labels[key] ?? value) !== value)
    .map(([key, value]) => invalidValue(`spec.template.metadata.labels[${key}]`, labels, `must be '${value}'`));
}

const marksOf = (uid: string, name: string): Readonly<Record<string, string>> => ({
  [CONTROLLER_UID]: uid,
  [JOB_NAME]: name,
  "controller-uid": uid,
  "job-name": name,
});

function restartPolicy(value: unknown): Cause {
  if (value === undefined || value === null) {
    return required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"');
  }
  return unsupported("spec.template.spec.restartPolicy", value, ["OnFailure", "Never"]);
}

function badCount(value: unknown, field: string, least: number): readonly Cause[] {
  if (value === undefined || value === null) return [];
  if (typeof value !== "number" || !Number.isInteger(value) || value > 2_147_483_647) {
    return [invalidValue(field, value, "must be a 32-bit whole number")];
  }
  return value >= least ? [] : [invalidValue(field, value, `must be greater than or equal to ${least}`)];
}

function oneOf(value: unknown, field: string, allowed: readonly string[]): readonly Cause[] {
  if (value === undefined || value === null) return [];
  return typeof value === "string" && allowed.includes(value) ? [] : [unsupported(field, value, allowed)];
}

function badContainers(containers: unknown, field: string): readonly Cause[] {
  if (!Array.isArray(containers) || containers.length === 0) return [required(field)];
  const names = new Set<unknown>();
  return containers.flatMap((it: unknown, n): readonly Cause[] => {
    if (!isFields(it)) return [invalidValue(`${field}[${n}]`, it, "must be an object")];
    const { name, image } = it;
    const twice = names.has(name);
    names.add(name);
    return [
      ...(typeof name !== "string" || name === "" ? [required(`${field}[${n}].name`)] : []),
      ...(typeof name === "string" && name !== "" && (!LABEL.test(name) || name.length > 63)
        ? [invalidValue(`${field}[${n}].name`, name, LABEL_RULE)]
        : []),
      ...(twice
        ? [{ reason: "FieldValueDuplicate", message: `Duplicate value: ${JSON.stringify(name)}`, field: `${field}[${n}].name` }]
        : []),
      ...(typeof image !== "string" || image === "" ? [required(`${field}[${n}].image`)] : []),
      ...["command", "args"].flatMap((key) => badWords(it[key], `${field}[${n}].${key}`)),
      ...badEnv(it["env"], `${field}[${n}].env`),
    ];
  });
}

function badWords(words: unknown, field: string): readonly Cause[] {
  if (words === undefined || words === null) return [];
  return Array.isArray(words) && words.every((it) => typeof it === "string")
    ? []
    : [invalidValue(field, words, "must be a list of strings")];
}

function badEnv(env: unknown, field: string): readonly Cause[] {
  if (env === undefined || env === null) return [];
  if (!Array.isArray(env)) return [invalidValue(field, env, "must be a list")];
  return env.flatMap((it: unknown, n): readonly Cause[] => {
    if (!isFields(it) || typeof it["name"] !== "string" || it["name"] === "") return [required(`${field}[${n}].name`)];
    if (it["value"] !== undefined && typeof it["value"] !== "string")
      return [invalidValue(`${field}[${n}].value`, it["value"], "must be a string")];
    return [];
  });
}

/** Returns the Job as it is stored. `given` must be free of problems. */
export function completeJob(given: Fields, metadata: Metadata): JobObject {
  const spec = given["spec"] as Partial<JobSpec> & Pick<JobSpec, "template">;
  const marks = marksOf(metadata.uid, metadata.name);
  const { completions, parallelism, ...rest } = spec;
  const labels = { ...spec.template.metadata?.labels, ...marks };
  const wanted = completions ?? (parallelism === undefined ? 1 : undefined);
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: metadata.labels === undefined || Object.keys(metadata.labels).length === 0 ? { ...metadata, labels } : metadata,
    spec: {
      ...rest,
      parallelism: parallelism ?? 1,
      ...(wanted === undefined ? {} : { completions: wanted }),
      completionMode: spec.completionMode ?? "NonIndexed",
      backoffLimit: spec.backoffLimit ?? (spec.backoffLimitPerIndex === undefined ? 6 : 2_147_483_647),
      suspend: spec.suspend ?? false,
      podReplacementPolicy: spec.podReplacementPolicy ?? "TerminatingOrFailed",
      selector: { matchLabels: { [CONTROLLER_UID]: metadata.uid } },
      template: completeTemplate(spec.template, labels),
    },
    status: {},
  };
}

function completeTemplate(template: JobSpec["template"], labels: Readonly<Record<string, string>>): JobSpec["template"] {
  const filled = (list: readonly JobSpec["template"]["spec"]["containers"][number][]) =>
    list.map((it) => ({
      terminationMessagePath: "/dev/termination-log",
      terminationMessagePolicy: "File",
      resources: {},
      ...it,
    }));
  const { spec } = template;
  return {
    ...template,
    metadata: { ...template.metadata, labels },
    spec: {
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      schedulerName: "default-scheduler",
      securityContext: {},
      ...spec,
      containers: filled(spec.containers),
      ...(spec.initContainers === undefined ? {} : { initContainers: filled(spec.initContainers) }),
    } as JobSpec["template"]["spec"],
  };
}

const FREE = new Set([
  "parallelism",
  "suspend",
  "activeDeadlineSeconds",
  "ttlSecondsAfterFinished",
  "backoffLimit",
  "maxFailedIndexes",
]);

/** Returns the problems of an update, such as a change of an immutable field. */
export function badJobUpdate(before: JobObject, after: JobObject): readonly Cause[] {
  const { spec } = after;
  const resumable = before.spec.suspend && before.status.startTime === undefined;
  const touched = [...new Set([...Object.keys(before.spec), ...Object.keys(spec)])].filter((key) => {
    if (FREE.has(key) || (key === "template" && resumable)) return false;
    const [old, next]: readonly unknown[] = [Reflect.get(before.spec, key), Reflect.get(spec, key)];
    return old !== next && JSON.stringify(old) !== JSON.stringify(next);
  });
  return [...touched.map((key) => invalidValue(`spec.${key}`, Reflect.get(spec, key), "field is immutable")), ...badJob(spec)];
}

export function newFinalizers(before: readonly string[], after: readonly string[]): readonly Cause[] {
  const added = after.filter((it) => !before.includes(it));
  if (added.length === 0) return [];
  const shown = `[]string{${added.map((it) => JSON.stringify(it)).join(", ")}}`;
  return [
    forbiddenField(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers ${shown}`,
    ),
  ];
}
