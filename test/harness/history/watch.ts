/**
 * A watch of the test's own over the Jobs and pods of one namespace, with its administrator's rights. It keeps what was seen of
 * each object, from its first moment to its last.
 *
 * The failure this prevents: a judge that sees only what the judged program sees. The watch shares no code with our follower.
 */
import { indexesIn } from "@longshore/pocket/controllers/indexes.ts";
import { CONTROLLER_UID, HOLD, LABELS } from "@longshore/domain/run/marks.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { sometimeIf, SOMETIME } from "../../judge/view.ts";
import type { JobLife, PodLife } from "./journals.ts";
import type { Site } from "../site.ts";

export interface Watched extends AsyncDisposable {
  readonly jobs: readonly JobLife[];
  readonly pods: readonly PodLife[];
  /** Resolves when the watch has seen the present version of every object. */
  caughtUp(): Promise<void>;
}

interface Meta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
}

interface Container {
  readonly state?: {
    readonly running?: { readonly startedAt?: string };
    readonly terminated?: { readonly exitCode: number; readonly startedAt?: string; readonly finishedAt?: string };
  };
}

interface Seen {
  readonly metadata: Meta;
  readonly spec?: { readonly maxFailedIndexes?: number };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason?: string }[];
    readonly failedIndexes?: string;
    readonly containerStatuses?: readonly Container[];
  };
}

type Kind = "jobs" | "pods";
const ROOTS: Readonly<Record<Kind, string>> = { jobs: "/apis/batch/v1", pods: "/api/v1" };
const AGAIN_MS = 100;
const CATCH_UP_MS = 30_000;

export function watchOf({ admin, namespace }: Pick<Site, "admin" | "namespace">): Watched {
  const stop = new AbortController();
  const jobs = new Map<string, JobLife>();
  const pods = new Map<string, PodLife>();
  const versions = new Map<string, string>();
  const at = (kind: Kind): string => `${ROOTS[kind]}/namespaces/${namespace}/${kind}`;

  function see(kind: Kind, object: Seen): void {
    const { uid } = object.metadata;
    versions.set(uid, object.metadata.resourceVersion);
    if (kind === "jobs") jobs.set(uid, seenJob(jobs.get(uid), object));
    else pods.set(uid, seenPod(pods.get(uid), object));
  }

  function left(kind: Kind, uid: string): void {
    versions.delete(uid);
    const job = jobs.get(uid);
    const pod = pods.get(uid);
    if (kind === "jobs" && job !== undefined) jobs.set(uid, { ...job, held: false, goneMs: SOMETIME });
    if (kind === "pods" && pod !== undefined) pods.set(uid, { ...pod, goneMs: pod.goneMs ?? clock.now() });
  }

  async function list(kind: Kind): Promise<{ readonly version: string; readonly items: readonly Seen[] }> {
    const { status, body } = await admin.send({ method: "GET", path: at(kind) }, stop.signal);
    if (status !== 200) throw new Error(`the listing of ${kind} was answered ${status}`);
    const { metadata, items } = body as { metadata: { resourceVersion: string }; items: Seen[] };
    return { version: metadata.resourceVersion, items };
  }

  async function listAndWatch(kind: Kind): Promise<void> {
    const { version, items } = await list(kind);
    const there = new Set(items.map(({ metadata }) => metadata.uid));
    for (const uid of (kind === "jobs" ? jobs : pods).keys()) if (!there.has(uid)) left(kind, uid);
    for (const item of items) see(kind, item);
    const stream = await admin.open({ method: "GET", path: `${at(kind)}?watch=true&resourceVersion=${version}` }, stop.signal);
    if (stream.status !== 200) return;
    for await (const line of stream.lines) {
      const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: Seen };
      if (type === "ERROR") return;
      see(kind, object);
      if (type === "DELETED") left(kind, object.metadata.uid);
    }
  }

  async function follow(kind: Kind): Promise<void> {
    while (!stop.signal.aborted) {
      await listAndWatch(kind).catch(() => undefined); // the test took the API server away: it will be back
      await clock.sleep(AGAIN_MS, stop.signal);
    }
  }

  const isCurrent = async (kind: Kind): Promise<boolean> => {
    const { items } = await list(kind).catch(() => ({ items: undefined }));
    if (items === undefined) return false;
    const there = new Set(items.map(({ metadata }) => metadata.uid));
    const ours = [...(kind === "jobs" ? jobs : pods).values()].filter(({ goneMs }) => goneMs === undefined);
    return (
      items.every(({ metadata }) => versions.get(metadata.uid) === metadata.resourceVersion) &&
      ours.every(({ uid }) => there.has(uid))
    );
  };

  const following = Promise.all([follow("jobs"), follow("pods")]);
  return {
    get jobs() {
      return [...jobs.values()];
    },
    get pods() {
      return [...pods.values()];
    },
    async caughtUp() {
      for (const began = clock.now(); clock.now() - began < CATCH_UP_MS; await clock.sleep(AGAIN_MS))
        if ((await isCurrent("jobs")) && (await isCurrent("pods"))) return;
      throw new Error(`the test's own watch of ${namespace} does not catch up with what is there`);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await following;
    },
  };
}

