/**
 * Announces the groups, and how each is reached, to watchers without a groups file: at start, when the files change, when a
 * watcher asks, and every half minute.
 *
 *   groups file, token files ─▶ look ─▶ new content gets a version and is sealed ─▶ group.announced … groups.announced
 *                                           groups.asked ─▶ the same again, at once
 *
 * The bugs this prevents: the launcher's own credential on the broker; a watcher that goes on with a token that was rotated
 * long ago; and two launchers that overrule each other in turns. A version is made when this launcher reads content that it did
 * not know, never when it repeats an announcement.
 */
import {
  boundTo,
  type ControlData,
  controlKey,
  type ControlType,
  type WatchCredential,
} from "@longshore/contract/messages/control.ts";
import { readControl, writeControl } from "@longshore/contract/messages/envelope.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import type { Access, Look, WatchAccess } from "@longshore/kubernetes/access/watch-access.ts";
import { openWatchAccess, problemsIn } from "@longshore/kubernetes/access/watch-access.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { again, wakeUp, type Loop, together } from "@longshore/runtime/loop.ts";
import { openSeal, type Seal } from "@longshore/runtime/seal.ts";
import type { LauncherConfig } from "../config.ts";
import type { Parts } from "../parts.ts";
import { ANNOUNCE_MS } from "../timing.ts";

export interface Announcing {
  readonly seal: Seal;
  readonly access: WatchAccess;
  readonly timing: AnnounceTiming;
}

export interface AnnounceTiming {
  /** The time between two reads of the files. */
  readonly lookMs: number;
  /** The time between two announcements that nobody asked for. */
  readonly againMs: number;
  /** Pause after an announcement: all watchers that ask within it are answered together. */
  readonly restMs: number;
}

/** Returns undefined without a seal key. Throws `ConfigProblems` for groups that cannot be announced. */
export async function openAnnouncing(
  { installation, groupsFile, sealKeyFile, pace }: Pick<LauncherConfig, "installation" | "groupsFile" | "sealKeyFile" | "pace">,
  options: { readonly clock: Clock; readonly log: Log },
): Promise<Announcing | undefined> {
  if (sealKeyFile === undefined) return undefined;
  const seal = openSeal(sealKeyFile.reveal(), installation);
  return { seal, access: await openWatchAccess(groupsFile, options), timing: announceTiming(pace.announce) };
}

export const announceTiming = (againMs = ANNOUNCE_MS): AnnounceTiming => ({
  lookMs: Math.min(5_000, againMs / 2),
  againMs,
  restMs: 200,
});

/** One group's announcement, kept until its content changes. */
interface Said {
  readonly content: string;
  readonly version: number;
  readonly id: string;
  readonly body: Uint8Array;
}

type AnnounceParts = Pick<Parts, "installation" | "owner" | "clock" | "log" | "broker" | "clusters" | "pause">;

export function announce(parts: AnnounceParts, announcing: Announcing): Loop {
  const { clock, broker, installation, log, pause } = parts;
  const asked = wakeUp(clock);
  const announcements = openAnnouncements(parts, announcing);

  async function hear(signal: AbortSignal): Promise<void> {
    const heard = await broker.listen(controlKey(installation, "groups.asked"), { inFlightMax: 16, signal });
    for await (const body of heard) {
      const read = readControl(body);
      if (read.kind === "control" && read.control.type === "groups.asked") asked.wake();
    }
  }

  async function say(signal: AbortSignal): Promise<void> {
    for (let lastMs: number | undefined, wanted = true; !signal.aborted; ) {
      if (await announcements.look()) wanted = true;
      if (wanted || lastMs === undefined || clock.now() - lastMs >= announcing.timing.againMs) {
        for (const { type, id, body } of announcements.all())
          await broker.broadcast({ id, key: controlKey(installation, type), body }, signal);
        lastMs = clock.now();
        await clock.sleep(announcing.timing.restMs, signal);
      }
      wanted = (await asked.wait(announcing.timing.lookMs, signal)) === "woken";
    }
  }

  /** True for passing failures of the broker: an announcement that was lost with its connection is repeated soon. */
  const passes = (error: unknown, failures: number): boolean => {
    if (!isTransient(error)) return false;
    log.warn("the groups could not be announced yet", { failures, code: error.code, error: error.message });
    return true;
  };
  const lasting = { clock, pause, passes };
  return async (signal) => void (await together(signal, { hear: again(lasting, hear), say: again(lasting, say) }));
}

