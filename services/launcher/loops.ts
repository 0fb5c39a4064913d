/** The launcher's loops over given parts, so that the simulation runs the same ones. */
import type { GroupName } from "@longshore/contract/ids.ts";
import type { Loop } from "@longshore/runtime/loop.ts";
import { probe } from "./groups/probe.ts";
import { admit } from "./intake/admit.ts";
import { observe } from "./intake/observe.ts";
import { receive } from "./intake/receive.ts";
import { type InFlightCreates, openInFlightCreates } from "./jobs/in-flight-creates.ts";
import { close } from "./loops/close.ts";
import { countEnds } from "./loops/count-ends.ts";
import { expire } from "./loops/expire.ts";
import { launch } from "./loops/launch.ts";
import { place } from "./loops/place.ts";
import { relay } from "./loops/relay.ts";
import { release } from "./loops/release.ts";
import { retryLoop } from "./loops/retry-loop.ts";
import { prune, sweep } from "./loops/sweep.ts";
import { tally, type Unknown } from "./loops/tally.ts";
import type { Cluster, Parts } from "./parts.ts";

export function launcherLoops(parts: Parts): Readonly<Record<string, Loop>> & { readonly countEnds: Loop } {
  const { clusters } = parts;
  const unknown: Unknown = new Map();
  const inFlight = new Map<GroupName, InFlightCreates>();
  return {
    admit: (signal) => receive(parts, "commands", admit(parts), signal),
    observe: (signal) => receive(parts, "facts", observe(parts), signal),
    place: place(parts, inFlight), // waiting: find the first group that can take each attempt, or why none can
    ...perGroup("launch", (parts, cluster) => launch(parts, cluster, inFlightOf(cluster))), // ready: claim, POST the Job, or adopt what an earlier try posted
    ...perGroup("close", close), // closing: delete the Job until its pods are gone
    ...perGroup("expire", expire), // live and due: end what did not start in time, or runs too long
    ...perGroup("release", release), // ended: take our hold off
    ...perGroup("sweep", sweep), // delete Jobs that should not be there
    ...perGroup("tally", (parts, cluster) => tally(parts, cluster, unknown)), // compare ledger and Jobs; then adopt, release, or report lost
    ...perGroup("probe", probe), // ask whether the cluster answers, and is still the same one
    relay: relay(parts), // publish the events, per run in order
    countEnds: countEnds(parts), // count how runs ended, per hour
    prune: prune(parts), // delete rows that the ledger no longer needs
    listen: listen(parts), // turn the ledger's hints into wake-ups
    wake: wake(parts), // wake the loops that have work due by now
  };

  function inFlightOf(cluster: Cluster): InFlightCreates {
    const creates = inFlight.get(cluster.name) ?? openInFlightCreates(parts, cluster);
    inFlight.set(cluster.name, creates);
    return creates;
  }

  /** Each group has its own loop, so that one dead cluster costs the others nothing. */
  function perGroup(name: string, loop: (parts: Parts, cluster: Cluster) => Loop): Readonly<Record<string, Loop>> {
    return Object.fromEntries([...clusters.values()].map((cluster) => [`${name} ${cluster.name}`, loop(parts, cluster)]));
  }
}

/** Wakes loops by the ledger's hints. Without hints every loop still looks by itself, later. */
function listen({ ledger, wakeUps }: Parts): Loop {
  return async (signal) => {
    for await (const kind of ledger.changes(signal)) wakeUps[kind].wake();
  };
}

/**
 * Wakes the loops that have work due now: no NOTIFY comes when work falls due by time, and a busy loop misses wake-ups.
 *
 * The bug this prevents: an idle launcher that costs the ledger a hundred questions a second, because each loop of each group
 * asks whether there is work. Each loop still looks by itself every `lookMs`.
 */
export function wake(parts: Parts): Loop {
  const { ledger, wakeUps, clusters, timing } = parts;
  const groups = [...clusters.keys()];
  return (signal) =>
    retryLoop(parts, { what: "wake", ms: timing.pollMs, signal }, async () => {
      for (const kind of await ledger.due(groups)) wakeUps[kind].wake();
    });
}
