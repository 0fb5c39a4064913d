/**
 * Reads a Job or CronJob that somebody prepared for people to run: raw JSON in, the parts that a run needs out.
 *
 *   prepared Job or CronJob ─▶ see ─▶ fact ─▶ definition-of: a card ─▶ run ─▶ look again ─▶ manifest: a new Job
 *
 * The failure this prevents: a copy that carries its original's identity. A selector, a controller's label or a GitOps mark that is
 * copied makes Kubernetes refuse the new Job, or makes the tool that owns the original delete it.
 */
import { Uid } from "@longshore/contract/ids.ts";
import type { Prepared, PreparedKind } from "@longshore/contract/messages/fact.ts";
import { LABELS } from "../run/marks.ts";
import { at, field, integer, list, text } from "../watch/raw.ts";

/** A template with more than this cannot be told: it would fill a message. */
export const RUNS_BYTES_MAX = 256 * 1024;
const DEPTH_MAX = 40;

/** Without the group and the installation, which the object does not say. */
export type PreparedSeen = Omit<Prepared, "installation" | "group">;

/** By metadata alone: true if the object asks to be run by people, and is neither Longshore's own nor made by a schedule. */
export function isPrepared(raw: unknown, [key, value]: readonly [string, string]): boolean {
  const metadata = field(raw, "metadata");
  const isOfSchedule = list(field(metadata, "ownerReferences")).some(
    (it) => field(it, "controller") === true && field(it, "kind") === "CronJob",
  );
  return (
    at(metadata, "annotations", key) === value &&
    at(metadata, "labels", LABELS.installation) === undefined &&
    field(metadata, "deletionTimestamp") === undefined &&
    !isOfSchedule
  );
}

export function seePrepared(raw: unknown, kind: PreparedKind, annotationKey: string): PreparedSeen | undefined {
  const metadata = field(raw, "metadata");
  const uid = Uid.safeParse(field(metadata, "uid"));
  const name = text(field(metadata, "name"), 253);
  const resourceVersion = text(field(metadata, "resourceVersion"), 32);
  if (!uid.success || name === undefined || resourceVersion === undefined || !/^\d+$/.test(resourceVersion)) return undefined;
  const spec = field(raw, "spec");
  const status = field(raw, "status");
  const [job, marks] = kind === "Job" ? [spec, metadata] : [at(spec, "jobTemplate", "spec"), at(spec, "jobTemplate", "metadata")];
  const started = text(field(status, kind === "Job" ? "startTime" : "lastScheduleTime"), 64);
  const succeeded = text(field(status, kind === "Job" ? "completionTime" : "lastSuccessfulTime"), 64);
  const schedule = kind === "CronJob" ? text(field(spec, "schedule"), 200) : undefined;
  const active = field(status, "active");
  return {
    kind, name, uid: uid.data, resourceVersion,
    words: wordsOf(field(metadata, "annotations")),
    labels: kept(textsIn(field(marks, "labels")), annotationKey),
    annotations: kept(textsIn(field(marks, "annotations")), annotationKey),
    ...told(job),
    ...(schedule !== undefined && { schedule }),
    suspended: field(spec, "suspend") === true,
    active: integer(active) ?? list(active, 1_000).length,
    ...(started !== undefined && { lastStartedAt: started }),
    ...(succeeded !== undefined && { lastSucceededAt: succeeded }),
  }; // biome-ignore format: one value
}

const OURS = "longshore.dev/";

/** A word that is far too long keeps one character more than it may have, so that it is still too long. */
function wordsOf(annotations: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(textsIn(annotations))
      .filter(([name]) => name.startsWith(OURS))
      .slice(0, 50)
      .map(([name, value]) => [name.slice(OURS.length), text(value, WORD_CHARS_MAX + 1) ?? ""]),
  );
}
export const WORD_CHARS_MAX = 32 * 1024;

const textsIn = (raw: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(typeof raw === "object" && raw !== null ? raw : {}).flatMap(([name, value]) =>
      typeof value === "string" ? [[name, value.toWellFormed().replaceAll("\0", "\uFFFD")] as const] : [],
    ),
  );

/**
 * Marks by which a GitOps tool knows what it owns: it would delete a new Job that carries them. Kubernetes' own marks are written
 * anew, and Longshore writes its own.
 */
const LEFT_OUT: readonly RegExp[] = [
  /^app\.kubernetes\.io\/(instance|managed-by)$/,
  /(^|\.)argoproj\.io\//,
  /(^|\.)fluxcd\.io\//,
  /^(meta\.)?helm\.sh\//,
  /^(?!app\.)([a-z0-9-]+\.)*(kubernetes|k8s)\.io\//,
  /^([a-z0-9-]+\.)*longshore\.dev\//,
  /^(job-name|controller-uid)$/,
];

const kept = (marks: Readonly<Record<string, string>>, annotationKey: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(marks).filter(([name]) => name !== annotationKey && !LEFT_OUT.some((pattern) => pattern.test(name))),
  );

/** Fields of a Job's spec by which one Job differs from the next, or that say when and not what. */
const NOT_RUN: readonly string[] = ["suspend", "selector", "manualSelector", "ttlSecondsAfterFinished"];
/** The labels by which the Job controller finds its pods. All other labels of the pods stay: NetworkPolicies select by them. */
const CONTROLLERS = /^((batch\.kubernetes\.io\/)?(job-name|controller-uid)|longshore\.dev\/.*)$/;

function told(job: unknown): Pick<Prepared, "runs" | "unread"> {
  if (typeof job !== "object" || job === null) return { unread: "it has no template" };
  const spec = Object.fromEntries(Object.entries(job).filter(([name]) => !NOT_RUN.includes(name)));
  const { template } = spec as { readonly template?: unknown };
  const labels = Object.entries(textsIn(at(template, "metadata", "labels"))).filter(([name]) => !CONTROLLERS.test(name));
  const annotations = Object.entries(textsIn(at(template, "metadata", "annotations"))).filter(([name]) => !name.startsWith(OURS));
  const runs = {
    ...spec,
    template: {
      metadata: { labels: Object.fromEntries(labels), annotations: Object.fromEntries(annotations) },
      spec: at(template, "spec"),
    },
  };
  const written = JSON.stringify(runs);
  if (written.length > RUNS_BYTES_MAX) return { unread: `its template has more than ${RUNS_BYTES_MAX / 1024} KiB` };
  if (isDeeper(runs, DEPTH_MAX)) return { unread: `its template is nested more than ${DEPTH_MAX} deep` };
  if (!isStorable(runs)) return { unread: "its template holds a character that cannot be stored" };
  return { runs };
}

/** Postgres stores neither a NUL nor half a character. */
function isStorable(value: unknown): boolean {
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\0");
  return typeof value !== "object" || value === null || Object.entries(value).every((it) => it.every(isStorable));
}

const isDeeper = (value: unknown, than: number): boolean =>
  typeof value === "object" && value !== null && (than === 0 || Object.values(value).some((it) => isDeeper(it, than - 1)));

/** Two definitions of a group never have the same name: a Job whose own name begins like that of a CronJob says so. */
export function nameOfPrepared(group: string, { kind, name }: Pick<Prepared, "kind" | "name">): string {
  const prefix = kind === "CronJob" ? "cronjob." : /^(cron)?job\./.test(name) ? "job." : "";
  return `${group}/${prefix}${name}`;
}
