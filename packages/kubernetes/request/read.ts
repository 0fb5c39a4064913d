/**
 * Reads of one group's namespace: authoritative GETs, listings page by page, and the end of a container's log.
 *
 * The bugs this prevents: a stale or partial view taken for the truth; and a finished Job whose fact waits for a log of a
 * gigabyte, or for a kubelet that does not answer. No read names a resourceVersion, so each is answered from the store and not
 * from a cache. "missing" means that the API server said so. A listing that had to begin anew says so.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { type ApiObject, asList, asObject, asStatus, member, saysMissing, text, wordsOf } from "../objects.ts";
import type { ApiAnswer } from "../transport.ts";
import { ask, asFailure, type Channel, type Sending, sendInTime, type Silent, silent } from "./purpose.ts";
import { networkCode, TOO_LONG } from "./silence.ts";

/** No answer, or an answer that is neither the object nor its absence: domain/diagnosis/replies reads the status. */
export type Unread = { readonly kind: "answered"; readonly status: number; readonly body: unknown } | Silent;

export type Got = { readonly kind: "found"; readonly object: ApiObject } | { readonly kind: "missing" } | Unread;

/** The whole listing up to its bound, never the part that was read before a failure. */
export type Listed = { readonly kind: "listed"; readonly items: readonly unknown[] } | Unread;

type Page =
  | { readonly kind: "page"; readonly items: readonly unknown[]; readonly resourceVersion: string }
  /** The token of the next page had expired: the pages so far are void, and the first page follows. */
  | { readonly kind: "restarted" };

interface ListOptions {
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly pageSize?: number;
  /** "metadata" asks for PartialObjectMetadata: a fraction of the bytes if names, UIDs and labels are enough. */
  readonly as?: "full" | "metadata";
  readonly signal: AbortSignal;
}

export interface Reads {
  getJob(name: string, signal: AbortSignal): Promise<Got>;
  getCronJob(name: string, signal: AbortSignal): Promise<Got>;
  /** The group's own namespace; its UID tells one cluster from another behind the same address. */
  getNamespace(signal: AbortSignal): Promise<Got>;
  /** Throws `Failure` if a page cannot be had: a listing is whole or it fails. */
  listJobs(options: ListOptions): AsyncIterable<Page>;
  /** The pods that the Job controller made for this Job, orphaned ones too. */
  podsOf(jobUid: string, signal: AbortSignal): Promise<Listed>;
  /** A run's anchor: a ConfigMap. */
  getAnchor(name: string, signal: AbortSignal): Promise<Got>;
  listAnchors(options: ListOptions): AsyncIterable<Page>;
  /** The claims, and the pods, that have these labels. */
  claimsWith(selector: string, signal: AbortSignal): Promise<Listed>;
  podsWith(selector: string, signal: AbortSignal): Promise<Listed>;
  /** The pods of anybody that mount one of these claims. */
  podsMounting(claims: readonly string[], signal: AbortSignal): Promise<Listed>;
  /** The metadata of pods that have these labels, at most so many. */
  namesOfPods(selector: string, most: number, signal: AbortSignal): Promise<Listed>;
  /** The Events about an object, found by its UID because Events carry no labels. At most 200, in no order. */
  eventsOf(uid: string, signal: AbortSignal): Promise<Listed>;
}

const RESTARTS_MAX = 5;
/** More pages than any namespace has: stops the listing of a server that always names one more page. */
const PAGES_MAX = 10_000;
/** A step has at most 1,000 slices, each with at most 5 retries. */
const PODS_MAX = 6_000;
/** So many of the heaviest objects, of 256 KiB of annotations each, are within the length that is read. */
const FIRST_PAGE = 50;
const PAGE_BYTES = 4 * 1024 * 1024;
export const METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

