/**
 * Watches each group that launchers announce, until no launcher has it any more.
 *
 *   control ─▶ roster (what is believed) ─▶ start · renew · stop ─▶ watch-group, one for each
 *      ▲
 *      └── groups.asked: at start, while nobody answers, and when a cluster rejects an announced credential
 *
 * The bugs this prevents: a watcher that needs every cluster's files, a watcher that waits for ever because it started before
 * the launcher, and a watch that begins anew because a token was rotated.
 */
import { annotationOf } from "@longshore/contract/group-settings.ts";
import { announcements, controlKey } from "@longshore/contract/messages/control.ts";
import { writeControl } from "@longshore/contract/messages/envelope.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { tokenTimesOf, warnUnverified } from "@longshore/kubernetes/access/connection.ts";
import type { GroupToken } from "@longshore/kubernetes/access/token-gauge.ts";
import { type Access, type AnnouncedCluster, openAnnounced } from "@longshore/kubernetes/access/watch-access.ts";
import type { PartState } from "@longshore/runtime/health.ts";
import { again, wakeUp, linked, type Loop, together } from "@longshore/runtime/loop.ts";
import type { Seal } from "@longshore/runtime/seal.ts";
import type { Learning } from "./parts.ts";
import { type Heard, openRoster } from "./roster.ts";
import { watchGroup } from "./watch-group.ts";

/** Pauses between asking for the groups while no launcher answers: short ones first. */
const ASK_FIRST_MS = 1_000;
const ASK_MOST_MS = 15_000;
/**
 * The least pause between questions, however often a cluster rejects its credential. Each question makes every launcher answer
 * every watcher.
 */
const ASK_REST_MS = 5_000;
const SAID_MOST = 1_000;

interface LearnedGroups {
  readonly loop: Loop;
  readonly state: () => PartState;
  /** The announced tokens. */
  readonly tokens: () => readonly GroupToken[];
}

/** Tests give their own `open`, because their clusters are not reached over a network. */
export function learnGroups(parts: Learning, seal: Seal, open = openAnnounced): LearnedGroups {
  const { clock, broker, installation, owner, log, metrics, pause } = parts;
  const roster = openRoster(installation, seal);
  const wanting = wakeUp(clock);
  const said = new Set<string>();
  const refusals = { count: 0, last: "" };
  let launchers: "unasked" | "there" | "nobody" = "unasked";
  let watching: readonly GroupName[] = [];

  async function hear(signal: AbortSignal, watches: Watches): Promise<void> {
    const heard = await broker.listen(announcements(installation), { inFlightMax: 64, signal });
    wanting.wake();
    for await (const body of heard) {
      const it = roster.hear(body, clock.now());
      metrics.count("longshore_announcements_total", { outcome: it.outcome });
      note(it);
      if (it.outcome === "taken") watching = watches.change(roster.groups()); // repeats are left out: they change nothing, and 300 groups bring 300 of them
    }
  }

  /** Each refusal is counted, but logged once: anybody who may publish at the broker could fill the log. */
  function note({ outcome, group, message }: Heard): void {
    if (message === undefined) return;
    refusals.count += 1;
    refusals.last = message;
    const about = `${outcome} ${group ?? ""}`;
    if (said.has(about) || said.size > SAID_MOST) return;
    said.add(about);
    log.warn("an announcement is not believed", { outcome, ...(group !== undefined && { group }), why: message });
  }

  async function ask(signal: AbortSignal): Promise<void> {
    for (let tries = 0; !signal.aborted; ) {
      const ms = roster.isFresh(clock.now()) ? ASK_MOST_MS : Math.min(ASK_MOST_MS, ASK_FIRST_MS * 2 ** Math.min(tries, 10));
      const woken = await wanting.wait(tries === 0 ? ASK_MOST_MS : ms, signal); // the first wake-up says that we listen
      if (signal.aborted) return;
      if (woken === "passed" && roster.isFresh(clock.now())) continue;
      tries += 1;
      await askOnce(signal);
      if (roster.isFresh(clock.now())) await clock.sleep(ASK_REST_MS, signal);
    }
  }

  async function askOnce(signal: AbortSignal): Promise<void> {
    const id = `${owner}/asked/${clock.now()}`;
    const source = `/longshore/${installation}/watcher`;
    const body = writeControl({ id, source, type: "groups.asked", data: { installation, watcher: owner } });
    try {
      const published = await broker.broadcast({ id, key: controlKey(installation, "groups.asked"), body }, signal);
      launchers = published === "unrouted" ? "nobody" : "there";
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
      log.warn("the launchers could not be asked for the groups yet", { code: error.code, error: error.message });
    }
  }

  function state(): PartState {
    if (!roster.isTold()) return { ready: false, says: waitingFor() };
    const missing = [...roster.missing()].map(
      ([name, why]) => `; ${name} was announced and cannot be used${why === undefined ? "" : `: ${why}`}`,
    );
    const says = `${watching.length === 0 ? "none is announced" : watching.join(", ")}${missing.join("")}`;
    return { ready: missing.length === 0 || watching.length > 0, says };
  }

  /** Goes on after a failure of the broker. A bug ends the program. */
  function passes(error: unknown, failures: number): boolean {
    if (!isTransient(error)) return false;
    log.warn("announcements cannot be heard yet", { failures, code: error.code, error: error.message });
    return true;
  }

  function waitingFor(): string {
    const waiting = "waiting for the launcher's announcement";
    if (refusals.count > 0) return `${waiting}: ${refusals.count} were not believed; the last: ${refusals.last}`;
    if (launchers === "nobody") return `${waiting}: no launcher with a sealKeyFile is at the broker`;
    return launchers === "unasked" ? waiting : `${waiting}: asked, not answered yet`;
  }

  const tokens = (): readonly GroupToken[] =>
    [...roster.groups()].map(([name, { authorization }]) => ({ name, times: tokenTimesOf(authorization) }));

  return {
    state,
    tokens,
    loop: async (signal) => {
      const failed = new AbortController();
      const stop = AbortSignal.any([signal, failed.signal]);
      const onBug = (error: unknown) => failed.abort(error);
      const watches = openWatches(parts, stop, { open, onBug, onRejected: () => wanting.wake() });
      const listen = again({ clock, pause, passes }, (signal) => hear(signal, watches));
      await together(stop, { hear: listen, ask });
      await watches.ended();
      if (!signal.aborted) failed.signal.throwIfAborted();
    },
  };
}

