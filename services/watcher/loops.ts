/**
 * The watcher's loops over given parts, so that the simulation runs the same ones. Each group has its own, so that a dead
 * cluster hurts no other.
 */
import type { Loop } from "@longshore/runtime/loop.ts";
import type { Parts } from "./parts.ts";
import { watchGroup } from "./watch-group.ts";

export const watcherLoops = (parts: Parts): Readonly<Record<string, Loop>> =>
  Object.fromEntries(
    parts.clusters.map((cluster) => [`watch ${cluster.name}`, (signal: AbortSignal) => watchGroup(parts, cluster, signal)]),
  );