export function openReads({ namespace, ...sending }: Sending & { readonly namespace: string }): Reads {
  const space = encodeURIComponent(namespace);
  const jobs = `/apis/batch/v1/namespaces/${space}/jobs`;
  const cronJobs = `/apis/batch/v1/namespaces/${space}/cronjobs`;
  const core = `/api/v1/namespaces/${space}`;

  async function get(purpose: "read" | "probe", path: string, name: string, signal: AbortSignal): Promise<Got> {
    const told = await ask(sending, { purpose, method: "GET", path }, signal);
    if (told.kind !== "told") return told;
    const { status, body } = told.answer;
    if (saysMissing(told.answer, name)) return { kind: "missing" };
    const object = status === 200 ? asObject(body) : undefined;
    return object?.name === name ? { kind: "found", object } : { kind: "answered", status, body };
  }

  /** Gathers a small listing. The bound keeps one Job with far too many objects from filling our memory. */
  async function gather(
    path: string,
    options: ListOptions,
    most: number,
    wanted: (item: unknown) => boolean = () => true,
  ): Promise<Listed> {
    let items: unknown[] = [];
    try {
      for await (const page of listPages(sending, path, options)) {
        if (page.kind === "restarted") items = [];
        else items.push(...page.items.filter(wanted));
        if (items.length >= most) break;
      }
    } catch (error) {
      return unread(asFailure(error));
    }
    return { kind: "listed", items: items.slice(0, most) };
  }

  return {
    getJob: (name, signal) => get("read", `${jobs}/${encodeURIComponent(name)}`, name, signal),
    getCronJob: (name, signal) => get("read", `${cronJobs}/${encodeURIComponent(name)}`, name, signal),
    getNamespace: (signal) => get("probe", core, namespace, signal),
    listJobs: (options) => listPages(sending, jobs, options),
    podsOf: (uid, signal) => gather(`${core}/pods`, { selector: `batch.kubernetes.io/controller-uid=${uid}`, signal }, PODS_MAX),
    getAnchor: (name, signal) => get("read", `${core}/configmaps/${encodeURIComponent(name)}`, name, signal),
    listAnchors: (options) => listPages(sending, `${core}/configmaps`, options),
    claimsWith: (selector, signal) => gather(`${core}/persistentvolumeclaims`, { selector, as: "metadata", signal }, PODS_MAX),
    podsWith: (selector, signal) => gather(`${core}/pods`, { selector, signal }, PODS_MAX),
    podsMounting: (claims, signal) =>
      gather(`${core}/pods`, { signal }, PODS_MAX, (pod) => claimsIn(pod).some((it) => claims.includes(it))),
    namesOfPods: (selector, most, signal) => gather(`${core}/pods`, { selector, as: "metadata", pageSize: most, signal }, most),
    eventsOf: (uid, signal) =>
      gather(`${core}/events`, { fieldSelector: `involvedObject.uid=${uid}`, pageSize: 200, signal }, 200),
  };
}

/** The names of the claims that a pod mounts. */
function claimsIn(pod: unknown): readonly string[] {
  const volumes = member(member(pod, "spec"), "volumes");
  return (Array.isArray(volumes) ? volumes : []).flatMap(
    (it) => text(member(member(it, "persistentVolumeClaim"), "claimName")) ?? [],
  );
}

/** Yields every page of a listing, in order. Used by `follow` too. */
export async function* listPages(
  sending: Sending,
  path: string,
  { selector, fieldSelector, pageSize = 500, as = "full", signal }: ListOptions,
): AsyncGenerator<Page, void, undefined> {
  const accept = as === "metadata" ? { accept: METADATA_LIST } : {};
  let next: string | undefined;
  let most = pageSize;
  let size = Math.min(most, FIRST_PAGE);
  for (let restarts = 0, pages = 0; ; ) {
    const query = new URLSearchParams({ limit: String(size) });
    if (selector) query.set("labelSelector", selector);
    if (fieldSelector) query.set("fieldSelector", fieldSelector);
    if (next) query.set("continue", next);
    let answer: ApiAnswer;
    try {
      const request = { purpose: "list", method: "GET", path: `${path}?${query.toString()}`, ...accept } as const;
      answer = await sendInTime(sending, request, signal);
    } catch (error) {
      // If a page was too long, its objects are large: fewer are asked for at a time, else this listing could never be read.
      if (networkCode(error) !== TOO_LONG || size === 1) throw error;
      most = size = Math.max(1, Math.floor(size / 4));
      continue;
    }
    if (answer.status === 410 && next) {
      if (++restarts > RESTARTS_MAX)
        throw new Failure(
          "retry",
          "Expired",
          `Listing ${path} began anew ${RESTARTS_MAX} times: pages expire faster than they are read.`,
        );
      next = undefined;
      yield { kind: "restarted" };
      continue;
    }
    const list = answer.status === 200 ? asList(answer.body) : undefined;
    if (!list) throw refused(answer, `list ${path}`);
    if (++pages > PAGES_MAX || (list.next !== undefined && list.next === next))
      throw new Failure("retry", "Garbled", `Listing ${path} does not end: page ${pages} leads to itself, or to too many more.`);
    next = list.next;
    size = nextSize(answer, list.items.length, most);
    yield { kind: "page", items: list.items, resourceVersion: list.resourceVersion };
    if (next === undefined) return;
  }
}

/**
 * Returns how many objects the next page may have: as many as fit into its bytes if they weigh what those of this page did. A page of
 * 500 pods that each carry 200 KiB of files and annotations would be refused for its length, and cost the API server as much.
 */
function nextSize({ bytes }: ApiAnswer, items: number, most: number): number {
  if (bytes === undefined || items === 0) return most;
  return Math.max(1, Math.min(most, Math.floor(PAGE_BYTES / (bytes / items))));
}

/** Turns an unexpected answer into a Failure: loops back off at it, and people can read it. */
export function refused(answer: Pick<ApiAnswer, "status" | "body"> & Partial<ApiAnswer>, what: string): AnswerFailure {
  return new AnswerFailure({ headers: {}, ...answer }, `The API server would not ${what}: ${wordsOf(answer)}`);
}

/** A Failure that keeps the API server's answer. */
export class AnswerFailure extends Failure {
  readonly answer: ApiAnswer;

