/**
 * The lines of a simulated process to the broker and the ledger: connections of the models, whose answers arrive only while the
 * process runs.
 *
 * The bug this prevents: a crashed program that still acts, because one of its awaits was answered.
 */
import type { Broker, Delivery } from "@longshore/broker/port.ts";
import type { LedgerModel } from "@longshore/ledger/testing/model.ts";
import type { Ledger, Placed, Work } from "@longshore/ledger/port.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Connection } from "./broker.ts";
import type { History } from "../judge/history.ts";
import { outOfTurn } from "../judge/concurrency.ts";
import { passedOver } from "../judge/passed-over.ts";
import type { Trace } from "./trace.ts";
import type { Mortal } from "./mortal.ts";

export function heardBroker(broker: Connection, process: Mortal): Broker & Pick<Connection, "consume"> {
  return {
    publish: (topic, message, signal) => process.hear(broker.publish(topic, message, signal)),
    reply: (queue, message, signal) => process.hear(broker.reply(queue, message, signal)),
    receive: (queue, options) => heardDeliveries(broker.receive(queue, options), process),
    consume: (queue, options) => heardDeliveries(broker.consume(queue, options), process),
    follow: async (pattern, options) => heardDeliveries(await process.hear(broker.follow(pattern, options)), process),
    broadcast: (message, signal) => process.hear(broker.broadcast(message, signal)),
    listen: async (pattern, options) => heardPassing(await process.hear(broker.listen(pattern, options)), process),
    status: () => broker.status(),
    inspect: (signal) => process.hear(broker.inspect(signal)),
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  };
}

function heardDeliveries(inner: AsyncIterableIterator<Delivery>, process: Mortal): AsyncIterableIterator<Delivery> {
  const heard = (delivery: Delivery): Delivery => ({
    ...delivery,
    ack: () => process.hear(delivery.ack()),
    requeue: () => process.hear(delivery.requeue()),
    quarantine: (problems) => process.hear(delivery.quarantine(problems)),
  });
  const deliveries: AsyncIterableIterator<Delivery> = {
    [Symbol.asyncIterator]: () => deliveries,
    next: async () => {
      const next = await process.hear(inner.next());
      return next.done === true ? next : { done: false, value: heard(next.value) };
    },
    return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
  };
  return deliveries;
}

function heardPassing(inner: AsyncIterableIterator<Uint8Array>, process: Mortal): AsyncIterableIterator<Uint8Array> {
  const passing: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => passing,
    next: () => process.hear(inner.next()),
    return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
  };
  return passing;
}

/** Troubles on the way to the ledger, for the calls of all processes. */
export interface LedgerTrouble {
  readonly refused: number;
  /** The chance that a call is committed and its answer lost. */
  readonly lost: number;
  readonly delayMs: readonly [from: number, to: number];
  /** The chance that a wake-up from the ledger is not heard. */
  readonly deaf: number;
}

export interface LedgerLine {
  readonly model: LedgerModel;
  readonly process: Mortal;
  readonly clock: Clock;
  readonly trouble: () => LedgerTrouble;
  readonly history: History;
  readonly trace: Trace;
  readonly pollMs: number;
  /** Called when something was recorded, before the process hears of it. */
  readonly onRecord: () => void;
}

