/**
 * The recorder's loops over models, to two APIs that are played: one that is often ill, and for ten minutes answers only 500, and
 * one that is well. Recorders are killed and frozen at any moment, also between an answer and its record, and the ledger's answers
 * are lost.
 *
 * The bug this prevents: an event that overtakes the one before it, or that nobody is told, because a recorder died at a line
 * that no test thought of.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Deliveries } from "@longshore/ledger/deliveries.ts";
import { claimed, complete, created, entry, failed, INSTALLATION, jobName, released, started, wanted } from "@longshore/ledger/testing/conformance-parts.ts"; // biome-ignore format: a list of names
import { deliveriesModel } from "@longshore/ledger/testing/deliveries-model.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import { openBreaker } from "@longshore/recorder/breaker.ts";
import type { Parts, Sink } from "@longshore/recorder/parts.ts";
import type { Rule } from "@longshore/recorder/rules.ts";
import type { Answer, Send } from "@longshore/recorder/send.ts";
import { listen, serveSink } from "@longshore/recorder/serve-sink.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff, together, wakeUp } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import { chanceOf } from "../scenario/chance.ts";
import { type Mortal, mortal } from "../world/mortal.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const START_MS = Date.UTC(2030, 0, 1);

const TIMEOUT_MS = 10 * SECOND;
const IN_FLIGHT = 4;
const RECORDERS = 2;
const CHAOS_MS = 20 * MINUTE;
/** From here on the ill API answers 500, for ten minutes. */
export const OUTAGE = { fromMs: START_MS + 5 * MINUTE, untilMs: START_MS + 15 * MINUTE } as const;
const REST_MS = 60 * MINUTE;

const RULES: readonly Rule[] = ["first", "second"].map((step) => ({
  on: step === "first" ? ["run.*"] : ["run.started", "run.succeeded", "run.failed"],
  match: {},
  method: "POST",
  url: "https://api.example/${{ event.run }}",
  headers: {},
  body: { sequence: "${{ event.sequence }}", rule: step },
}));

/** A request as an API got it. */
export interface Got {
  readonly sink: string;
  readonly run: string;
  readonly id: string;
  /** Its place in the run's line: requests have to come in this order. */
  readonly place: number;
  readonly fromMs: number;
  /** When the API was done with it; `status` 0: its answer was lost. */
  readonly untilMs: number;
  readonly status: number;
}

export interface Played {
  readonly got: readonly Got[];
  /** The places that each run's line has, in order. */
  readonly wanted: ReadonlyMap<string, readonly number[]>;
  /** How often something happened after which a request that was taken is sent again. */
  readonly disturbed: number;
  /** How many recorders were started: each has a breaker of its own. */
  readonly starts: number;
  /** Recorders that ended by themselves. */
  readonly falls: readonly string[];
}

