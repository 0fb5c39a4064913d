/**
 * One follower behind the fault proxy, in a namespace of its own, and its picture of the Jobs there: for tests of the faults
 * that it survives.
 *
 * The failure this prevents: a follower that goes on with a wrong picture. After every fault its picture must equal a listing
 * that goes to the API server without the proxy.
 */
import { type Cluster, openClusters } from "@longshore/kubernetes/clusters.ts";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { type ExchangeOptions, openTransport } from "@longshore/kubernetes/request/exchange.ts";
import type { AskNames } from "@longshore/kubernetes/request/cluster-addresses.ts";
import type { Change } from "@longshore/kubernetes/follow/follow.ts";
import { member, text } from "@longshore/kubernetes/objects.ts";
import { openReads } from "@longshore/kubernetes/request/read.ts";
import type { ApiAnswer, ApiRequest, Transport } from "@longshore/kubernetes/transport.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { type FaultProxy, faultProxy } from "./fault-proxy.ts";

/** A cluster for the follower: the pocket over HTTPS, or a real API server. */
export interface Ground {
  readonly url: string;
  readonly ca: string;
  /** Sends requests as a user who may do everything. */
  readonly admin: Transport;
  /** Makes a new namespace, and a token that may only read there. */
  room(): Promise<{ readonly namespace: string; readonly token: string }>;
  /** Makes the server forget every version before this moment. */
  forget(): Promise<void>;
}

export interface StageOptions {
  readonly jobs?: readonly string[];
  readonly pageSize?: number;
  readonly stallMs?: number;
  readonly exchange?: ExchangeOptions;
  /** The follower reaches the server by the name "cluster.test", which this resolver answers. */
  readonly names?: AskNames;
}

export interface Stage extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly url: string;
  /** For each UID the version that the follower last saw. */
  readonly known: ReadonlyMap<string, string>;
  readonly changes: readonly Said[];
  /** The follower's reasons for breaking off and for listing, in order. */
  readonly reasons: () => readonly string[];
  /** Begins to follow. A stage begins by itself unless the test has to plant a fault first. */
  follow(): void;
  /** Resolves when the follower has reported such a change, at any time since its beginning. */
  said(what: (change: Said) => boolean): Promise<void>;
  /** Resolves when the follower's picture is the server's. */
  agreed(): Promise<void>;
  create(name: string): Promise<string>;
  remove(name: string): Promise<void>;
  relabel(name: string, label: string | null): Promise<void>;
  readonly ended: () => string | undefined;
}

/** A change without its object. */
export interface Said {
  readonly kind: Change["kind"];
  readonly reason: string | undefined;
  readonly message: string;
  readonly retryInMs: number;
  readonly uid: string;
}

export const LABEL = "example.org/followed";
const selector = `${LABEL}=yes`;
const AGREED_WITHIN_MS = 60_000;
const AGAIN_MS = 100;
const forever = new AbortController().signal;

