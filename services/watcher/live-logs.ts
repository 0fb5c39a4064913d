/**
 * Sends what programs print, to readers that ask for it over the broker.
 *
 *   log.asked ─▶ this watcher has the group? ─▶ log.offered        names this watcher ─▶ read the pod's log ─▶ log.piece …
 *                                                                  names another      ─▶ stop
 *
 * The failures this prevents: a log that goes on being read for a page that was closed (a reading ends when its reader has not
 * asked again for 45 s), many readers that keep the watcher from its real work, and a stranger at the broker who asks for a log
 * (log-messages.ts).
 */
import { controlKey, type ControlData, LOG_LEASE_MS, type LogPiece, readerKey } from "@longshore/contract/messages/control.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import type { LogMessages } from "@longshore/broker/log-messages.ts";
import type { Outgoing, Published } from "@longshore/broker/port.ts";
import { CONTAINER } from "@longshore/domain/run/marks.ts";
import { podToPrint } from "@longshore/domain/watch/pod-to-print.ts";
import type { PodSeen } from "@longshore/domain/watch/seen.ts";
import { again, linked, type Linked, type Loop, wakeUp } from "@longshore/runtime/loop.ts";
import { boundedLines, type LineLimits } from "./bounded-lines.ts";
import type { Learning, Watched } from "./parts.ts";
import { podsOf } from "./read-evidence.ts";
import { STALE_MS } from "./roster.ts";

export interface LiveLogs {
  /** Offers the logs of this group. Returns the function that ends it. */
  offer(cluster: Watched): () => void;
  readonly loop: Loop;
}

export interface LogLimits extends LineLimits {
  /** The most logs that are read at the same time. One more finds no offer here. */
  readonly readersMost: number;
  /** Lines that come within this time travel together. */
  readonly togetherMs: number;
}

export const LOG_LIMITS: LogLimits = {
  bytesPerSecond: 64 * 1024,
  burstBytes: 512 * 1024,
  readersMost: 32,
  togetherMs: 250,
};

/** A container may not have started yet, and a connection to a node breaks: it is tried again after this time. */
const TRY_AGAIN_MS = 1_000;

type Asked = ControlData<"log.asked">;

interface Reading {
  readonly renew: () => void;
  readonly stop: () => void;
}

type LogParts = Pick<Learning, "owner" | "clock" | "log" | "metrics" | "pause" | "broker">;

