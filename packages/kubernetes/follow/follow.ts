/**
 * Follows one kind of object in one namespace for ever: a listing, then a watch, and again whenever the watch cannot go on.
 * Only its signal ends it. With `pollMs` it lists again and again, and never watches.
 *
 *   list (page by page) ──▶ watch ──▶ ended by the server, cut, silent ──▶ is the store as far as we are? ──▶ watch on
 *     ▲                    │                                                  │ no
 *     └────────────────────┴── 410 as status or in the stream, garbage, silent twice, not allowed to watch
 *
 * The bugs this prevents: a watch that went silent and is believed for hours, an informer that stops after one bad answer, a
 * relist that holds 50,000 objects in memory, and objects that vanished in a gap: the caller compares the objects "seen"
 * between "listing" and "listed" with those that it knew.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { type Linked, linked } from "@longshore/runtime/loop.ts";
import { asList } from "../objects.ts";
import { asFailure, type Channel, PURPOSES, sendInTime, timedOut, within } from "../request/purpose.ts";
import { listPages, METADATA, refused } from "../request/read.ts";
import type { ApiStream } from "../transport.ts";
import type { BreakReason, ListReason, StreamEnd, Verdict } from "./stream-end.ts";
import { isOlder, listReason, readLine, refusedWatch, streamEndOf } from "./stream-end.ts";

export type Change =
  /** A listing begins (again): from here to "listed" it shows every object there is. */
  | { readonly kind: "listing"; readonly reason: ListReason }
  | { readonly kind: "seen"; readonly object: unknown; readonly listed: boolean }
  /** The object left the selection: it was deleted, or its label was removed. `object` is its last state. */
  | { readonly kind: "gone"; readonly object: unknown }
  /** `asOfMs` is when the listing began: no older change can have been missed. */
  | { readonly kind: "listed"; readonly resourceVersion: string; readonly asOfMs: number }
  /** A bookmark: nothing happened, and the watch is alive. */
  | { readonly kind: "alive" }
  /** From here on the view is not fresh, until the next "listed", "seen", "gone" or "alive". */
  | { readonly kind: "broken"; readonly reason: BreakReason; readonly message: string; readonly retryInMs: number };

export interface FollowOptions {
  readonly transport: Channel;
  readonly clock: Clock;
  readonly kind: "jobs" | "pods" | "cronjobs";
  /** "metadata" shows PartialObjectMetadata: enough to see which of ten thousand objects are worth a look. */
  readonly as?: "full" | "metadata";
  readonly namespace: string;
  readonly selector: string;
  readonly signal: AbortSignal;
  readonly pageSize?: number;
  /** After this time without an event or a bookmark, the connection counts as dead. Servers send a bookmark each minute. */
  readonly stallMs?: number;
  readonly backOff?: { readonly firstMs: number; readonly mostMs: number };
  /** Lists this often and never watches, for clusters that allow no watch. */
  readonly pollMs?: number | undefined;
}

/** If a watch lived this long, its end is no failure. */
const HEALTHY_MS = 10_000;

const ROOT = { jobs: "/apis/batch/v1", cronjobs: "/apis/batch/v1", pods: "/api/v1" } as const;

export async function* follow(options: FollowOptions): AsyncGenerator<Change, void, undefined> {
  const { clock, signal } = options;
  const { firstMs, mostMs } = options.backOff ?? { firstMs: 500, mostMs: 10_000 };
  let from: string | undefined;
  let why: ListReason = "start";
  let failures = 0;
  let doubted = false;

  while (!signal.aborted) {
    let ending: StreamEnd;
    try {
      const behind = from !== undefined && doubted ? await isBehind(options, from) : undefined;
      // A listing that works does not show that watching works: only a watch that lived resets the failures.
      from ??= yield* list(options, why);
      if (options.pollMs !== undefined) {
        [from, why, failures, doubted] = [undefined, "poll", 0, false];
        await clock.sleep(options.pollMs, signal);
        continue;
      }
      ending = behind ?? (yield* watch(options, from));
    } catch (error) {
      ending = streamEndOf(asFailure(error), from);
    }
    if (signal.aborted) return;
    failures = failuresAfter(ending, failures);
    doubted = ending.reason !== "ended";
    from = ending.reason === "silent" && failures >= 2 ? undefined : ending.from;
    if (from === undefined) why = listReason(ending.reason, why);
    const patience =
      failures === 0 ? 0 : Math.min(mostMs, firstMs * 2 ** Math.min(failures - 1, 16)) * (0.5 + clock.random() / 2);
    const retryInMs = Math.round(Math.max(patience, ending.waitMs ?? 0));
    yield { kind: "broken", reason: ending.reason, message: ending.message, retryInMs };
    if (retryInMs > 0) await clock.sleep(retryInMs, signal);
  }
}

function failuresAfter({ reason, livedMs, progress }: StreamEnd, before: number): number {
  if (reason === "silent") return before + 1;
  if (livedMs >= HEALTHY_MS || reason === "poll") return 0;
  // A watch that brought news and ended early counts as one failure, else a hostile server could make us reopen it without
  // pause.
  return progress && (reason === "ended" || reason === "cut") ? 1 : before + 1;
}