export function heardLedger({ model, process, clock, trouble, history, trace, pollMs, onRecord }: LedgerLine): Ledger {
  const delay = (): number => {
    const [from, to] = trouble().delayMs;
    return from + clock.random() * (to - from);
  };
  const inner = model.connect({
    fault: (call) => {
      const { refused, lost, delayMs } = trouble();
      const drawn = clock.random();
      const end = drawn < refused ? "refused" : drawn < refused + lost ? "lost" : undefined;
      if (delayMs[1] > QUICK_MS || !QUESTIONS.has(call)) return { beforeMs: delay(), afterMs: delay(), ...(end && { end }) };
      return { afterMs: delay(), nothingAfterMs: 0, ...(end && { end }) };
    },
    done: (call, result) => {
      if (call === "claim") noteClaims(history, clock, result as readonly Work[]);
      if (call === "place") {
        const { works } = result as Placed;
        noteClaims(history, clock, works);
        const claimed = new Set(works.map(({ attempt }) => attempt.name));
        history.passedOver.push(...passedOver(model.tables, claimed, { nowMs: clock.now(), pollMs }));
        history.outOfTurn.push(...outOfTurn(model.tables, history.letIn, clock.now()));
      }
      if (call === "record") onRecord();
      const many = Array.isArray(result) ? result.length : undefined;
      if (many !== 0 && SAID.has(call)) trace.say(`${process.name} ledger ${String(call)} ${said(result)}`);
    },
    hears: () => clock.random() >= trouble().deaf,
  });
  const late = async <T>(hint: Promise<T>): Promise<T> => {
    const heard = await hint;
    await clock.sleep(delay());
    return heard;
  };
  const heard = <A extends readonly unknown[], R>(call: (...asked: A) => Promise<R>) => (...asked: A): Promise<R> => process.hear(call(...asked)); // biome-ignore format: one line
  return {
    installation: inner.installation,
    epoch: inner.epoch,
    admit: heard(inner.admit),
    record: heard(inner.record),
    suspect: heard(inner.suspect),
    place: heard(inner.place),
    claim: heard(inner.claim),
    take: heard(inner.take),
    recordAnchors: heard(inner.recordAnchors),
    takeAnchors: heard(inner.takeAnchors),
    due: heard(inner.due),
    takeStrays: heard(inner.takeStrays),
    settleStray: heard(inner.settleStray),
    addStray: heard(inner.addStray),
    leasePartitions: heard(inner.leasePartitions),
    unsent: heard(inner.unsent),
    sent: heard(inner.sent),
    unsentNotices: heard(inner.unsentNotices),
    sentNotices: heard(inner.sentNotices),
    putGroups: heard(inner.putGroups),
    groups: heard(inner.groups),
    setGroup: (name, change) => {
      const { health } = change;
      const known = model.tables.groups.get(name)?.health;
      if (health !== undefined && health !== known)
        history.turns.push({ group: name, by: process.name, atMs: clock.now(), health });
      return process.hear(inner.setGroup(name, change));
    },
    commandGroup: heard(inner.commandGroup),
    acceptGroup: heard(inner.acceptGroup),
    putDefinitions: heard(inner.putDefinitions),
    putPrepared: heard(inner.putPrepared),
    losePrepared: heard(inner.losePrepared),
    definitions: heard(inner.definitions),
    lease: heard(inner.lease),
    standing: (group, keep) => process.hear(inner.standing(group, keep)),
    anchors: heard(inner.anchors),
    counts: heard(inner.counts),
    countEnds: heard(inner.countEnds),
    prune: heard(inner.prune),
    find: heard(inner.find),
    list: heard(inner.list),
    holders: heard(inner.holders),
    story: heard(inner.story),
    now: heard(inner.now),
    describe: heard(inner.describe),
    changes: (signal) => {
      const hints = inner.changes(signal);
      const changes: ReturnType<Ledger["changes"]> = {
        [Symbol.asyncIterator]: () => changes,
        next: () => process.hear(late(hints.next())),
        return: async () => (await hints.return?.()) ?? { done: true, value: undefined },
      };
      return changes;
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

function noteClaims(history: History, clock: Clock, works: readonly Work[]): void {
  for (const { attempt } of works) {
    const { name, claimBy: by = "", claimUntilMs: untilMs = 0 } = attempt;
    history.claims.push({ name, by, atMs: clock.now(), untilMs });
  }
}

/**
 * Calls of loops that look for work. If the line's delays are short, the call arrives at once, and so does an answer that says
 * "nothing": two thirds of all alarms of a scenario would be these. The hints that send several launchers to the ledger are late
 * by chance, so that any of them may be the first.
 */
const QUESTIONS: ReadonlySet<keyof Ledger> = new Set([
  "due", "place", "claim", "take", "takeAnchors", "takeStrays", "unsent", "unsentNotices", "leasePartitions", "lease", "groups",
  "standing", "anchors", "counts", "countEnds", "now", "prune",
]); // biome-ignore format: one list
const QUICK_MS = 10;

/** Calls that change a run: each is worth a line of the trace. */
const SAID: ReadonlySet<keyof Ledger> = new Set(["admit", "record", "claim", "take", "takeStrays", "addStray", "settleStray"]); // biome-ignore format: one list

function said(result: unknown): string {
  const of = Array.isArray(result) ? result : [result];
  return of.map((it: unknown) => (isMoved(it) ? `${it.kind} ${it.attempt.name} ${it.attempt.state}` : isWork(it) ? `${it.attempt.name} ${it.attempt.state}` : JSON.stringify(it)?.slice(0, 160) ?? "")).join(", "); // biome-ignore format: one question
}

type Named = { readonly name: string; readonly state: string };
const isWork = (it: unknown): it is { readonly attempt: Named } => typeof it === "object" && it !== null && "attempt" in it;
const isMoved = (it: unknown): it is { readonly kind: string; readonly attempt: Named } => isWork(it) && "kind" in it;