  constructor(answer: ApiAnswer, message: string) {
    super("retry", codeOf(answer.status, answer.body), message);
    this.answer = answer;
  }
}

function codeOf(status: number, body: unknown): string {
  if (status === 200) return "Garbled";
  if (status === 401) return "AuthRejected";
  if (status === 410) return "Expired";
  if (status === 429) return "Throttled";
  return asStatus(body)?.reason || (status >= 500 ? "ServerError" : "Unexpected");
}

function unread(failure: Failure): Unread {
  if (failure instanceof AnswerFailure) return { kind: "answered", status: failure.answer.status, body: failure.answer.body };
  return silent(failure);
}

/** "truncated": `tail` is the log's end, and `lines` counts the lines that were read to find it. */
export type LogTail = { readonly state: "complete" | "truncated" | "unavailable"; readonly lines: number; readonly tail: string };

interface LogOptions extends Sending {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly tailMaxBytes?: number;
  readonly readMaxBytes?: number;
}

const TAIL_LINES = 1_000;

export async function tailLog(options: LogOptions, signal: AbortSignal): Promise<LogTail> {
  const { tailMaxBytes = 64 * 1024, readMaxBytes = 1024 * 1024 } = options;
  const whole = await readLog(options, { limitBytes: String(readMaxBytes) }, signal);
  if (whole === undefined) return { state: "unavailable", lines: 0, tail: "" };
  const bytes = Buffer.from(whole, "utf8");
  if (bytes.length < readMaxBytes) return cut(bytes, tailMaxBytes, false);
  // `limitBytes` keeps the beginning, so the end of a long log is asked for by a number of lines.
  const end = await readLog(options, { tailLines: String(TAIL_LINES), limitBytes: String(readMaxBytes) }, signal);
  return cut(end === undefined ? bytes : Buffer.from(end, "utf8"), tailMaxBytes, true);
}

interface LogLinesOptions extends Pick<LogOptions, "namespace" | "pod" | "container" | "clock"> {
  readonly transport: Channel;
  /** False: the lines so far. True: also those that come, until the container has ended. */
  readonly follows: boolean;
  /** At most so many of the newest earlier lines are read. */
  readonly tailLines?: number;
}

/** Yields a container's log, from its first line if `tailLines` does not leave some out. Throws `Failure` if the API server does not give it, or if the stream breaks. */
export async function* logLines(options: LogLinesOptions, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
  const { follows, tailLines } = options;
  const tail = tailLines === undefined ? "" : `&tailLines=${tailLines}`;
  const path = `${logPath(options)}&follow=${String(follows)}${tail}`;
  const stream = await options.transport.open({ purpose: "log", method: "GET", path, accept: "*/*" }, signal);
  if (stream.status !== 200)
    throw refused({ status: stream.status, body: stream.body }, `read the log of the pod ${options.pod}`);
  try {
    let isFirst = true;
    for await (const line of stream.lines) {
      if (isFirst && NO_LOG.test(line))
        throw new Failure("retry", "NoLog", `The node has no log of the pod ${options.pod} any more.`);
      isFirst = false;
      yield line;
    }
  } catch (error) {
    if (error instanceof Failure && error.code === "NoLog") throw error;
    // A stream that ends within a line is broken, except that a program may end so.
    const last = await readLog(options, { tailLines: "1" }, signal);
    if (last === undefined || last === "" || last.endsWith("\n")) throw error;
    yield last;
  }
}

async function readLog(
  { namespace, pod, container, ...sending }: LogOptions,
  more: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const path = `${logPath({ namespace, pod, container })}&${new URLSearchParams(more).toString()}`;
  const told = await ask(sending, { purpose: "log", method: "GET", path, accept: "*/*" }, signal);
  const log = told.kind === "told" && told.answer.status === 200 ? text(told.answer.body) : undefined;
  return log === undefined || NO_LOG.test(log) ? undefined : log;
}

/** A kubelet that has removed a container's log answers 200 with this sentence, as if the program had printed it. */
const NO_LOG = /^unable to retrieve container logs for \S+\s*$/i;

const logPath = ({ namespace, pod, container }: Pick<LogOptions, "namespace" | "pod" | "container">): string =>
  `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log?${new URLSearchParams({ container }).toString()}`;

function cut(bytes: Buffer, most: number, alreadyCut: boolean): LogTail {
  const lines = countLines(bytes);
  let from = Math.max(0, bytes.length - most);
  // The cut must not fall into the middle of a character: the following bytes of a UTF-8 character begin with the bits 10.
  while (from > 0 && from < bytes.length && ((bytes[from] ?? 0) & 0xc0) === 0x80) from++;
  // Postgres cannot store NUL in text; the symbol for NUL shows where one was.
  const tail = bytes.subarray(from).toString("utf8").replaceAll("\u0000", "\u2400");
  return { state: from > 0 || alreadyCut ? "truncated" : "complete", lines, tail };
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) lines++;
  return bytes.length > 0 && bytes[bytes.length - 1] !== 10 ? lines + 1 : lines;
}