export async function stage(ground: Ground, options: StageOptions = {}): Promise<Stage> {
  await using parts = new AsyncDisposableStack();
  const { namespace, token } = await ground.room();
  const proxy = parts.use(await faultProxy(ground));
  const { jobs = [], names, exchange = {} } = options;
  const server = names ? `https://cluster.test:${proxy.port}` : proxy.url;
  const cluster = { server, ca: proxy.ca, ...(names && { serverName: "localhost" }) };
  const connected = await connect({ cluster, credential: { token }, clock });
  if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
  const transport = openTransport(connected.connection, {
    silenceMs: 1_000,
    ...exchange,
    ...(names && { names: { ask: names } }),
  });
  // This file tests the follower's own patience, so the breaker never opens; guard.test.ts tests breakers.
  const clusters = parts.use(openClusters([{ name: "tried", namespace, transport }], { clock, breaker: PATIENT }));
  const hand = handOn(ground, namespace);
  for (const name of jobs) await hand.create(name);

  const stop = new AbortController();
  const view = viewOf();
  let ended: string | undefined;
  let following: Promise<void> | undefined;
  parts.defer(async () => {
    stop.abort();
    await following;
  });
  const tried = clusters.cluster("tried");
  async function run(): Promise<void> {
    const { pageSize, stallMs = 60_000 } = options;
    const backOff = { firstMs: 20, mostMs: 500 };
    const paged = pageSize === undefined ? {} : { pageSize };
    try {
      for await (const change of tried.follow({ kind: "jobs", selector, signal: stop.signal, stallMs, backOff, ...paged }))
        view.note(change);
      ended = stop.signal.aborted ? undefined : "it returned";
    } catch (error) {
      ended = `it threw ${String(error)}`;
    }
    view.wake();
  }

  async function agreed(): Promise<void> {
    const untilMs = clock.now() + AGREED_WITHIN_MS;
    for (let there = await hand.listed(); !same(there, view.known); there = await hand.listed()) {
      if (clock.now() > untilMs)
        throw new Error(
          `the follower's picture never became the server's: ${say(view.known)} known, ${say(there)} there; ${view.changes.map(words).join(", ")}`,
        );
      await view.next(AGAIN_MS);
    }
  }

  async function said(what: (change: Said) => boolean): Promise<void> {
    const untilMs = clock.now() + AGREED_WITHIN_MS;
    while (!view.changes.some(what)) {
      if (ended !== undefined || clock.now() > untilMs)
        throw new Error(`the follower never reported this change, but: ${view.changes.map(words).join(", ")} ${ended ?? ""}`);
      await view.next(1_000);
    }
  }

  const kept = parts.move();
  return {
    proxy,
    cluster: tried,
    namespace,
    url: server,
    known: view.known,
    changes: view.changes,
    reasons: () => view.changes.flatMap((it) => it.reason ?? []),
    follow: () => void (following = run()),
    said,
    agreed,
    ...hand,
    ended: () => ended,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const PATIENT = { failuresMax: 1_000 };
const same = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([uid, version]) => b.get(uid) === version);
const say = (picture: ReadonlyMap<string, string>): string =>
  JSON.stringify([...picture].map(([uid, rv]) => `${uid.slice(0, 8)}@${rv}`));
const words = ({ kind, reason, message }: Said): string => `${kind} ${reason ?? ""} ${message}`.trim();

/** Changes Jobs as the administrator, without the proxy. */
function handOn({ admin }: Ground, namespace: string) {
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  async function must(request: ApiRequest): Promise<ApiAnswer["body"]> {
    const { status, body } = await admin.send(request, forever);
    if (status >= 300) throw new Error(`${request.method} ${request.path} was answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }
  return {
    async create(name: string): Promise<string> {
      const made = await must({ method: "POST", path, body: suspended(name) });
      return text(member(member(made, "metadata"), "uid")) ?? "";
    },
    async remove(name: string): Promise<void> {
      await must({ method: "DELETE", path: `${path}/${name}?propagationPolicy=Background` });
    },
    async relabel(name: string, label: string | null): Promise<void> {
      const body = { metadata: { labels: { [LABEL]: label } } };
      await must({ method: "PATCH", path: `${path}/${name}`, body, contentType: "application/merge-patch+json" });
    },
    async listed(): Promise<ReadonlyMap<string, string>> {
      const there = new Map<string, string>();
      for await (const page of openReads({ transport: admin, clock, namespace }).listJobs({ selector, signal: forever }))
        if (page.kind === "page") for (const it of page.items) there.set(...pictured(it));
      return there;
    },
  };
}

/** A suspended Job makes no pods, so a server without nodes is enough. */
function suspended(name: string): object {
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "example.org/none" }] } };
  const metadata = { name, labels: { [LABEL]: "yes" } };
  return { apiVersion: "batch/v1", kind: "Job", metadata, spec: { suspend: true, backoffLimit: 0, template } };
}

function pictured(object: unknown): [string, string] {
  const metadata = member(object, "metadata");
  return [text(member(metadata, "uid")) ?? "", text(member(metadata, "resourceVersion")) ?? ""];
}

/** The follower's picture: for each UID its version, without the UIDs that a complete listing did not show. */
function viewOf() {
  const known = new Map<string, string>();
  const changes: Said[] = [];
  let listed = new Set<string>();
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    for (const it of waiting) it();
    waiting = [];
  };
  return {
    known,
    changes,
    wake,
    next: (mostMs: number): Promise<void> => {
      const stop = new AbortController();
      waiting.push(() => stop.abort("woken"));
      return clock.sleep(mostMs, stop.signal);
    },
    note(change: Change): void {
      const [uid, version] = "object" in change ? pictured(change.object) : ["", ""];
      if (change.kind === "listing") listed = new Set();
      if (change.kind === "seen") known.set(uid, version);
      if (change.kind === "seen" && change.listed) listed.add(uid);
      if (change.kind === "gone") known.delete(uid);
      if (change.kind === "listed") for (const it of known.keys()) if (!listed.has(it)) known.delete(it);
      const reason = "reason" in change ? change.reason : undefined;
      const { message, retryInMs } = change.kind === "broken" ? change : { message: "", retryInMs: 0 };
      changes.push({ kind: change.kind, reason, message, retryInMs, uid });
      wake();
    },
  };
}
