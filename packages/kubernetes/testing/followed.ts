/**
 * Stories of one follower: the server's script, the follower's words, and the versions that it watched from.
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
  /** The follower's words until the script is played out. */
  readonly want: readonly string[];
  /** The versions that watches began from. */
  readonly watchedFrom?: readonly string[];
}

/** Follows until all expected words are said, and compares. */
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
      // If the last watch was not asked for yet, one more turn of the loop asks for it.
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