async function* list(options: FollowOptions, reason: ListReason): AsyncGenerator<Change, string, undefined> {
  const { clock, selector, signal, pageSize = 500, as } = options;
  let asOfMs = clock.now();
  let resourceVersion = "";
  yield { kind: "listing", reason };
  for await (const page of listPages(options, pathOf(options), { selector, pageSize, signal, ...(as && { as }) })) {
    if (page.kind === "restarted") {
      asOfMs = clock.now();
      yield { kind: "listing", reason: "pageExpired" };
      continue;
    }
    resourceVersion = page.resourceVersion;
    for (const object of page.items) yield { kind: "seen", object, listed: true };
  }
  yield { kind: "listed", resourceVersion, asOfMs };
  return resourceVersion;
}

/**
 * Asks whether the API server is behind us: it may have been restored from an older snapshot of etcd. A watch from our newer
 * version would then be silent, and look as healthy as the watch of a quiet namespace.
 */
async function isBehind(options: FollowOptions, from: string): Promise<StreamEnd | undefined> {
  const { selector, signal } = options;
  const query = new URLSearchParams({ limit: "1", labelSelector: selector });
  const path = `${pathOf(options)}?${query.toString()}`;
  const answer = await sendInTime(options, { purpose: "list", method: "GET", path }, signal);
  const store = answer.status === 200 ? asList(answer.body)?.resourceVersion : undefined;
  if (store === undefined) throw refused(answer, `list ${path}`);
  if (!isOlder(store, from)) return undefined;
  const message = `The API server is at version ${store}, although it told us of ${from} before: it was set back.`;
  return { reason: "ahead", message, from: undefined, progress: false, livedMs: 0 };
}

async function* watch(options: FollowOptions, since: string): AsyncGenerator<Change, StreamEnd, undefined> {
  const { clock, signal, stallMs = 90_000 } = options;
  const stop = linked(signal);
  const pulse = { waitingSinceMs: undefined as number | undefined, silent: false };
  const openedMs = clock.now();
  let from = since;
  let progress = false;
  let opened = false;
  const ended = (ending: Verdict): StreamEnd => ({ ...ending, progress, livedMs: clock.now() - openedMs });
  const broken = (reason: "ended" | "cut" | "unreachable", message: string): StreamEnd =>
    pulse.silent
      ? ended({ reason: "silent", message: `Neither an event nor a bookmark came for ${stallMs} ms.`, from })
      : ended({ reason, message, from });
  try {
    const stream = await begin(options, since, stop);
    if (stream.status !== 200) return ended(refusedWatch(stream, pathOf(options), since));
    opened = true;
    void deadMan(clock, stallMs, pulse, stop);
    for await (const line of timed(clock, stream.lines, pulse)) {
      if (line === "") continue; // no API server sends one, and it is no event
      const event = readLine(line);
      if (event.kind === "ending") return ended(event.ending);
      progress = true;
      from = event.version;
      yield event.change;
    }
    return broken("ended", "The API server ended the watch.");
  } catch (error) {
    return broken(opened ? "cut" : "unreachable", asFailure(error).message);
  } finally {
    stop.abort();
    stop.release();
  }
}

/** The stream uses its signal even after it was opened, so the time limit of the opening must abort that same signal. */
async function begin(options: FollowOptions, since: string, stop: Linked): Promise<ApiStream> {
  const { transport, clock, selector, as } = options;
  const accept = as === "metadata" ? { accept: METADATA } : {};
  const query = new URLSearchParams({
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion: since,
    // Jitter: otherwise all watches would end, and begin again, in the same second.
    timeoutSeconds: String(240 + Math.floor(clock.random() * 61)),
    labelSelector: selector,
  });
  return await within(clock, PURPOSES.watch.withinMs, stop.signal, (inner) => {
    inner.addEventListener("abort", () => timedOut(inner) && stop.abort(inner.reason), { once: true });
    return transport.open(
      { purpose: "watch", method: "GET", path: `${pathOf(options)}?${query.toString()}`, ...accept },
      stop.signal,
    );
  });
}

/** Counts silence only while we wait for the next line: a slow reader of ours is not the server's silence. */
async function* timed(
  clock: Clock,
  lines: AsyncIterable<string>,
  pulse: { waitingSinceMs: number | undefined },
): AsyncGenerator<string, void, undefined> {
  pulse.waitingSinceMs = clock.now();
  for await (const line of lines) {
    pulse.waitingSinceMs = undefined;
    yield line;
    pulse.waitingSinceMs = clock.now();
  }
}

/** Aborts a watch that went silent. Runs one timer for each `stallMs`, however many lines come. */
async function deadMan(
  clock: Clock,
  stallMs: number,
  pulse: { waitingSinceMs: number | undefined; silent: boolean },
  stop: Linked,
): Promise<void> {
  for (let rest = stallMs; !stop.signal.aborted; ) {
    await clock.sleep(rest, stop.signal);
    const waited = pulse.waitingSinceMs === undefined ? 0 : clock.now() - pulse.waitingSinceMs;
    if (waited >= stallMs && !stop.signal.aborted) {
      pulse.silent = true;
      stop.abort(new Failure("retry", "unanswered", "The watch went silent."));
    }
    rest = Math.max(1, stallMs - waited);
  }
}

function pathOf({ kind, namespace }: FollowOptions): string {
  return `${ROOT[kind]}/namespaces/${encodeURIComponent(namespace)}/${kind}`;
}
