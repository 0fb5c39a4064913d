/**
 * One watch: the changes after a version, then every change as it comes, with bookmarks and an end.
 *
 * The bug this prevents: a watch kinder than a real one. An object that leaves the selector is DELETED for this reader; a
 * version that was compacted is an ERROR in the stream; the server ends every watch after its time.
 */
import { pick } from "../controllers/delays.ts";
import type { Parts } from "../controllers/parts.ts";
import { createLines, type Lines } from "./lines.ts";
import { type ApiObject, apiVersionOf, KINDS, textOf } from "../objects.ts";
import { type Asked, type Chosen, type Shape, selection, wholeNumber } from "./query.ts";
import { shaped } from "./read.ts";
import { expired } from "./status.ts";
import type { Change } from "./store.ts";

export interface WatchParts extends Parts {
  /** The watch's own key in the agenda. */
  readonly key: string;
}

const LINES_MOST = 100_000;
const LONGEST_WATCH_SECONDS = 1_800;
const BOOKMARK_MS = 60_000;

export function openWatch(parts: WatchParts, asked: Asked, shape: Shape, closed: () => void): Lines {
  const { store, clock, agenda, delays, key } = parts;
  const chosen = selection(asked.query);
  const wanted = asked.query.get("resourceVersion") ?? "";
  const past = wanted === "" || wanted === "0" ? [] : store.since(Number(wanted));
  const lines = createLines(LINES_MOST, () => {
    unlisten();
    for (const it of ["", ":bookmark", ":last", ":end"]) agenda.cancel(`${key}${it}`);
    closed();
  });
  const queue: { readonly atMs: number; readonly line: string }[] = [];
  let lateUntilMs = 0;

  function tell(line: string): void {
    const atMs = Math.max(lateUntilMs, clock.now() + pick(delays.watchMs, clock));
    lateUntilMs = atMs;
    if (queue.length === 0 && atMs <= clock.now()) return lines.push(line);
    queue.push({ atMs, line });
    agenda.soon(key, atMs - clock.now(), deliver);
  }

  function deliver(): void {
    while (queue[0] !== undefined && queue[0].atMs <= clock.now()) lines.push(queue.shift()?.line ?? "");
    if (queue[0] !== undefined) agenda.at(key, queue[0].atMs, deliver);
  }

  // If the version is not reached yet, the client gets no changes and no error until then.
  const after = wanted === "" ? 0 : Number(wanted);
  const hear = (change: Change): void => {
    if (change.version <= after) return;
    const line = lineFor(change, asked, chosen, shape);
    if (line !== undefined) tell(line);
  };
  const bookmark = (): void => {
    if (store.version() >= after) tell(bookmarkLine(asked, shape, store.version()));
  };
  const unlisten = store.listen(hear);

  if (past === undefined) {
    const { body } = expired(`too old resource version: ${wanted} (${store.oldest()})`).answer;
    lines.push(`{"type":"ERROR","object":${JSON.stringify(body)}}`);
    lines.end();
    return lines;
  }
  if (wanted === "" || wanted === "0") {
    for (const it of store.list(asked.resource, asked.namespace)) if (chosen(it)) tell(event("ADDED", it, shape));
  }
  for (const change of past) hear(change);
  keepTime(parts, asked, bookmark, lines);
  return lines;
}

/** Sends a bookmark every minute and one two seconds before the watch's end, then ends the watch. */
function keepTime({ clock, agenda, key }: WatchParts, asked: Asked, bookmark: () => void, lines: Lines): void {
  const forMs = (wholeNumber(asked.query, "timeoutSeconds") ?? LONGEST_WATCH_SECONDS) * 1000;
  agenda.at(`${key}:end`, clock.now() + forMs, () => lines.end());
  if (asked.query.get("allowWatchBookmarks") !== "true") return;
  const again = (): void => {
    bookmark();
    agenda.at(`${key}:bookmark`, clock.now() + BOOKMARK_MS, again);
  };
  agenda.at(`${key}:bookmark`, clock.now() + BOOKMARK_MS, again);
  if (forMs > 2_000) agenda.at(`${key}:last`, clock.now() + forMs - 2_000, bookmark);
}

const event = (type: string, object: ApiObject, shape: Shape): string =>
  `{"type":"${type}","object":${shape === "whole" ? textOf(object) : JSON.stringify(shaped(object, shape))}}`;

function lineFor(change: Change, asked: Asked, chosen: Chosen, shape: Shape): string | undefined {
  const { object, before, type } = change;
  if (change.resource !== asked.resource) return undefined;
  if (asked.namespace !== undefined && object.metadata.namespace !== asked.namespace) return undefined;
  if (asked.name !== undefined && object.metadata.name !== asked.name) return undefined;
  const was = before !== undefined && chosen(before);
  const is = type !== "DELETED" && chosen(object);
  if (is) return event(was ? "MODIFIED" : "ADDED", object, shape);
  if (!was) return undefined;
  const last =
    type === "DELETED"
      ? object
      : { ...before, metadata: { ...before.metadata, resourceVersion: object.metadata.resourceVersion } };
  return event("DELETED", last, shape);
}

function bookmarkLine(asked: Asked, shape: Shape, version: number): string {
  const { kind } = KINDS[asked.resource];
  const type =
    shape === "whole"
      ? { kind, apiVersion: apiVersionOf(asked.resource) }
      : { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1" };
  const metadata = { resourceVersion: String(version), creationTimestamp: null };
  return JSON.stringify({ type: "BOOKMARK", object: { ...type, metadata } });
}
