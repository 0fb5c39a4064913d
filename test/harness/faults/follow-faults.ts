/**
 * Faults that a follower must survive, as one body of tests for any cluster: the pocket over HTTPS and a real API server.
 *
 * The failure this prevents: a follower that survives a fault only because the cluster is our pocket. The numbers are those of
 * the faults in GUARANTEES.md. After each fault the follower's picture must be the server's, the follower must go on, and it
 * must not have sent a storm of requests.
 */
import type { AskNames } from "@longshore/kubernetes/request/cluster-addresses.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import type { Test } from "tap";
import { anything, listing, nextPage, statusOf, watching } from "./fault-proxy-faults.ts";
import type { Flow } from "./fault-proxy-flow.ts";
import { type Ground, type Stage, type StageOptions, stage } from "./follow-stage.ts";

interface Case extends StageOptions {
  readonly name: string;
  /** Makes the fault, and the changes in the cluster meanwhile. Resolves when the fault has happened. */
  readonly happens: (it: Stage, ground: Ground) => Promise<unknown>;
  /** The reason that the follower must give. */
  readonly says: RegExp;
  /** The most requests that the follower may send from the fault until its picture is the server's again. */
  readonly requestsMost: number;
}

const jobs = ["a", "b", "c", "d", "e"];
const watches = watching("jobs");
const lists = listing("jobs");
const expired = statusOf(410, "Expired", "The resourceVersion for the provided watch is too old.");
const page = "<!doctype html><html><body>Please accept the terms of this network.</body></html>";

const toWatch = async (it: Stage, act: (flow: Flow) => void): Promise<void> => act(await it.proxy.flow(watches));

/** Adds a Job, deletes one and takes a label off a third: a follower that missed any of these has a wrong picture. */
async function churn(it: Stage): Promise<void> {
  await it.create("new");
  await it.remove("a");
  await it.relabel("b", "no");
}

