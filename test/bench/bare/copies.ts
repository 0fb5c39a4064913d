/**
 * The objects that Longshore made for one run, as anybody could make them without Longshore.
 *
 * The failure this prevents: bare work that is lighter than the work beside it, since somebody wrote its manifests by hand. If a
 * run gets a file or a Secret, its copies have one, too.
 */
import { ANNOTATIONS, LABELS } from "@longshore/domain/run/marks.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { ask } from "../parts/ask.ts";

export interface Copies {
  /** Owns all others; absent if the run has volumes neither nor anything like them. */
  readonly owner: Copy | undefined;
  /** Everything else but the Jobs. */
  readonly owned: readonly Copy[];
  readonly jobs: readonly Copy[];
}

export interface Copy {
  /** Where it is created. */
  readonly path: string;
  /** `ownerUid`: the UID of the owner's copy. The run-id that it carries is its own name. */
  manifestOf(run: string, ownerUid?: string): Manifest;
}

export interface Manifest {
  readonly metadata: { readonly name: string };
}

type Words = Readonly<Record<string, string>>;

interface Original {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Words;
    readonly annotations?: Words;
    readonly ownerReferences?: readonly object[];
  };
  readonly spec?: Readonly<Record<string, unknown>> & { readonly template?: Template };
}

/** A Job's template of its pod. The contents of small files are among its annotations. */
interface Template {
  readonly metadata?: { readonly labels?: Words; readonly annotations?: Words };
  readonly spec?: object;
}

const KINDS = {
  configmaps: { apiVersion: "v1", kind: "ConfigMap" },
  secrets: { apiVersion: "v1", kind: "Secret" },
  persistentvolumeclaims: { apiVersion: "v1", kind: "PersistentVolumeClaim" },
  jobs: { apiVersion: "batch/v1", kind: "Job" },
} as const;
type Kind = keyof typeof KINDS;

/** Selects all copies. */
export const COPIES = "bench=bare";

export const pathOf = (namespace: string, kind: Kind): string =>
  `/${kind === "jobs" ? "apis/batch" : "api"}/v1/namespaces/${namespace}/${kind}`;

/** The run must have ended, and what it had must still be there. */
export async function copiesOf(admin: Transport, namespace: string, run: string): Promise<Copies> {
  const found: { readonly kind: Kind; readonly original: Original }[] = [];
  for (const kind of Object.keys(KINDS) as Kind[]) {
    const { items } = (await ask(admin, { method: "GET", path: pathOf(namespace, kind) })) as { readonly items: Original[] };
    const ofRun = items.filter(({ metadata }) => metadata.annotations?.[ANNOTATIONS.runId] === run);
    found.push(...ofRun.map((original) => ({ kind, original })));
  }
  const owner = found.find(({ kind, original }) => kind !== "jobs" && original.metadata.ownerReferences === undefined)?.original;
  const names = found.map(({ original }) => original.metadata.name);
  const copyOf = ({ kind, original }: (typeof found)[number]): Copy => {
    const written = JSON.stringify({ ...KINDS[kind], ...bare(original) });
    return {
      path: pathOf(namespace, kind),
      manifestOf: (run, ownerUid = "") => {
        const owned = owner === undefined ? written : written.replaceAll(owner.metadata.uid, ownerUid);
        return JSON.parse(names.reduce((it, name, at) => it.replaceAll(`"${name}"`, `"${run}-${at}"`), owned)) as Manifest;
      },
    };
  };
  return {
    owner: found.filter(({ original }) => original === owner).map(copyOf)[0],
    owned: found.filter(({ kind, original }) => original !== owner && kind !== "jobs").map(copyOf),
    jobs: found.filter(({ kind }) => kind === "jobs").map(copyOf),
  };
}

/** Without the hold, and without what the cluster wrote into it. */
function bare({ metadata, spec, ...original }: Original & { readonly status?: object }): object {
  const { name, labels, annotations, ownerReferences } = metadata;
  const { status: _, ...content } = original;
  const { selector: _selector, volumeName: _volume, template, ...own } = spec ?? {};
  const marked = (it: Template["metadata"] = {}) => ({
    labels: unmarked(it.labels),
    annotations: { ...unmarked(it.annotations), [ANNOTATIONS.runId]: name },
  });
  const { labels: marks, ...others } = marked({ labels: labels ?? {}, annotations: annotations ?? {} });
  return {
    ...content,
    metadata: { name, ...others, labels: { ...marks, bench: "bare" }, ...(ownerReferences && { ownerReferences }) },
    ...(spec && { spec: { ...own, ...(template && { template: { ...template, metadata: marked(template.metadata) } }) } }),
  };
}

/** Labels that the Job controller writes beside those of its own domain. */
const LEGACY = ["controller-uid", "job-name"];

/** Longshore's watcher follows what has its label, and the Job controller writes labels and annotations of its own. */
const unmarked = (words: Words = {}): Words =>
  Object.fromEntries(
    Object.entries(words).filter(
      ([key]) => key !== LABELS.installation && !LEGACY.includes(key) && !key.includes("kubernetes.io/"),
    ),
  );
