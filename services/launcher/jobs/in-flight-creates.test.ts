import { RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { AttemptState } from "@longshore/domain/run/record.ts";
import type { Created, Writes } from "@longshore/kubernetes/request/write.ts";
import type { Entry, Work } from "@longshore/ledger/port.ts";
import t, { type Test } from "tap";
import type { InFlightCreates } from "./in-flight-creates.ts";
import { IN_FLIGHT_FIRST, ANSWERS_AWAITED_MS, openInFlightCreates, UNWRITTEN_MOST } from "./in-flight-creates.ts";
import type { Parts } from "../parts.ts";
import { placerOf } from "../loops/place.ts";
import { GROUP, NAMESPACE, never, settingsFor, type Stage, stage } from "../testing/stage.ts";

interface Held extends Stage {
  readonly hand: InFlightCreates;
  readonly works: readonly Work[];
  /** How many answers each write to the ledger had. */
  readonly written: number[];
  states(): Partial<Record<AttemptState, number>>;
}

interface Troubles {
  readonly runs: number;
  /** Resolves when the n-th create may be sent. */
  readonly before?: (n: number) => Promise<void>;
  readonly record?: (entry: Entry) => Promise<void>;
}

/** This many runs, placed and claimed in one statement, and the launcher's in-flight creates of them. */
async function holding(t: Test, { runs, before, record }: Troubles): Promise<Held> {
  const it = await stage(t);
  const { ledger, owner } = it.parts;
  await ledger.putGroups([{ name: GROUP, namespace: NAMESPACE, settings: settingsFor(1_000) }]);
  const written: number[] = [];
  let waiting: Entry[] = [];
  const recording: Parts["recording"] = async (entry) => {
    if (waiting.push(entry) === 1) queueMicrotask(() => void (written.push(waiting.length), (waiting = [])));
    await record?.(entry);
    return await it.parts.recording(entry);
  };
  let creates = 0;
  const createJob: Writes["createJob"] = async (...asked): Promise<Created> => {
    await before?.(++creates);
    return await it.cluster.writes.createJob(...asked);
  };
  const parts = { ...it.parts, recording };
  const cluster = { ...it.cluster, writes: { ...it.cluster.writes, createJob } };
  for (let n = 1; n <= runs; n++) await it.publish("run.requested", { run: RunId.parse(`run/${n}`), image: "busybox" });
  const claim = { by: owner, forMs: it.parts.timing.claimMs, room: new Map([[GROUP, runs]]) };
  const { works } = await ledger.place({ most: runs, placer: placerOf(it.parts), claim });
  const states = (): Partial<Record<AttemptState, number>> => {
    const attempts = [...it.model.tables.runs.values()].flatMap(({ record: of }) => of.attempts);
    const of = Map.groupBy(attempts, ({ state }) => state);
    return Object.fromEntries([...of].map(([state, all]) => [state, all.length]));
  };
  return { ...it, works, written, states, hand: openInFlightCreates(parts, cluster) };
}

t.test("every answer of a large claim is written down, many at a time", async (t) => {
  const it = await holding(t, { runs: 100 });
  it.hand.take(it.works, never);
  t.equal(it.hand.room(), 0);
  await it.hand.rest();
  t.same(it.states(), { live: 100 });
  t.ok(it.written.length <= 4, `in ${it.written.length} strokes: ${it.written.join(", ")}`);
  t.equal(it.hand.room(), 2 * IN_FLIGHT_FIRST, "its cluster was fast");
});

t.test("a create that hangs does not keep its siblings' answers out of the ledger", async (t) => {
  const hung = Promise.withResolvers<void>();
  const it = await holding(t, { runs: 5, before: (n) => (n === 2 ? hung.promise : Promise.resolve()) });
  it.hand.take(it.works, never);
  for (let turns = 0; it.states().live !== 4; turns++) {
    if (turns > 100) throw new Error(`it did not come to that: ${JSON.stringify(it.states())}`);
    await it.clock.sleep(20);
  }
  t.same(it.states(), { live: 4, claimed: 1 });
  hung.resolve();
  await it.hand.rest();
  t.same(it.states(), { live: 5 });
});

t.test("an attempt whose time to wait is over does not make its siblings' answers wait for the slowest", async (t) => {
  const hung = Promise.withResolvers<void>();
  const it = await holding(t, { runs: 4, before: (n) => (n === 1 ? hung.promise : Promise.resolve()) });
  const [first, ...others] = it.works;
  if (first === undefined) throw new TypeError("nothing was claimed");
  const { attempt } = first;
  const worn: Work = { ...first, attempt: { ...attempt, notes: { ...attempt.notes, waitUntilMs: first.nowMs } } };
  it.hand.take([worn, ...others], never);
  for (let turns = 0; it.states().live !== 2; turns++) {
    if (turns > 100) throw new Error(`it did not come to that: ${JSON.stringify(it.states())}`);
    await it.clock.sleep(20);
  }
  t.same(it.states(), { done: 1, live: 2, claimed: 1 });
  hung.resolve();
  await it.hand.rest();
  t.same(it.states(), { done: 1, live: 3 });
});

t.test("answers that the ledger does not take now are given to it again", async (t) => {
  let away = 3;
  const record = async (): Promise<void> => {
    if (away-- > 0) throw new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached.");
  };
  const it = await holding(t, { runs: 3, record });
  it.hand.take(it.works, never);
  await it.hand.rest();
  t.same(it.states(), { live: 3 });
});

t.test("if the ledger stays away, the claims are left to run out, and nothing breaks", async (t) => {
  const record = () => Promise.reject(new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached."));
  const it = await holding(t, { runs: 3, record });
  it.hand.take(it.works, never);
  await it.hand.rest();
  t.same(it.states(), { claimed: 3 });
  t.doesNotThrow(() => it.hand.check());
  t.match(it.said, [{ message: /could not be written down/ }]);
});

t.test("a bug in one create is thrown by the loop, and its siblings are written down", async (t) => {
  const it = await holding(t, { runs: 4, before: (n) => (n === 2 ? Promise.reject(new TypeError("a bug")) : Promise.resolve()) });
  it.hand.take(it.works, never);
  await it.hand.rest();
  t.same(it.states(), { live: 3, claimed: 1 });
  t.throws(() => it.hand.check(), { message: "a bug" });
});

t.test("wakes the launch loop when half of the slots are free again, if that loop wanted to claim", async (t) => {
  const gate = Promise.withResolvers<void>();
  const it = await holding(t, { runs: IN_FLIGHT_FIRST, before: () => gate.promise });
  it.hand.take(it.works, never);
  t.equal(it.hand.wants(), false);
  const woken = it.parts.wakeUps.ready.wait(60_000, never);
  gate.resolve();
  await it.hand.rest();
  t.equal(await woken, "woken");
  t.equal(it.hand.wants(), true);
});

t.test("takes fewer creates for a cluster that is slow, and never none", async (t) => {
  let clock: Stage["clock"] | undefined;
  const it = await holding(t, { runs: 1, before: async () => await clock?.sleep(5_000) });
  clock = it.clock;
  const rooms: number[] = [];
  for (let n = 0; n < 4; n++) {
    it.hand.take(it.works, never);
    await it.hand.rest();
    rooms.push(it.hand.room());
  }
  t.same(rooms, [16, 8, 8, 8]);
});

t.test("takes fewer creates if nothing comes of them, however fast the answers are", async (t) => {
  const it = await holding(t, { runs: 20 });
  it.pocket.cause({ on: "create", trouble: { kind: "unsent" } });
  it.hand.take(it.works, never);
  await it.hand.rest();
  t.same(it.states(), { waiting: 20 });
  t.equal(it.hand.room(), IN_FLIGHT_FIRST / 2);
});

t.test("claims nothing more while the ledger does not take the answers that there are", async (t) => {
  const gate = Promise.withResolvers<void>();
  const it = await holding(t, { runs: 100, record: () => gate.promise });
  it.pocket.cause({ on: "create", trouble: { kind: "unsent" } });
  for (let n = 0; n < UNWRITTEN_MOST; n += 100) it.hand.take(it.works, never);
  for (let turns = 0; it.hand.room() > 0 && turns < 100; turns++) await it.clock.sleep(20);
  await it.clock.sleep(1_000);
  t.equal(it.hand.room(), 0, "also when all creates are answered");
  gate.resolve();
  await it.hand.rest();
  t.ok(it.hand.room() > 0);
});

t.test("told to stop, it still hears what is answered soon, and writes it down", async (t) => {
  const gate = Promise.withResolvers<void>();
  const it = await holding(t, { runs: 4, before: () => gate.promise });
  const stop = new AbortController();
  it.hand.take(it.works, stop.signal);
  stop.abort();
  await it.clock.sleep(ANSWERS_AWAITED_MS / 2);
  gate.resolve();
  await it.hand.rest();
  t.same(it.states(), { live: 4 });
});

t.test("told to stop, it does not wait for a cluster that hangs", async (t) => {
  const it = await holding(t, { runs: 2 });
  for (const _ of it.works) it.pocket.cause({ on: "create", trouble: { kind: "slow", byMs: 60_000 } });
  const stop = new AbortController();
  it.hand.take(it.works, stop.signal);
  stop.abort();
  const beganMs = it.clock.now();
  await it.hand.rest();
  t.ok(it.clock.now() - beganMs <= ANSWERS_AWAITED_MS + 1_000, `it took ${it.clock.now() - beganMs} ms`);
  t.doesNotThrow(() => it.hand.check());
});
