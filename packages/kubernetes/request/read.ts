/**
 * Reads of one group's namespace: authoritative GETs, and listings page by page.
 *
 * The bugs this prevents: a stale or partial view taken for the truth. No read here names a resourceVersion, so every one is
 * answered from the store and not from a cache; "missing" is said only if the API server itself said it; a listing that had to
 * begin anew says so.
 */
import { Failure } from "@longshore/contract/problem.ts";
import { asFailure } from "./deadline.ts";
import { type ApiObject, asList, asObject, asStatus, saysMissing, wordsOf } from "../objects.ts";
import { type ClusterRequest, type Sending, sendInTime } from "./purpose.ts";
import { networkCode, TOO_LONG } from "./silence.ts";
import type { ApiAnswer } from "../transport.ts";

/** No answer, or an answer that is neither the object nor its absence: domain/diagnosis/replies reads the status. */
export type Unread =
  | { readonly kind: "answered"; readonly status: number; readonly body: unknown }
  | { readonly kind: "unsent" | "unanswered"; readonly failure: Failure };

export type Got = { readonly kind: "found"; readonly object: ApiObject } | { readonly kind: "missing" } | Unread;

/** The listing is complete as of one version of the store; never only a part. */
export type Listed = { readonly kind: "listed"; readonly items: readonly unknown[]; readonly resourceVersion: string } | Unread;

export type Page =
  | { readonly kind: "page"; readonly items: readonly unknown[]; readonly resourceVersion: string; readonly last: boolean }
  /** The token of the next page had expired: the pages so far are void, and the first page follows. */
  | { readonly kind: "restarted" };

/** "metadata" asks for PartialObjectMetadata: a fraction of the bytes if names, UIDs and labels are enough. */
export type Detail = "full" | "metadata";

export interface ListOptions {
  readonly selector?: string;
  readonly pageSize?: number;
  readonly as?: Detail;
  readonly signal: AbortSignal;
}

export interface Reads {
  getJob(name: string, signal: AbortSignal): Promise<Got>;
  getPod(name: string, signal: AbortSignal): Promise<Got>;
  /** The group's own namespace; its UID tells one cluster from another behind the same address. */
  getNamespace(signal: AbortSignal): Promise<Got>;
  /** Throws `Failure` if a page cannot be had: a listing is whole or it fails. */
  listJobs(options: ListOptions): AsyncIterable<Page>;
  listPods(options: ListOptions): AsyncIterable<Page>;
  /** Returns the pods that the Job controller made for this Job, orphaned ones too. */
  podsOf(jobUid: string, signal: AbortSignal): Promise<Listed>;
  /** Returns events about one object. Events carry no labels, so the query is by the object's UID. At most 200, in no order. */
  eventsOf(uid: string, signal: AbortSignal): Promise<Listed>;
  listQuotas(signal: AbortSignal): Promise<Listed>;
}

export interface ReadOptions extends Sending {
  readonly namespace: string;
}

const RESTARTS_MAX = 5;
/** More pages than any namespace has; a server that always has one more page is not listing anything. */
const PAGES_MAX = 10_000;
const PODS_MAX = 2_000;
export const METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

export function openReads({ transport, clock, namespace }: ReadOptions): Reads {
  const space = encodeURIComponent(namespace);
  const jobs = `/apis/batch/v1/namespaces/${space}/jobs`;
  const core = `/api/v1/namespaces/${space}`;

  const send: Send = (request, signal) => sendInTime({ transport, clock }, request, signal);

  async function get(purpose: "read" | "probe", path: string, name: string, signal: AbortSignal): Promise<Got> {
    const answer = await told(() => send({ purpose, method: "GET", path }, signal));
    if (answer.kind !== "told") return answer;
    if (saysMissing(answer.answer, name)) return { kind: "missing" };
    const object = answer.answer.status === 200 ? asObject(answer.answer.body) : undefined;
    return object?.name === name
      ? { kind: "found", object }
      : { kind: "answered", status: answer.answer.status, body: answer.answer.body };
  }

  /** Gathers a small listing. The bound keeps one Job with far too many objects from filling our memory. */
  async function gather(path: string, options: ListOptions & { readonly fieldSelector?: string }, most: number): Promise<Listed> {
    let items: unknown[] = [];
    let resourceVersion = "";
    try {
      for await (const page of listPages(send, path, options)) {
        if (page.kind === "restarted") items = [];
        else {
          items.push(...page.items);
          resourceVersion = page.resourceVersion;
          if (items.length >= most) break;
        }
      }
    } catch (error) {
      return unread(asFailure(error));
    }
    return { kind: "listed", items: items.slice(0, most), resourceVersion };
  }

  return {
    getJob: (name, signal) => get("read", `${jobs}/${encodeURIComponent(name)}`, name, signal),
    getPod: (name, signal) => get("read", `${core}/pods/${encodeURIComponent(name)}`, name, signal),
    getNamespace: (signal) => get("probe", core, namespace, signal),
    listJobs: (options) => listPages(send, jobs, options),
    listPods: (options) => listPages(send, `${core}/pods`, options),
    podsOf: (uid, signal) => gather(`${core}/pods`, { selector: `batch.kubernetes.io/controller-uid=${uid}`, signal }, PODS_MAX),
    eventsOf: (uid, signal) =>
      gather(`${core}/events`, { fieldSelector: `involvedObject.uid=${uid}`, pageSize: 200, signal }, 200),
    listQuotas: (signal) => gather(`${core}/resourcequotas`, { signal }, 200),
  };
}

type Send = (request: ClusterRequest, signal: AbortSignal) => Promise<ApiAnswer>;

/** Yields every page of a listing, in order. Used by `follow` too. */
export async function* listPages(
  send: Send,
  path: string,
  { selector, fieldSelector, pageSize = 500, as = "full", signal }: ListOptions & { readonly fieldSelector?: string },
): AsyncGenerator<Page, void, undefined> {
  const accept = as === "metadata" ? { accept: METADATA_LIST } : {};
  let next: string | undefined;
  let size = pageSize;
  for (let restarts = 0, pages = 0; ; ) {
    const query = new URLSearchParams({ limit: String(size) });
    if (selector) query.set("labelSelector", selector);
    if (fieldSelector) query.set("fieldSelector", fieldSelector);
    if (next) query.set("continue", next);
    let answer: ApiAnswer;
    try {
      answer = await send({ purpose: "list", method: "GET", path: `${path}?${query.toString()}`, ...accept }, signal);
    } catch (error) {
      // If a page was too long, its objects are large: fewer are asked for at a time, else this listing could never be read.
      if (networkCode(error) !== TOO_LONG || size === 1) throw error;
      size = Math.max(1, Math.floor(size / 4));
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
    yield { kind: "page", items: list.items, resourceVersion: list.resourceVersion, last: next === undefined };
    if (next === undefined) return;
  }
}

/** Returns an unexpected answer as a Failure that loops can back off by and people can read. */
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

export function unread(failure: Failure): Unread {
  if (failure instanceof AnswerFailure) return { kind: "answered", status: failure.answer.status, body: failure.answer.body };
  return { kind: failure.code === "unsent" ? "unsent" : "unanswered", failure };
}

/** Returns the answer, or the reason for its absence, as a value. */
export async function told(
  send: () => Promise<ApiAnswer>,
): Promise<{ readonly kind: "told"; readonly answer: ApiAnswer } | Unread> {
  try {
    return { kind: "told", answer: await send() };
  } catch (error) {
    return unread(asFailure(error));
  }
}