/** Every slice has ended, and no more of them failed than may. */
const endsWell = ({ spec, status }: Seen): boolean =>
  status?.conditions?.some((it) => it.type === "Failed" && it.status === "True" && it.reason === "FailedIndexes") === true &&
  indexesIn(status.failedIndexes).size <= (spec?.maxFailedIndexes ?? 0);

function seenJob(before: JobLife | undefined, seen: Seen): JobLife {
  const { metadata, status } = seen;
  const has = (type: string): boolean => status?.conditions?.some((it) => it.type === type && it.status === "True") === true;
  const held = metadata.finalizers?.includes(HOLD) === true;
  const isOver = has("Complete") || has("Failed");
  const deleting = metadata.deletionTimestamp !== undefined;
  return {
    uid: metadata.uid,
    name: metadata.name,
    occupant: metadata.labels?.[LABELS.occupant] === "true",
    createdMs: Date.parse(metadata.creationTimestamp),
    completeMs: before?.completeMs ?? sometimeIf(has("Complete") || endsWell(seen)),
    failedMs: before?.failedMs ?? sometimeIf(has("Failed") && !endsWell(seen)),
    deletedMs: before?.deletedMs ?? sometimeIf(deleting),
    held,
    stripped: before?.stripped === true || (!held && !isOver && !deleting && metadata.labels?.[LABELS.managedBy] !== undefined),
    goneMs: undefined,
  };
}

function seenPod(before: PodLife | undefined, { metadata, status }: Seen): PodLife {
  const states = (status?.containerStatuses ?? []).flatMap(({ state }) => state ?? []);
  const ended = states.flatMap(({ terminated }) => terminated ?? []);
  const isOver = status?.phase === "Succeeded" || status?.phase === "Failed";
  const times = ended.flatMap(({ finishedAt }) => (finishedAt === undefined ? [] : [Date.parse(finishedAt)]));
  const finishedMs = isOver ? (times.length > 0 ? Math.max(...times) : clock.now()) : undefined;
  return {
    uid: metadata.uid,
    name: metadata.name,
    job: metadata.labels?.[CONTROLLER_UID] ?? "",
    createdMs: Date.parse(metadata.creationTimestamp),
    startedMs: before?.startedMs ?? startOf(states),
    finishedMs: before?.finishedMs ?? finishedMs,
    exitCode: ended[0]?.exitCode ?? before?.exitCode,
    goneMs: undefined,
  };
}

function startOf(states: readonly NonNullable<Container["state"]>[]): number | undefined {
  const starts = states.flatMap(({ running, terminated }) => {
    const startedAt = running?.startedAt ?? terminated?.startedAt;
    return startedAt === undefined ? (sometimeIf(running !== undefined) ?? []) : Date.parse(startedAt);
  });
  return starts.length === 0 ? undefined : Math.min(...starts);
}
