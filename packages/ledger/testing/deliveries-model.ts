/**
 * What sinks were told, in memory, over the tables of the model of the ledger: for tests of the recorder in virtual time. It
 * passes the same testing/conformance-deliveries.ts as Postgres.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import {
  type Deliveries,
  type Delivery,
  EVENTS_MOST,
  type Parked,
  type Place,
  type Refusal,
  type Settled,
} from "../deliveries.ts";
import type { WorkKind } from "../port.ts";
import { type Listeners, workHints } from "../work-hints.ts";
import type { Tables } from "./model-tables.ts";

interface Line extends Place {
  sequence: number;
  rule: number;
  head: number;
  dueMs: number | undefined;
  tries: number;
  failingSinceMs: number | undefined;
  failure: Refusal | undefined;
  isParked: boolean;
}

interface Request extends Place {
  readonly run: RunId;
  why: Refusal;
  atMs: number;
  dueMs: number | undefined;
  tries: number;
}

interface Sink {
  owner: string | undefined;
  untilMs: number;
  stopped: Refusal | undefined;
  /** How far the feed was read, by run. */
  readonly read: Map<RunId, number>;
  readonly lines: Map<RunId, Line>;
  requests: Request[];
}

export function deliveriesModel(tables: Pick<Tables, "runs" | "listeners">, clock: Clock): Deliveries {
  const sinks = new Map<string, Sink>();
  const own = (name: string, owner: string): Sink | undefined => {
    const sink = sinks.get(name);
    return sink?.owner === owner ? sink : undefined;
  };
  const storyOf = (run: RunId) => tables.runs.get(run)?.story ?? [];

  function newSink(): Sink {
    const read = new Map([...tables.runs].map(([run, { story }]) => [run, story.length]));
    return { owner: undefined, untilMs: 0, stopped: undefined, read, lines: new Map(), requests: [] };
  }

  function feed(sink: Sink, run: RunId, head: number, before: number): void {
    const fresh: Line = { sequence: before, rule: 0, head, dueMs: undefined, tries: 0, failingSinceMs: undefined, failure: undefined, isParked: false }; // biome-ignore format: one row
    const line = sink.lines.get(run) ?? fresh;
    sink.lines.set(run, line);
    line.head = Math.max(line.head, head);
    if (!line.isParked && line.head > line.sequence) line.dueMs ??= clock.now();
  }

  function dueOf(sink: Sink, busy: readonly string[]): readonly Delivery[] {
    const isDue = ({ dueMs }: { readonly dueMs: number | undefined }): boolean => dueMs !== undefined && dueMs <= clock.now();
    const keyOf = (run: RunId): string => String(tables.runs.get(run)?.key);
    const sinceMs = (ms: number | undefined): number => (ms === undefined ? 0 : clock.now() - ms);
    const requests = sink.requests.filter(isDue).toSorted((a, b) => a.sequence - b.sequence || a.rule - b.rule);
    const again = requests.map(({ run, sequence, rule, tries, atMs, dueMs }) => ({
      dueMs, delivery: { key: keyOf(run), run, sequence: sequence - 1, rule, isAgain: true, tries, failingMs: sinceMs(atMs), events: storyOf(run).slice(sequence - 1, sequence) },
    })); // biome-ignore format: one row
    const lines = [...sink.lines].filter(([, it]) => isDue(it)).map(([run, { sequence, rule, tries, failingSinceMs, dueMs }]) => ({
      dueMs, delivery: { key: keyOf(run), run, sequence, rule, isAgain: false, tries, failingMs: sinceMs(failingSinceMs), events: storyOf(run).slice(sequence, sequence + EVENTS_MOST) },
    })); // biome-ignore format: one row
    const first = new Map<string, (typeof lines)[number]>();
    for (const it of [...again, ...lines])
      if (!first.has(it.delivery.key) && !busy.includes(it.delivery.key)) first.set(it.delivery.key, it);
    return [...first.values()].toSorted((a, b) => (a.dueMs ?? 0) - (b.dueMs ?? 0)).map(({ delivery }) => delivery);
  }

  function settleLine(sink: Sink, run: RunId, change: Settled): boolean {
    const line = sink.lines.get(run);
    if (line === undefined) return false;
    switch (change.kind) {
      case "told": {
        const { sequence, rule, parked } = change;
        if (sequence < line.sequence || (sequence === line.sequence && rule < line.rule)) return false;
        Object.assign(line, { sequence, rule, tries: 0, failingSinceMs: undefined, failure: undefined });
        line.head = Math.max(line.head, sequence);
        line.dueMs = line.head > sequence ? clock.now() : undefined;
        if (parked === undefined) return true;
        sink.requests = sink.requests.filter((it) => !isSame(it, { run, ...parked }));
        sink.requests.push({ ...parked, run, atMs: clock.now(), dueMs: undefined, tries: 0 });
        return true;
      }
      case "failed":
        line.tries++;
        line.failingSinceMs ??= clock.now();
        line.failure = change.why;
        line.dueMs = clock.now() + change.againInMs;
        return true;
      case "parked":
        line.failingSinceMs ??= clock.now();
        Object.assign(line, { isParked: true, dueMs: undefined, failure: change.why });
        return true;
    }
  }

  function settleRequest(sink: Sink, request: Request | undefined, change: Settled): boolean {
    if (request === undefined) return false;
    if (change.kind === "told") sink.requests = sink.requests.filter((it) => it !== request);
    else if (change.kind === "failed")
      Object.assign(request, { tries: request.tries + 1, why: change.why, dueMs: clock.now() + change.againInMs });
    else Object.assign(request, { why: change.why, atMs: clock.now(), dueMs: undefined });
    return true;
  }

  function parkedOf(name: string, { lines, requests }: Sink): readonly Parked[] {
    const ofLines = [...lines].filter(([, it]) => it.isParked).map(([run, it]) => ({
      sink: name, run, kind: "line" as const, sequence: it.sequence + 1, rule: it.rule, why: it.failure ?? { code: "", sentence: "" }, atMs: it.failingSinceMs ?? 0,
    })); // biome-ignore format: one row
    return [...ofLines, ...requests.map(({ run, sequence, rule, why, atMs }) => ({ sink: name, run, kind: "request" as const, sequence, rule, why, atMs }))]; // biome-ignore format: one row
  }

  return {
    putSinks: async (names) => {
      for (const name of names) if (!sinks.has(name)) sinks.set(name, newSink());
    },
    hold: async (name, owner, forMs) => {
      const sink = sinks.get(name);
      if (sink === undefined || (sink.owner !== undefined && sink.owner !== owner && sink.untilMs > clock.now()))
        return "of another";
      Object.assign(sink, { owner, untilMs: clock.now() + forMs });
      return sink.stopped === undefined ? "held" : "stopped";
    },
    letGo: async (name, owner) => void Object.assign(own(name, owner) ?? {}, { owner: undefined }),
    advance: async (name, owner, most) => {
      const sink = own(name, owner);
      const unread = [...tables.runs].filter(([run, { story }]) => story.length > (sink?.read.get(run) ?? 0));
      let left = most;
      for (const [run, { story }] of sink === undefined ? [] : unread) {
        const before = sink?.read.get(run) ?? 0;
        const head = Math.min(story.length, before + left);
        left -= head - before;
        sink?.read.set(run, head);
        if (sink !== undefined && head > before) feed(sink, run, head, before);
      }
      return sink !== undefined && left === 0;
    },
    due: async (name, { most, busy }) => {
      const sink = sinks.get(name);
      return sink === undefined ? [] : dueOf(sink, busy).slice(0, most);
    },
    settle: async (name, owner, { run, sequence, rule, isAgain }, change) => {
      const sink = own(name, owner);
      if (sink === undefined) return false;
      const request = sink.requests.find((it) => isSame(it, { run, sequence: sequence + 1, rule }));
      return isAgain ? settleRequest(sink, request, change) : settleLine(sink, run, change);
    },
    stop: async (name, owner, why) => void Object.assign(own(name, owner) ?? {}, { stopped: why }),
    states: async () =>
      [...sinks].map(([name, { owner, untilMs, stopped, lines, requests, read }]) => {
        const due = [...lines].filter(([, it]) => it.dueMs !== undefined);
        const waits = (run: RunId, sequence: number): number => clock.now() - (storyOf(run)[sequence]?.atMs ?? clock.now());
        return {
          name,
          owner: untilMs > clock.now() ? owner : undefined,
          stopped,
          waiting: due.length,
          oldestMs: Math.max(0, ...due.map(([run, it]) => waits(run, it.sequence))),
          behindMs: Math.max(0, ...[...tables.runs.keys()].map((run) => waits(run, read.get(run) ?? 0))),
          parkedLines: [...lines.values()].filter((it) => it.isParked).length,
          parkedRequests: requests.length,
          failure: due.find(([, it]) => it.failure !== undefined)?.[1].failure,
        };
      }),
    parked: async ({ sink: only, most }) =>
      [...sinks].filter(([name]) => only === undefined || name === only).flatMap(([name, it]) => parkedOf(name, it)).toSorted((a, b) => a.atMs - b.atMs).slice(0, most), // biome-ignore format: one list
    retry: async (name, run) => {
      const sink = sinks.get(name);
      if (sink === undefined) return 0;
      const lines = [...sink.lines].filter(([of, it]) => it.isParked && (run === undefined || of === run));
      for (const [, it] of lines) Object.assign(it, { isParked: false, dueMs: clock.now(), tries: 0, failingSinceMs: undefined });
      const requests = sink.requests.filter((it) => it.dueMs === undefined && (run === undefined || it.run === run));
      for (const it of requests) Object.assign(it, { dueMs: clock.now(), atMs: clock.now(), tries: 0 });
      const goesOn = run === undefined && sink.stopped !== undefined;
      if (goesOn) sink.stopped = undefined;
      return lines.length + requests.length + (goesOn ? 1 : 0);
    },
    drop: async (name, run) => {
      const sink = sinks.get(name);
      if (sink === undefined) return 0;
      const lines = [...sink.lines].filter(([of, it]) => it.isParked && (run === undefined || of === run));
      for (const [, it] of lines) Object.assign(it, { isParked: false, sequence: it.head, rule: 0, dueMs: undefined, tries: 0, failingSinceMs: undefined, failure: undefined }); // biome-ignore format: one row
      const before = sink.requests.length;
      sink.requests = sink.requests.filter((it) => run !== undefined && it.run !== run);
      return lines.length + before - sink.requests.length;
    },
    forget: async (name) => {
      const sink = sinks.get(name);
      return sink !== undefined && (sink.owner === undefined || sink.untilMs <= clock.now()) && sinks.delete(name);
    },
    changes: (signal) => {
      const heard: Listeners = new Set();
      const hear = (kinds: readonly WorkKind[]): void => {
        if (kinds.includes("outbox")) for (const it of heard) it(["outbox"]);
      };
      tables.listeners.add(hear);
      signal.addEventListener("abort", () => tables.listeners.delete(hear), { once: true });
      return workHints(heard, signal);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

const isSame = (a: Place & { readonly run: RunId }, b: Place & { readonly run: RunId }): boolean =>
  a.run === b.run && a.sequence === b.sequence && a.rule === b.rule;