const cases: readonly Case[] = [
  {
    name: "13 a watch that stays open and carries nothing any more",
    stallMs: 1_500,
    happens: async (it) => {
      await toWatch(it, (flow) => flow.silence());
      await churn(it);
    },
    says: /silent/,
    requestsMost: 6,
  },
  {
    name: "13 a watch that is answered with a head and nothing else",
    stallMs: 1_500,
    happens: async (it) => {
      const struck = it.proxy.cause(watches, { kind: "silent", afterBytes: 0 });
      await toWatch(it, (flow) => flow.reset());
      await struck;
      await churn(it);
    },
    says: /cut.*silent/,
    requestsMost: 8,
  },
  {
    name: "14 half a line, and then a proper end",
    happens: async (it) => {
      await toWatch(it, (flow) => flow.meet({ kind: "half a line" }));
      await churn(it);
    },
    says: /cut/,
    requestsMost: 4,
  },
  {
    name: "14 half a line, and then a reset",
    happens: async (it) => {
      await toWatch(it, (flow) => flow.meet({ kind: "cut", afterBytes: 100 }));
      await churn(it);
    },
    says: /cut/,
    requestsMost: 4,
  },
  {
    name: "15 a gateway's page in the middle of a watch",
    happens: async (it) => {
      await toWatch(it, (flow) => flow.say(page));
      await churn(it);
    },
    says: /garbage/,
    requestsMost: 4,
  },
  {
    name: "15 a line that is JSON and no event",
    happens: async (it) => {
      await toWatch(it, (flow) =>
        flow.say(JSON.stringify({ type: "MODIFIED", object: { kind: "Job", metadata: { name: "a" } } })),
      );
      await churn(it);
    },
    says: /garbage/,
    requestsMost: 4,
  },
  {
    name: "15 a captive portal instead of a listing",
    happens: async (it) => {
      const struck = it.proxy.cause(lists, { kind: "answer", status: 200, body: page }, 3);
      await toWatch(it, (flow) => flow.say("{"));
      await struck;
      await churn(it);
    },
    says: /garbage.*garbage/,
    requestsMost: 8,
  },
  {
    name: "16 a watch that is refused with 410",
    happens: async (it) => {
      const struck = it.proxy.cause(watches, { kind: "answer", status: 410, body: expired });
      await toWatch(it, (flow) => flow.reset());
      await struck;
      await churn(it);
    },
    says: /expired/,
    requestsMost: 6,
  },
  {
    name: "17 410 within a watch",
    happens: async (it) => {
      await toWatch(it, (flow) => flow.say(JSON.stringify({ type: "ERROR", object: expired })));
      await churn(it);
    },
    says: /expired/,
    requestsMost: 4,
  },
  {
    name: "17 410 within every watch for a while",
    happens: async (it) => {
      const line = JSON.stringify({ type: "ERROR", object: expired });
      void it.proxy.cause(watches, { kind: "line", text: line }, 5);
      await toWatch(it, (flow) => flow.reset());
      await churn(it);
      await it.said(() => it.changes.filter(({ kind, reason }) => kind === "broken" && reason === "expired").length === 5);
    },
    says: /(expired.*){5}/,
    requestsMost: 16,
  },
  {
    name: "18 a continue token that expired between two pages",
    pageSize: 2,
    happens: async (it) => {
      const struck = it.proxy.cause(nextPage("jobs"), { kind: "answer", status: 410, body: expired }, 2);
      await toWatch(it, (flow) => flow.say("{"));
      await struck;
      await churn(it);
    },
    says: /garbage.*pageExpired/,
    requestsMost: 16,
  },
  {
    name: "18 all versions forgotten while a listing is between two pages",
    pageSize: 2,
    exchange: { silenceMs: 120_000 }, // the held page outlasts the API server's new start, which a busy machine makes slow
    happens: async (it, ground) => {
      const forgotten = Promise.withResolvers<void>();
      const struck = it.proxy.cause(nextPage("jobs"), { kind: "held", until: forgotten.promise });
      await toWatch(it, (flow) => flow.say("{"));
      await struck;
      await churn(it);
      await ground.forget();
      forgotten.resolve();
    },
    says: /garbage.*pageExpired/,
    requestsMost: 60,
  },
  {
    name: "20 a listing from a server that lags behind",
    happens: async (it) => {
      const kept = it.proxy.keep(lists);
      await toWatch(it, (flow) => flow.say("{"));
      const { status, body } = await kept;
      await it.said((change) => change.reason === "garbage");
      await churn(it);
      await it.agreed();
      const struck = it.proxy.cause(lists, { kind: "answer", status, headers: { "content-type": "application/json" }, body });
      await toWatch(it, (flow) => flow.say("{"));
      await struck;
    },
    says: /garbage.*garbage/,
    requestsMost: 10,
  },
  {
    name: "22 deleted and made again under the same name while nothing could be seen",
    happens: async (it) => {
      it.proxy.refuse(true);
      it.proxy.cut();
      await it.said((change) => change.reason === "unreachable");
      await it.remove("a");
      await it.create("a");
      it.proxy.refuse(false);
    },
    says: /unreachable/,
    requestsMost: 4,
  },
  {
    name: "25 429 for everything, with Retry-After",
    happens: async (it) => {
      const headers = { "retry-after": "1" };
      const body = "Too many requests, please try again later.";
      const struck = it.proxy.cause(anything, { kind: "answer", status: 429, headers, body }, 3);
      await toWatch(it, (flow) => flow.reset());
      await struck;
      await churn(it);
    },
    says: /(throttled.*){3}/,
    requestsMost: 5,
  },
  {
    name: "26 an API server that answers errors, and a gateway without one",
    happens: async (it) => {
      const broken = statusOf(500, "InternalError", 'Internal error occurred: failed calling webhook "guard.example.org": EOF');
      const first = it.proxy.cause(anything, { kind: "answer", status: 500, body: broken }, 3);
      void it.proxy.cause(anything, { kind: "answer", status: 503, body: "upstream connect error" }, 3);
      void it.proxy.cause(anything, { kind: "answer", status: 502, body: page }, 2);
      await toWatch(it, (flow) => flow.reset());
      await first;
      await churn(it);
    },
    says: /(unreachable.*){8}/,
    requestsMost: 12,
  },
  {
    name: "62 connections that a gateway has forgotten",
    stallMs: 1_500,
    happens: async (it) => {
      it.proxy.halfOpen();
      await churn(it);
    },
    says: /silent/,
    requestsMost: 8,
  },
  {
    name: "62 a listing that is reset, cut, lost, late and never answered",
    pageSize: 3,
    happens: async (it) => {
      const struck = it.proxy.cause(lists, { kind: "reset" });
      void it.proxy.cause(lists, { kind: "cut", afterBytes: 700 });
      void it.proxy.cause(lists, { kind: "reply lost" });
      void it.proxy.cause(lists, { kind: "late", byMs: 200 });
      void it.proxy.cause(nextPage("jobs"), { kind: "unanswered" });
      await toWatch(it, (flow) => flow.say("{"));
      await struck;
      await churn(it);
    },
    says: /(unreachable.*){3}/,
    requestsMost: 16,
  },
  {
    name: "62 loss, latency and resets in everything",
    happens: async (it) => {
      const random = chance(7);
      it.proxy.weather({ latencyMs: 10, jitterMs: 30, loss: 0.05, lossMs: 250, resets: 0.1, random });
      await toWatch(it, (flow) => flow.reset());
      for (let i = 0; i < 30; i++) {
        await it.create(`late-${i}`);
        if (i % 3 === 0) await it.remove(`late-${i}`);
      }
    },
    says: /cut/,
    requestsMost: 120,
  },
];

/** Random numbers from a seed, so that a failure can be repeated. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}

export function followFaults(t: Test, open: () => Ground): void {
  for (const { name, happens, says, requestsMost, ...options } of cases) {
    t.test(`survives ${name}`, async (t) => {
      await using it = await stage(open(), { jobs, ...options });
      it.follow();
      await it.said((change) => change.kind === "listed");
      await it.agreed();
      await it.proxy.flow(watches);
      const before = it.proxy.journal.length;
      await happens(it, open());
      const begunMs = clock.now();
      await it.agreed();
      t.comment(`both agree ${clock.now() - begunMs} ms after the fault, with ${it.proxy.journal.length - before} requests`);
      t.match(it.reasons().join(" "), says);
      t.ok(it.proxy.journal.length - before <= requestsMost, `${it.proxy.journal.length - before} requests`);
      t.equal(it.ended(), undefined, "it goes on");
    });
  }

  t.test(
    "survives 63 a name that stops resolving: by the addresses it had, and without them when it resolves again",
    async (t) => {
      let answers: "well" | "not" = "not";
      const names: AskNames = (_name, _options, answer) => {
        if (answers === "well") answer(null, [{ address: "127.0.0.1", family: 4 }]);
        else answer(Object.assign(new Error("no DNS"), { code: "EAI_AGAIN" }), []);
      };
      await using it = await stage(open(), { jobs, names });
      it.follow();
      await it.said((change) => change.reason === "unreachable");
      t.equal(it.proxy.journal.length, 0);
      answers = "well";
      await it.said((change) => change.kind === "listed");
      await it.agreed();
      answers = "not";
      it.proxy.cut();
      await churn(it);
      await it.agreed();
      t.equal(it.ended(), undefined, "it goes on");
    },
  );
}