interface Watches {
  /** Starts, renews and stops watches until exactly these groups are watched. Returns their names. */
  change(groups: ReadonlyMap<GroupName, Access>): readonly GroupName[];
  ended(): Promise<void>;
}

interface Watch {
  readonly announced: AnnouncedCluster;
  readonly content: string;
  readonly stop: () => void;
  readonly ended: Promise<void>;
}

interface Opening {
  readonly open: typeof openAnnounced;
  readonly onBug: (error: unknown) => void;
  readonly onRejected: () => void;
}

function openWatches(parts: Learning, signal: AbortSignal, { open, onBug, onRejected }: Opening): Watches {
  const { clock, log, metrics } = parts;
  const watches = new Map<GroupName, Watch>();
  const ending = new Set<Promise<void>>();

  function start(access: Access, before: Promise<void> | undefined): void {
    const { name, server, namespace, annotation } = access;
    const discovering = annotation === undefined ? {} : { annotation: annotationOf({ annotation }) };
    const own = linked(signal);
    const announced = open(access, {
      clock,
      onRejected,
      onRequest: (group, purpose, code) => metrics.count("longshore_kubernetes_requests_total", { group, purpose, code }),
    });
    const ended = (async () => {
      try {
        await before; // two watches of one group would publish everything twice
        if (!own.signal.aborted) await watchGroup(parts, { ...announced.cluster, ...discovering }, own.signal);
      } finally {
        own.release();
        await announced[Symbol.asyncDispose]();
      }
    })().catch(onBug);
    ending.add(ended);
    void ended.then(() => ending.delete(ended));
    watches.set(name, { announced, content: JSON.stringify(access), stop: () => own.abort(), ended });
    log.info("a group is watched as it was announced", { group: name, server, namespace });
  }

  function change(groups: ReadonlyMap<GroupName, Access>): readonly GroupName[] {
    if (signal.aborted) return [...watches.keys()];
    for (const [name, watch] of watches) {
      if (groups.has(name)) continue;
      watch.stop();
      watches.delete(name);
      log.info("a group is watched no longer: no launcher has it", { group: name });
    }
    for (const [name, access] of groups) {
      const watch = watches.get(name);
      const content = JSON.stringify(access);
      if (watch?.content === content) continue;
      if (!access.trust.verify) warnUnverified(log, name, access.server);
      if (watch?.announced.renew(access) === true) {
        watches.set(name, { ...watch, content });
        log.info("a group's credential was renewed", { group: name });
        continue;
      }
      watch?.stop();
      start(access, watch?.ended);
    }
    return [...groups.keys()];
  }

  return {
    change,
    ended: async () => {
      while (ending.size > 0) await Promise.all(ending);
    },
  };
}