export async function playRecorder(seed: number): Promise<Played> {
  const chance = chanceOf(`recorder ${seed}`);
  const clock = stepsClock({ nowMs: START_MS, random: () => chance.random(), stepsPerTurn: 2_000 });
  const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
  const deliveries = deliveriesModel(model.tables, clock);
  await deliveries.putSinks(["ill", "well"]);
  const got: Got[] = [];
  const falls: string[] = [];
  let [disturbed, starts, isHealed] = [0, 0, false];
  const troubles = {
    ledger: chance.pick([0, 0.02, 0.1]),
    crash: chance.pick([0, 0, 0.01, 0.03]),
    freeze: chance.pick([0, 0, 1]),
    lost: chance.pick([0, 0.05]),
  };
  const happens = (probability: number): boolean => !isHealed && chance.is(probability) && ++disturbed > 0;

  const answer = (sink: string): number => {
    if (sink === "ill" && clock.now() >= OUTAGE.fromMs && clock.now() < OUTAGE.untilMs) return 500;
    if (happens(troubles.lost)) return 0;
    return sink === "ill" && !isHealed && chance.is(0.1) ? chance.pick([408, 429, 500, 503]) : 204;
  };

  const sending =
    (sink: string): Send =>
    async ({ url, body, headers }) => {
      const { sequence, rule } = JSON.parse(body) as { readonly sequence: number; readonly rule: string };
      const fromMs = clock.now();
      await clock.sleep(chance.between(5, chance.is(0.05) ? 2 * TIMEOUT_MS : chance.pick([300, 4 * SECOND])));
      const isLate = clock.now() - fromMs > TIMEOUT_MS;
      const status = answer(sink);
      if (isLate) disturbed++;
      got.push({
      sink, status, fromMs,
      run: new URL(url).pathname,
      id: headers["webhook-id"] ?? "",
      place: sequence * RULES.length + RULES.findIndex(({ body }) => (body as { readonly rule: string }).rule === rule),
      untilMs: Math.min(clock.now(), fromMs + TIMEOUT_MS),
    }); // biome-ignore format: one row
      if (status === 0 || isLate) throw new Failure("retry", "ETIMEDOUT", "It gave no answer.");
      return { status, retryAfterMs: status === 429 ? 30 * SECOND : undefined, says: "" } satisfies Answer;
    };

  /** The ledger over a network: a call may not arrive, or its answer may be lost. */
  function heardBy(process: Mortal): Deliveries {
    const heard = <A extends readonly unknown[], R>(call: (...asked: A) => Promise<R>) => (...asked: A): Promise<R> => process.hear(called(() => call(...asked))); // biome-ignore format: one line
    async function called<R>(call: () => Promise<R>): Promise<R> {
      await clock.sleep(chance.between(1, 20));
      if (happens(troubles.ledger)) throw new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached.");
      const result = await call();
      await clock.sleep(chance.between(1, 20));
      if (happens(troubles.ledger)) throw new Failure("retry", "LedgerUnreachable", "The ledger's connection was lost.");
      return result;
    }
    const { hold, letGo, advance, settle, stop } = deliveries;
    /** Frozen with what is due in its hands, a process may find out much later that another one has told it. */
    const due: Deliveries["due"] = async (...asked) => {
      const lines = await deliveries.due(...asked);
      if (lines.length > 0 && happens(0.03 * troubles.freeze)) freeze(process);
      return lines;
    };
    return { ...deliveries, hold: heard(hold), letGo: heard(letGo), advance: heard(advance), due: heard(due), settle: heard(settle), stop: heard(stop) }; // biome-ignore format: one value
  }

  const slots: (Mortal | undefined)[] = [];
  function start(slot: number): void {
    const process = mortal({ name: `recorder-${slot}.${++starts}`, clock });
    slots[slot] = process;
    const sinks = ["ill", "well"].map(
      (name): Sink => ({
        name,
        rules: RULES,
        signingKeys: undefined,
        timeoutMs: TIMEOUT_MS,
        inFlightMax: IN_FLIGHT,
        breaker: openBreaker(process.clock, IN_FLIGHT),
        wakeUp: wakeUp(process.clock),
        send: (request, signal) => process.hear(sending(name)(request, signal)),
      }),
    );
    const parts: Parts = {
      installation: INSTALLATION,
      owner: process.name,
      clock: process.clock,
      log: silentLog,
      metrics: openMetrics("recorder", "test"),
      ledger: heardBy(process),
      sinks,
      timing: { pollMs: 10 * SECOND, leaseMs: undefined, giveUpMs: 72 * 60 * MINUTE },
      fail: () => (happens(troubles.crash) ? kill(slot) : undefined),
      pause: backOff(process.clock),
    };
    const loops = Object.fromEntries(sinks.map((it) => [it.name, serveSink(parts, it)]));
    void together(new AbortController().signal, { ...loops, listen: listen(parts) }).catch((error: unknown) =>
      falls.push(`${process.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
    );
  }

  /** The process never goes on behind this. */
  function kill(slot: number): Promise<void> {
    disturbed += IN_FLIGHT * 2; // whatever was on its way may come again
    slots[slot]?.crash();
    void clock.sleep(chance.pick([1, 20, 90]) * SECOND).then(() => start(slot));
    return new Promise(() => undefined);
  }

  /** For longer than the lease, at times. */
  function freeze(process: Mortal): void {
    disturbed += IN_FLIGHT * 2;
    process.freeze();
    void clock.sleep(chance.pick([5, 35, 70]) * SECOND).then(() => process.thaw());
  }

  async function meddle(): Promise<void> {
    for (;;) {
      await clock.sleep(chance.between(5, 120) * SECOND);
      if (isHealed) return;
      const slot = chance.between(0, RECORDERS - 1);
      const process = slots[slot];
      if (process?.state() !== "running") continue;
      if (chance.is(10 * troubles.crash)) void kill(slot);
      else if (chance.is(troubles.freeze)) freeze(process);
    }
  }

  const ledger = model.connect();
  async function run(id: string): Promise<void> {
    await clock.sleep(chance.between(0, CHAOS_MS));
    const [work] = await claimed(ledger, [wanted(id)]);
    for (const input of [created, started, chance.is(0.7) ? complete : failed]) {
      await clock.sleep(chance.pick([0, 50, 5 * SECOND, 90 * SECOND]));
      if (work !== undefined) await ledger.record([entry(work, input(work))]);
    }
    if (work !== undefined) await ledger.record([entry(work, released)]);
  }

  const isLeft = async (): Promise<boolean> =>
    (await deliveries.states()).some(({ waiting, behindMs }) => waiting > 0 || behindMs > 0);

  for (let slot = 0; slot < RECORDERS; slot++) start(slot);
  void meddle();
  for (let n = chance.between(5, 25); n > 0; n--) void run(`run-${n}`);
  await clock.pass(CHAOS_MS + 2 * MINUTE);
  isHealed = true;
  for (let restMs = 0; restMs < REST_MS && (await isLeft()); restMs += MINUTE) await clock.pass(MINUTE);
  const stories = [...model.tables.runs].map(([id, { story }]) => {
    const places = story.flatMap(({ type, sequence }) =>
      RULES.flatMap(({ on }, rule) => (on.some((it) => it === type || it === "run.*") ? [sequence * RULES.length + rule] : [])),
    );
    return [`/${id}`, places] as const;
  });
  return { got, wanted: new Map(stories), disturbed, starts, falls };
}

/** The most requests that one breaker lets through in ten minutes of failures: at first some at once, then one at a time. */
const FAILED_MOST = 5 + IN_FLIGHT + 25;

export function problemsOf({ got, wanted, disturbed, starts, falls }: Played): readonly string[] {
  const lines = [...Map.groupBy(got, ({ sink, run }) => `${sink} ${run}`)];
  const ofLines = lines.flatMap(([line, requests]) => {
    const inTurn = requests.toSorted((a, b) => a.fromMs - b.fromMs);
    const taken = inTurn.filter(({ status }) => status === 204);
    const isTold = (place: number): boolean => taken.some((it) => it.place === place);
    return [
      ...inTurn.flatMap((it, at) => {
        const before = inTurn[at - 1];
        if (before === undefined) return [];
        const early = it.fromMs < before.untilMs ? [`${line}: ${it.place} was sent while ${before.place} was on its way`] : [];
        const isBack = it.place < before.place;
        return [...early, ...(isBack ? [`${line}: ${it.place} came after ${before.place}`] : [])];
      }),
      ...inTurn.flatMap((it, at) => {
        const left = wanted
          .get(it.run)
          ?.find((place) => place < it.place && !inTurn.slice(0, at).some((of) => of.place === place));
        return left === undefined ? [] : [`${line}: ${it.place} came before ${left}`];
      }),
      ...[...Map.groupBy(inTurn, ({ place }) => place)].flatMap(([place, all]) =>
        new Set(all.map(({ id }) => id)).size > 1 ? [`${line}: ${place} came with several ids`] : [],
      ),
      ...(wanted.get(requests[0]?.run ?? "") ?? [])
        .filter((place) => !isTold(place))
        .map((place) => `${line}: ${place} was never taken`),
    ];
  });
  const unheard = [...wanted].flatMap(
    ([run, places]) =>
    places.length > 0 ? ["ill", "well"].filter((sink) => !lines.some(([line]) => line === `${sink} ${run}`)).map((sink) => `${sink} heard nothing of ${run}`) : [], // biome-ignore format: one question
  );
  const again = got.filter(({ status }) => status === 204).length - new Set(got.filter(({ status }) => status === 204).map(({ id }) => id)).size; // biome-ignore format: one count
  const failed = got.filter(({ sink, status, fromMs }) => sink === "ill" && status === 500 && fromMs >= OUTAGE.fromMs && fromMs < OUTAGE.untilMs).length; // biome-ignore format: one count
  return [
    ...falls,
    ...ofLines,
    ...unheard,
    ...(again > disturbed ? [`${again} requests came again although they were taken, and ${disturbed} things went wrong`] : []),
    ...(failed > starts * FAILED_MOST ? [`${failed} requests came in ten minutes of 500, from ${starts} recorders`] : []),
  ];
}