export function openLiveLogs(parts: LogParts, messages: LogMessages, limits: LogLimits = LOG_LIMITS): LiveLogs {
  const { owner, clock, log, metrics, pause, broker } = parts;
  const { installation } = messages;
  const groups = new Map<GroupName, Watched>();
  const readings = new Map<string, Reading>();
  const ending = new Set<Promise<void>>();
  let isDoubted = false;

  async function hear(signal: AbortSignal): Promise<void> {
    const heard = await broker.listen(controlKey(installation, "log.asked"), { inFlightMax: 64, signal });
    for await (const body of heard) {
      const asked = believed(body);
      if (asked !== undefined) await answer(asked, signal);
    }
  }

  function believed(body: Uint8Array): Asked | undefined {
    const read = messages.read(body);
    if (typeof read === "string") return doubt(read);
    if (read?.type !== "log.asked") return undefined;
    const { data } = read;
    if (Math.abs(Date.parse(data.at) - clock.now()) <= STALE_MS) return data;
    return doubt(`It says that it was asked at ${data.at}. Set both machines' clocks (NTP).`);
  }

  /** Logged once: anybody who may publish at the broker could fill the log. */
  function doubt(why: string): undefined {
    if (!isDoubted) log.warn("a question for a log is not believed; more such questions are not logged", { why });
    isDoubted = true;
  }

  async function answer(asked: Asked, signal: AbortSignal): Promise<void> {
    const { reader, group, watcher } = asked;
    const reading = readings.get(reader);
    if (watcher !== undefined && watcher !== owner) return reading?.stop();
    const cluster = groups.get(group);
    if (cluster === undefined || (reading === undefined && readings.size >= limits.readersMost)) return;
    const key = readerKey(installation, "log.offered", reader);
    const said = await say(messages.write(key, "log.offered", { reader, watcher: owner }), signal);
    if (watcher === undefined || said === "unrouted") return;
    if (reading === undefined) begin(asked, cluster, signal);
    else reading.renew();
  }

  /** A message that the broker did not take is not sent again: its reader asks again, and sees that a piece is missing. */
  async function say(message: Outgoing, signal: AbortSignal): Promise<Published | "lost"> {
    try {
      return await broker.broadcast(message, signal);
    } catch (error) {
      if (signal.aborted || isTransient(error)) return "lost";
      throw error;
    }
  }

  function begin(asked: Asked, cluster: Watched, signal: AbortSignal): void {
    const own = linked(signal);
    let late = clock.alarm(LOG_LEASE_MS, own.abort);
    readings.set(asked.reader, {
      stop: own.abort,
      renew: () => {
        late();
        late = clock.alarm(LOG_LEASE_MS, own.abort);
      },
    });
    metrics.set("longshore_logs_followed", {}, readings.size);
    const ended = read(asked, cluster, { signal: own.signal, stop: own.abort })
      .catch((error: unknown) => log.error("a log could not be read", { group: asked.group, error }))
      .finally(() => {
        late();
        own.abort();
        own.release();
        readings.delete(asked.reader);
        metrics.set("longshore_logs_followed", {}, readings.size);
        ending.delete(ended);
      });
    ending.add(ended);
  }

  async function read(
    { reader, job, tailLines }: Asked,
    cluster: Watched,
    { signal, stop }: Pick<Linked, "signal"> & { readonly stop: () => void },
  ): Promise<void> {
    const lines = boundedLines(limits, clock);
    const news = wakeUp(clock);
    const key = readerKey(installation, "log.piece", reader);
    let number = 0;
    let isOver = false;
    const send = async (piece: LogPiece): Promise<void> => {
      const data = { reader, watcher: owner, number: ++number };
      const said = await say(messages.write(key, "log.piece", data, JSON.stringify(piece)), signal);
      if (said === "unrouted") stop();
    };
    const gathering = gather({ job, tailLines }, cluster, { lines, onLine: news.wake }, signal).finally(() => {
      isOver = true;
      news.wake();
    });
    gathering.catch(() => undefined); // awaited below
    while (!signal.aborted) {
      for (let piece = lines.take(); piece !== undefined && !signal.aborted; piece = lines.take()) await send(piece);
      if (isOver) break;
      await news.wait(LOG_LEASE_MS, signal);
      if (!isOver) await clock.sleep(limits.togetherMs, signal);
    }
    await gathering;
    if (!signal.aborted) await send({ text: "", ends: true });
  }

  return {
    offer: (cluster) => {
      groups.set(cluster.name, cluster);
      return () => {
        if (groups.get(cluster.name) === cluster) groups.delete(cluster.name);
      };
    },
    loop: async (signal) => {
      const passes = (error: unknown, failures: number): boolean => {
        if (!isTransient(error)) return false;
        log.warn("questions for logs cannot be heard yet", { failures, code: error.code, error: error.message });
        return true;
      };
      await again({ clock, pause, passes }, hear)(signal);
      await Promise.all(ending);
    },
  };

  /** Returns when the program has ended. */
  async function gather(
    { job, tailLines }: Pick<Asked, "job" | "tailLines">,
    cluster: Watched,
    { lines, onLine }: { readonly lines: ReturnType<typeof boundedLines>; readonly onLine: () => void },
    signal: AbortSignal,
  ): Promise<void> {
    let isBegun = false;
    for (; !signal.aborted; await clock.sleep(TRY_AGAIN_MS, signal)) {
      const pod = podToPrint((await podsOf(cluster, job, signal)) ?? [], undefined);
      if (pod === undefined) continue;
      if (isBegun && hasEnded(pod)) return;
      // What was sent must not come again: after a break, only lines that are new.
      const asked = { pod: pod.name, container: CONTAINER, follows: true, tailLines: isBegun ? 0 : tailLines };
      let isBroken = isBegun;
      try {
        for await (const line of cluster.logLines(asked, signal)) {
          if (isBroken) lines.lose();
          isBroken = false;
          isBegun = true;
          lines.give(line);
          onLine();
        }
        isBegun = true;
      } catch (error) {
        if (signal.aborted) return;
        if (!isTransient(error)) throw error;
      }
    }
  }
}

/** A connection may end while the program goes on, so the pod is asked. */
const hasEnded = ({ containers }: PodSeen): boolean =>
  containers.some(({ name, terminated }) => name === CONTAINER && terminated !== undefined);
