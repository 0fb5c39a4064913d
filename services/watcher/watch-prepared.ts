/**
 * One group's prepared Jobs and CronJobs: sees which there are, and tells what they would run.
 *
 *   follow metadata of Jobs, CronJobs ─▶ annotated? ─▶ GET ─▶ definition.seen
 *                                    └─▶ was known, and is no longer annotated or there ─▶ definition.gone
 *
 * No selector knows annotations, so the metadata of all objects passes by. The bug this prevents: memory that grows with ten thousand
 * Jobs of others: only annotated objects are remembered, and only these are read whole. Longshore's own Jobs are not even listed.
 */
import { createHash } from "node:crypto";
import type { Uid } from "@longshore/contract/ids.ts";
import type { PreparedKind } from "@longshore/contract/messages/fact.ts";
import { LABELS } from "@longshore/domain/run/marks.ts";
import { isPrepared, type PreparedSeen, seePrepared } from "@longshore/domain/prepared/see.ts";
import { at, field, text } from "@longshore/domain/watch/raw.ts";
import { type Loop, together } from "@longshore/runtime/loop.ts";
import type { Parts, Watched } from "./parts.ts";
import type { PublishFact } from "./publish-facts.ts";

/** More annotated objects of one kind are not told: a catalogue is for people. */
const PREPARED_MOST = 1_000;
const OTHERS = `!${LABELS.installation}`;

interface Known {
  /** The version that was read. */
  readonly resourceVersion: string;
  /** A digest of what was told: an object changes more often than what is to be told of it. */
  readonly told: string;
}

interface Telling {
  readonly tell: PublishFact;
  readonly annotation: readonly [key: string, value: string];
}

export function watchPrepared(parts: Omit<Parts, "clusters">, cluster: Watched, { tell, annotation }: Telling): Loop {
  return async (signal) =>
    void (await together(signal, {
      jobs: (signal) => watchKind("Job", signal),
      cronJobs: (signal) => watchKind("CronJob", signal),
    }));

  async function watchKind(kind: PreparedKind, signal: AbortSignal): Promise<void> {
    const known = new Map<Uid, Known>();
    const of = { installation: parts.installation, group: cluster.name, kind };
    let listed = new Set<Uid>();
    let toldUids: string | undefined;

    for await (const change of cluster.follow({
      kind: kind === "Job" ? "jobs" : "cronjobs",
      as: "metadata",
      selector: OTHERS,
      signal,
    })) {
      if (change.kind === "broken")
        parts.log.debug("a watch for prepared objects broke and is started again", {
          group: cluster.name,
          kind,
          reason: change.reason,
          said: change.message,
        });
      else if (change.kind === "listing") listed = new Set();
      else if (change.kind === "seen") {
        const uid = await seen(change.object);
        if (uid !== undefined && change.listed) listed.add(uid);
      } else if (change.kind === "gone") await lost(uidOf(change.object), change.object);
      else if (change.kind === "listed") await allListed(change.resourceVersion);
    }

    /** Returns the UID of an annotated object. */
    async function seen(object: unknown): Promise<Uid | undefined> {
      const uid = uidOf(object);
      if (uid === undefined) return undefined;
      if (!isPrepared(object, annotation)) {
        await lost(uid, object);
        return undefined;
      }
      if (known.get(uid)?.resourceVersion === versionOf(object)) return uid;
      if (!known.has(uid) && known.size >= PREPARED_MOST) {
        parts.log.warn("a group has more prepared objects than are told", { group: cluster.name, kind, most: PREPARED_MOST });
        return undefined;
      }
      const prepared = await read(object, uid);
      if (prepared === undefined) return uid;
      const content = digestOf(prepared);
      const isNews = known.get(uid)?.told !== content;
      known.set(uid, { resourceVersion: prepared.resourceVersion, told: content });
      if (!isNews) return uid;
      await tell("definition.seen", { ...of, ...prepared }, signal);
      return uid;
    }

    /** Nothing if the object is gone or changed again: the watch shows that next. */
    async function read(object: unknown, uid: Uid): Promise<PreparedSeen | undefined> {
      const name = text(at(object, "metadata", "name"), 253) ?? "";
      for (let failures = 0; !signal.aborted; await parts.pause(++failures, signal)) {
        const got = kind === "Job" ? await cluster.read.getJob(name, signal) : await cluster.read.getCronJob(name, signal);
        if (got.kind === "missing") return undefined;
        if (got.kind !== "found") continue;
        const prepared = seePrepared(got.object.raw, kind, annotation[0]);
        return prepared?.uid === uid && isPrepared(got.object.raw, annotation) ? prepared : undefined;
      }
      return undefined;
    }

    async function lost(uid: Uid | undefined, object: unknown): Promise<void> {
      if (uid === undefined || !known.delete(uid)) return;
      await tell("definition.gone", { ...of, uid, resourceVersion: versionOf(object) ?? "0" }, signal);
    }

    /** Also tells a launcher what vanished while no watcher ran. */
    async function allListed(resourceVersion: string): Promise<void> {
      for (const uid of known.keys()) if (!listed.has(uid)) known.delete(uid);
      const uids = [...known.keys()].toSorted();
      listed = new Set();
      if (toldUids === uids.join()) return;
      toldUids = uids.join();
      await tell("definitions.listed", { ...of, resourceVersion, uids }, signal);
    }
  }
}

/** Its version changes with each change of its status, which nobody needs to hear of. */
const digestOf = (prepared: PreparedSeen): string =>
  createHash("sha256")
    .update(JSON.stringify({ ...prepared, resourceVersion: undefined }))
    .digest("base64");

const uidOf = (object: unknown): Uid | undefined => text(at(object, "metadata", "uid"), 64) as Uid | undefined;
const versionOf = (object: unknown): string | undefined => text(field(field(object, "metadata"), "resourceVersion"), 32);
