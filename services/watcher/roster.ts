/**
 * The groups that launchers announced, as far as this watcher believes them. The roster decides and does nothing itself.
 *
 * The bugs this prevents: a group reached at an address that did not come from a launcher; an old announcement that brings back
 * a removed group or earlier content; a group that comes and goes because two launchers read the same file a second apart; and
 * all groups gone because no launcher was heard for a while. Silence changes nothing.
 */
import { boundTo, type Control, type ControlData, WatchCredential } from "@longshore/contract/messages/control.ts";
import { readControl } from "@longshore/contract/messages/envelope.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import { type Access, accessProblem } from "@longshore/kubernetes/access/watch-access.ts";
import type { Seal } from "@longshore/runtime/seal.ts";

/** "older": a newer announcement is known already. "stale": the announcement was sent too long ago to be believed now. */
export type Outcome = "taken" | "same" | "older" | "stale" | "unknownKey" | "tampered" | "unusable" | "unreadable";

export interface Heard {
  readonly outcome: Outcome;
  /** The group that was refused, and a sentence that says what to do. */
  readonly group?: GroupName;
  readonly message?: string;
}

export interface Roster {
  hear(body: Uint8Array, nowMs: number): Heard;
  /** The groups to watch now. */
  groups(): ReadonlyMap<GroupName, Access>;
  /** True if a launcher has named all its groups, and is not overdue to name them again. */
  isFresh(nowMs: number): boolean;
  /** True if a launcher ever named its groups. */
  isTold(): boolean;
  /** Groups that were announced and cannot be used here, each with the reason if it is known. */
  missing(): ReadonlyMap<GroupName, string | undefined>;
}

/**
 * An announcement's time may differ from our clock by this much. If it differs more, a clock is wrong, or somebody sent an old
 * message again.
 */
export const STALE_MS = 10 * 60_000;
/**
 * A launcher may announce older content for this long, since it may not have read its files yet. After that, two launchers
 * disagree.
 */
const OLDER_FOR_MS = 60_000;
/** A launcher that misses this many of its own announcements counts as gone. */
const TURNS_MISSED_MOST = 3;

interface Held {
  readonly access: Access;
  readonly content: string;
  readonly version: number;
  readonly heardMs: number;
  /** Since when another launcher announces other, older content. */
  readonly olderSinceMs?: number;
}

interface Launcher {
  readonly atMs: number;
  readonly untilMs: number;
  readonly versions: ReadonlyMap<GroupName, number>;
}