interface Message {
  readonly type: ControlType;
  readonly id: string;
  readonly body: Uint8Array;
}

/** The announcement of each group, and its version. */
function openAnnouncements({ installation, owner, clock, log, clusters }: AnnounceParts, { seal, access, timing }: Announcing) {
  const source = `/longshore/${installation}/launcher`;
  let groups: ReadonlyMap<GroupName, Said> = new Map();
  let problem = "";
  let count = 0;

  function sealed(
    { name: group, namespace, server, authorization, trust, pollMs, annotation }: Access,
    content: string,
    version: number,
  ): Said {
    const { ca, cert, key, serverName, verify } = trust;
    const cluster = { server, verify, ...(ca !== undefined && { ca }), ...(serverName !== undefined && { serverName }) };
    const credential: WatchCredential = { authorization, cert, key };
    const poll = pollMs !== undefined && { pollSeconds: pollMs / 1000 };
    const data = {
      installation,
      launcher: owner,
      group,
      version,
      namespace,
      cluster,
      ...poll,
      ...(annotation !== undefined && { annotation }),
    };
    const box = seal.seal(JSON.stringify(credential), boundTo("group.announced", data));
    const id = `${owner}/announce/${++count}`;
    return { content, version, id, body: writeControl({ id, source, type: "group.announced", data: { ...data, sealed: box } }) };
  }

  function said(found: Access): Said {
    const before = groups.get(found.name);
    const content = JSON.stringify(found);
    if (before?.content === content) return before;
    log.info("a group is announced", { group: found.name, server: found.server, sealedWith: seal.key });
    return sealed(found, content, Math.max(clock.now(), (before?.version ?? 0) + 1));
  }

  /** A file may be wrong in the middle of a rotation, or by mistake. Each problem is logged once. */
  function complain(problems: readonly string[]): void {
    const now = problems.join("; ");
    if (now !== "" && now !== problem)
      log.warn("the files have a mistake, so their earlier content is announced", { problem: now });
    problem = now;
  }

  /** Returns undefined if the groups file does not even say which groups there are. */
  async function looked(): Promise<readonly Look[] | undefined> {
    try {
      const found = await access.look();
      complain(problemsIn(found));
      return found;
    } catch (error) {
      if (!(error instanceof ConfigProblems)) throw error;
      complain([error.message]);
      return undefined;
    }
  }

  /** Returns true if there is something new to announce. */
  async function look(): Promise<boolean> {
    const found = await looked();
    if (found === undefined) return false;
    const now = new Map(groups);
    for (const it of found) if (!("problem" in it)) now.set(it.name, said(it));
    const named = new Set(found.map(({ name }) => name));
    // A group that left the file stays this launcher's until the launcher restarts: somebody must watch its Jobs.
    for (const name of groups.keys()) if (!named.has(name) && !clusters.has(name)) now.delete(name);
    const changed = now.size !== groups.size || [...now].some(([name, it]) => groups.get(name) !== it);
    groups = now;
    return changed;
  }

  /** Returns each group's message, and last the message that names all groups: a listener then has each group already. */
  function all(): readonly Message[] {
    const named = [...groups].map(([group, { version }]) => ({ group, version }));
    const data: Omit<ControlData<"groups.announced">, "sealed"> = {
      installation,
      launcher: owner,
      at: new Date(clock.now()).toISOString(),
      againSeconds: timing.againMs / 1000,
      groups: named,
    };
    const id = `${owner}/announce/${++count}`;
    const box = seal.seal("", boundTo("groups.announced", data));
    const body = writeControl({
      id,
      source,
      type: "groups.announced",
      data: { ...data, sealed: box } as ControlData<"groups.announced">,
    });
    const each = [...groups.values()].map((it): Message => ({ type: "group.announced", id: it.id, body: it.body }));
    return [...each, { type: "groups.announced", id, body }];
  }

  return { look, all };
}
