/** How far a follower with its default settings can be behind, in virtual time: G8 of GUARANTEES.md relies on this. */
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import { createModel, type Model } from "@longshore/pocket/testing/model.ts";
import { scriptedPods } from "@longshore/pocket/testing/scripted.ts";
import t from "tap";
import { openClusters } from "../clusters.ts";
import { member, text } from "../objects.ts";
import { never } from "../testing/loopback.ts";
import { virtualClock } from "../testing/virtual-clock.ts";

interface Case {
  readonly name: string;
  readonly happens: (model: Model) => void;
  readonly faults?: readonly Fault[];
  /** The most seconds until the follower sees an object that was created right after the fault. */
  readonly mostSeconds: number;
  readonly listings: number;
}

const START_MS = 1_000_000;
const cut = (model: Model): void => model.meddle({ kind: "cut streams" });

const cases: readonly Case[] = [
  { name: "a healthy watch", happens: () => undefined, mostSeconds: 5, listings: 1 },
  { name: "a watch that was cut", happens: cut, mostSeconds: 5, listings: 1 },
  {
    name: "a watch whose versions are forgotten",
    happens(model) {
      model.meddle({ kind: "create namespace", name: "another" });
      model.meddle({ kind: "compact" });
      cut(model);
    },
    mostSeconds: 5,
    listings: 2,
  },
  {
    name: "a watch that went silent, unnoticed by anyone",
    happens: (model) => model.meddle({ kind: "silence streams" }),
    mostSeconds: 120,
    listings: 1,
  },
  {
    name: "a watch that went silent, and a server that takes the next request and does not answer",
    happens: (model) => model.meddle({ kind: "silence streams" }),
    faults: [{ on: "any", times: 1, trouble: { kind: "lost before writing" } }],
    mostSeconds: 150,
    listings: 1,
  },
  {
    name: "an API server that is away for a minute",
    happens: cut,
    faults: [{ on: "any", untilMs: START_MS + 121_000, trouble: { kind: "unsent" } }],
    mostSeconds: 60 + 30,
    listings: 1,
  },
  {
    name: "an API server that refuses everything for a minute, and asks for ten seconds each time",
    happens: cut,
    faults: [{ on: "any", untilMs: START_MS + 121_000, trouble: { kind: "status", status: 429, retryAfterSeconds: 10 } }],
    mostSeconds: 60 + 15,
    listings: 1,
  },
];

for (const { name, happens, faults = [], mostSeconds, listings } of cases) {
  t.test(`is at most ${mostSeconds} s behind after ${name}`, async (t) => {
    const clock = virtualClock({ startMs: START_MS });
    await using kubelet = scriptedPods(clock, () => ({ startsAfterMs: 100, runsMs: 1_000 }));
    await using model = createModel({ clock, kubelet, namespaces: ["batch"] });
    // Uses the real guard, because its breaker delays requests too.
    await using clusters = openClusters([{ name: "a", namespace: "batch", transport: model.transport() }], { clock });
    const cluster = clusters.cluster("a");
    const stop = new AbortController();
    const known = new Map<string, number>();
    let lists = 0;
    const following = (async () => {
      for await (const change of cluster.follow({ kind: "jobs", selector: "app=test", signal: stop.signal })) {
        if (change.kind === "listing") lists++;
        if (change.kind === "seen") known.set(text(member(member(change.object, "metadata"), "name")) ?? "", clock.now());
      }
    })();
    const post = (name: string) =>
      model.transport().send({ method: "POST", path: "/apis/batch/v1/namespaces/batch/jobs", body: job(name) }, never);
    await clock.sleep(61_000); // right after a bookmark, which is the worst moment to go silent
    happens(model);
    const { status } = await post("a");
    t.equal(status, 201);
    for (const fault of faults) model.cause(fault);
    const sinceMs = clock.now();
    while (!known.has("a") && clock.now() - sinceMs < 600_000) await clock.sleep(500);
    const seconds = ((known.get("a") ?? Infinity) - sinceMs) / 1000;
    t.comment(`${seconds} s`);
    t.ok(seconds <= mostSeconds, `${seconds} s`);
    t.equal(lists, listings, "listings");
    stop.abort();
    await following;
  });
}

function job(name: string): object {
  const template = { metadata: {}, spec: { restartPolicy: "Never", containers: [{ name: "main", image: "x" }] } };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, labels: { app: "test" } },
    spec: { backoffLimit: 0, suspend: true, template },
  };
}