export function openRoster(installation: Installation, seal: Seal): Roster {
  const held = new Map<GroupName, Held>();
  const refused = new Map<GroupName, string>();
  const launchers = new Map<string, Launcher>();
  /** Every group that a launcher named, with the oldest version that any launcher named. */
  let wanted: ReadonlyMap<GroupName, number> = new Map();

  function announced(data: ControlData<"group.announced">, nowMs: number): Heard {
    const { group, version } = data;
    const opened = seal.open(data.sealed, boundTo("group.announced", data));
    if (opened.kind === "refused") return refuse(group, opened.why, opened.message);
    const access = accessOf(data, opened.text);
    if (typeof access === "string") return refuse(group, "unusable", access);
    const content = JSON.stringify(access);
    const before = held.get(group);
    refused.delete(group);
    // The content is known already. Its newer version is kept, and up to that version other content counts as older.
    if (before?.content === content) {
      held.set(group, { ...before, version: Math.max(version, before.version), heardMs: nowMs });
      return { outcome: "same" };
    }
    if (before !== undefined && version <= before.version) return older(before, version, nowMs);
    held.set(group, { access, content, version, heardMs: nowMs });
    return { outcome: "taken" };
  }

  function older(before: Held, version: number, nowMs: number): Heard {
    const group = before.access.name;
    const { olderSinceMs = nowMs } = before;
    held.set(group, { ...before, olderSinceMs });
    if (nowMs - olderSinceMs < OLDER_FOR_MS) return { outcome: "older", group };
    const message = `It was read at ${iso(version)}, and another content of this group, read at ${iso(before.version)}, is in use. Give the launchers the same files; if the first content is the right one, their clocks differ: set them (NTP), and start this watcher anew.`;
    return { outcome: "older", group, message };
  }

  function refuse(group: GroupName, outcome: Outcome, message: string): Heard {
    // Keeps refusals only of groups that a launcher named: anybody at the broker could announce other groups without end.
    if (wanted.has(group)) refused.set(group, message);
    return { outcome, group, message };
  }

  function allAnnounced(data: ControlData<"groups.announced">, nowMs: number): Heard {
    const { launcher, againSeconds } = data;
    const opened = seal.open(data.sealed, boundTo("groups.announced", data));
    if (opened.kind === "refused") return { outcome: opened.why, message: opened.message };
    const atMs = Date.parse(data.at);
    if (Math.abs(atMs - nowMs) > STALE_MS) {
      const message = `It says that it was made at ${data.at}, and the clock here says ${iso(nowMs)}. Set both machines' clocks (NTP); if they are right, somebody repeats old messages at the broker.`;
      return { outcome: "stale", message };
    }
    const before = launchers.get(launcher);
    if (before !== undefined && atMs <= before.atMs) return { outcome: "older" };
    for (const [name, { untilMs }] of launchers) if (untilMs < nowMs) launchers.delete(name);
    const versions = new Map(data.groups.map(({ group, version }) => [group, version]));
    launchers.set(launcher, { atMs, untilMs: nowMs + againSeconds * 1000 * TURNS_MISSED_MOST, versions });
    wanted = union(launchers.values());
    // A group may be announced before any launcher names it, so a group that is not named is kept for a while.
    for (const [group, it] of held) if (!wanted.has(group) && it.heardMs < nowMs - STALE_MS) held.delete(group);
    for (const group of refused.keys()) if (!wanted.has(group)) refused.delete(group);
    return { outcome: "taken" };
  }

  function believe(control: Control, nowMs: number): Heard {
    if (control.data.installation !== installation) return { outcome: "unreadable" };
    switch (control.type) {
      case "group.announced":
        return announced(control.data, nowMs);
      case "groups.announced":
        return allAnnounced(control.data, nowMs);
      case "groups.asked":
      case "log.asked":
      case "log.offered":
      case "log.piece":
        return { outcome: "same" };
    }
  }

  const usable = (): ReadonlyMap<GroupName, Access> =>
    new Map([...wanted].flatMap(([group, oldest]) => {
      const it = held.get(group);
      return it !== undefined && it.version >= oldest ? [[group, it.access] as const] : [];
    })); // biome-ignore format: one question

  return {
    hear: (body, nowMs) => {
      const read = readControl(body);
      return read.kind === "control" ? believe(read.control, nowMs) : { outcome: "unreadable" };
    },
    groups: usable,
    isFresh: (nowMs) => [...launchers.values()].some(({ untilMs }) => untilMs >= nowMs),
    isTold: () => launchers.size > 0,
    missing: () => {
      const there = usable();
      return new Map([...wanted.keys()].filter((it) => !there.has(it)).map((it) => [it, refused.get(it)]));
    },
  };
}

function union(launchers: Iterable<Launcher>): ReadonlyMap<GroupName, number> {
  const oldest = new Map<GroupName, number>();
  for (const { versions } of launchers)
    for (const [group, version] of versions) oldest.set(group, Math.min(version, oldest.get(group) ?? version));
  return oldest;
}

/** Returns a sentence if the announced group cannot be used. */
function accessOf(data: ControlData<"group.announced">, sealed: string): Access | string {
  const { group: name, namespace, cluster, pollSeconds, annotation } = data;
  const credential = WatchCredential.safeParse(jsonOf(sealed));
  if (!credential.success) return "Its credential is of a form that this watcher does not know. Is the launcher much newer?";
  const { authorization, cert, key } = credential.data;
  const { server, ca, serverName, verify } = cluster;
  const asked = {
    ...(pollSeconds !== undefined && { pollMs: pollSeconds * 1000 }),
    ...(annotation !== undefined && { annotation }),
  };
  const access: Access = { name, namespace, server, trust: { ca, cert, key, serverName, verify }, authorization, ...asked };
  return accessProblem(access) ?? access;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the credential's schema refuses it
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
