/** One sink's loop in virtual time: over the models of the ledger, to a sink that a function plays. */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { SinkState } from "@longshore/ledger/deliveries.ts";
import {
  claimed,
  complete,
  finish,
  HOUR_MS,
  INSTALLATION,
  jobName,
  wanted,
} from "@longshore/ledger/testing/conformance-parts.ts";
import { deliveriesModel } from "@longshore/ledger/testing/deliveries-model.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff, wakeUp } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import type { Test } from "tap";
import { openBreaker } from "../breaker.ts";
import type { Parts, Sink } from "../parts.ts";
import type { Rule } from "../rules.ts";
import type { Answer } from "../send.ts";
import { serveSink } from "../serve-sink.ts";

export const NAME = "shop";

export const ALL: Rule = {
  on: ["run.*"],
  match: {},
  method: "POST",
  url: "https://shop.example/${{ event.run }}",
  headers: {},
  body: { type: "${{ event.type }}" },
};

interface Got {
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly id: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How the sink answers the request: a status, or that it does not. */
type Playing = (got: Got, count: number) => Partial<Answer> | "silent";

export const ok = { status: 204 };

export async function stage(
  t: Test,
  {
    rules = [ALL],
    play = () => ok,
    inFlight = 8,
    pollMs = 1_000,
  }: { rules?: readonly Rule[]; play?: Playing; inFlight?: number; pollMs?: number } = {},
) {
  const clock = stepsClock({ nowMs: Date.UTC(2030, 0, 1) });
  const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
  const deliveries = deliveriesModel(model.tables, clock);
  await deliveries.putSinks([NAME]);
  const got: Got[] = [];
  const out = new Map<string, number>();
  let most = 0;
  const sink: Sink = {
    name: NAME,
    rules,
    signingKeys: undefined,
    timeoutMs: 10_000,
    inFlightMax: inFlight,
    breaker: openBreaker(clock, inFlight),
    wakeUp: wakeUp(clock),
    send: async ({ method, url, headers, body }, signal) => {
      const path = new URL(url).pathname;
      t.equal(out.get(path) ?? 0, 0, "one request of a run at a time");
      out.set(path, 1);
      most = Math.max(
        most,
        [...out.values()].reduce((sum, it) => sum + it, 0),
      );
      const request = { atMs: clock.now(), method, path, id: headers["webhook-id"] ?? "", body: JSON.parse(body) as Got["body"] };
      got.push(request);
      await clock.sleep(100, signal);
      out.set(path, 0);
      const answer = play(request, got.length);
      if (answer === "silent" || signal.aborted) throw new Failure("retry", "ETIMEDOUT", "It gave no answer.");
      return { status: 200, retryAfterMs: undefined, says: "", ...answer };
    },
  };
  const parts: Parts = {
    installation: INSTALLATION,
    owner: "me",
    clock,
    log: silentLog,
    metrics: openMetrics("recorder", "test"),
    ledger: deliveries,
    sinks: [sink],
    timing: { pollMs, leaseMs: undefined, giveUpMs: 72 * HOUR_MS },
    fail: noFailpoint,
    pause: backOff(clock),
  };
  const ledger = model.connect();
  /** A run each, from its acceptance to its end: four events. */
  const runs = async (...ids: string[]): Promise<void> => {
    for (const work of await claimed(
      ledger,
      ids.map((id) => wanted(id)),
    ))
      await finish(ledger, work, complete);
  };
  const serving = (owner: string, of = sink) => {
    const stop = new AbortController();
    const ended = serveSink({ ...parts, owner }, of)(stop.signal);
    return { stop: async () => { stop.abort(); await clock.pass(20_000); await ended; } }; // biome-ignore format: one value
  };
  const state = async (): Promise<SinkState | undefined> => (await deliveries.states())[0];
  const typesOf = (run: string) =>
    got.filter(({ path }) => path === `/${run}`).map(({ body }) => String(body["type"]).replace("run.", ""));
  return { clock, ledger, deliveries, parts, sink, got, runs, serving, state, typesOf, mostAtOnce: () => most };
}

export const STORY = ["accepted", "launched", "started", "succeeded"];
