/**
 * Stories of one follower: the server's script, the changes that the follower reports, and the versions that it watches from.
 *
 * The bug this prevents: a test that misses changes because it begins, listens or stops in its own way.
 */
import type { Test } from "tap";
import { type Change, follow } from "../follow/follow.ts";
import { object, page, type Play, scripted } from "./scripted.ts";
import { virtualClock } from "./virtual-clock.ts";

export const list = (names: readonly string[], version: string, next?: string): Play => ({
  answer: 200,
  body: page(names, version, next),
});
/** The server's answer when the follower asks for its version, before a broken watch goes on. */
export const store = (version: string): Play => list([], version);
export const added = (name: string, version: string) => ({ type: "ADDED", object: object(name, version) });
export const deleted = (name: string, version: string) => ({ type: "DELETED", object: object(name, version) });
export const bookmark = (version: string) => ({
  type: "BOOKMARK",
  object: { kind: "Job", metadata: { resourceVersion: version } },
});

export interface Story {
  readonly name: string;
  readonly plays: readonly Play[];
  readonly pollMs?: number;
  /** The changes that the follower reports until the script is played out, in words. */
  readonly want: readonly string[];
  /** The versions that watches began from. */
  readonly watchedFrom?: readonly string[];
}

/** Follows until as many changes are reported as are expected, and compares. */
export async function tells(t: Test, { plays, pollMs, want, watchedFrom }: Story): Promise<void> {
  const transport = scripted(plays);
  const stop = new AbortController();
  const said: string[] = [];
  const clock = virtualClock();
  for await (const change of follow({
    transport,
    clock,
    kind: "jobs",
    namespace: "batch",
    selector: "ours=yes",
    signal: stop.signal,
    pollMs,
  })) {
    said.push(words(change));
    if (said.length === want.length) {
      // If the follower has not asked for the last watch yet, it does so when this loop asks for the next change.
      if (watchedFrom && watched(transport.requests).length < watchedFrom.length) continue;
      stop.abort();
    }
    if (said.length > want.length) stop.abort();
  }
  t.same(said.slice(0, want.length), want);
  if (watchedFrom) t.same(watched(transport.requests), watchedFrom, "versions watched from");
}

export function words(change: Change): string {
  const name = (it: unknown) => (it as { metadata: { name: string } }).metadata.name;
  switch (change.kind) {
    case "listing":
      return `listing ${change.reason}`;
    case "seen":
      return `${change.listed ? "listed" : "seen"} ${name(change.object)}`;
    case "gone":
      return `gone ${name(change.object)}`;
    case "listed":
      return `synced ${change.resourceVersion}`;
    case "alive":
      return "alive";
    case "broken":
      return `broken ${change.reason}`;
  }
}

function watched(requests: readonly { readonly path: string }[]): string[] {
  const queries = requests.map((it) => new URL(it.path, "http://any").searchParams).filter((it) => it.get("watch") === "true");
  return queries.map((it) => it.get("resourceVersion") ?? "");
}
