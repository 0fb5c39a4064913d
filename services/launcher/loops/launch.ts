/**
 * Ready attempts: claims them, POSTs their Jobs, and records the answers. An expired claim is made again; if its fence has
 * passed, a look at its Job decides first.
 *
 *   claim (ledger) ──▶ POST (cluster) ──▶ record (ledger)      the last two in jobs/in-flight-creates.ts
 *        died here: the claim runs out, the next POST meets 409 and adopts ──┘
 */
import { mayClaim } from "@longshore/domain/group/view.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import type { InFlightCreates } from "../jobs/in-flight-creates.ts";
import { look } from "../jobs/look.ts";
import type { Cluster, Parts } from "../parts.ts";
import { drain, retryLoop } from "./retry-loop.ts";

export function launch(parts: Parts, cluster: Cluster, creates: InFlightCreates) {
  return async (signal: AbortSignal): Promise<void> => {
    await Promise.all([claiming(parts, cluster, creates, signal), unfence(parts, cluster, signal)]);
    await creates.rest();
  };
}

/**
 * Claims attempts that were placed while no launcher had room for them, and claims that ran out. The place loop claims the
 * others itself.
 */
function claiming(parts: Parts, { name: group, pace }: Cluster, creates: InFlightCreates, signal: AbortSignal): Promise<void> {
  return retryLoop(parts, { what: `launch ${group}`, ms: parts.timing.lookMs, wakeUp: parts.wakeUps.ready, signal }, (signal) =>
    drain(signal, async () => {
      creates.check();
      if (!mayClaim(viewOf(parts, group)) || !creates.wants()) return false;
      await pace?.untilFree(signal);
      const most = Math.min(creates.room(), pace?.free() ?? Number.POSITIVE_INFINITY);
      if (signal.aborted || most === 0) return false;
      const works = await parts.ledger.claim({ group, most, by: parts.owner, forMs: parts.timing.claimMs });
      creates.take(works, signal);
      return works.length === most;
    }),
  );
}

const UNFENCED_MOST = 24;

/** Handles claims without an answer whose fence has passed: a look that began after the fence decides. */
function unfence(parts: Parts, cluster: Cluster, signal: AbortSignal): Promise<void> {
  const asked = { state: "claimed", group: cluster.name, most: UNFENCED_MOST, leaseMs: parts.timing.workLeaseMs } as const;
  const { lookMs: ms } = parts.timing;
  return retryLoop(parts, { what: `unfence ${cluster.name}`, ms, wakeUp: parts.wakeUps.claimed, signal }, async (signal) => {
    for (const work of await parts.ledger.take(asked)) await unfenceOne(parts, cluster, work, signal);
  });
}

async function unfenceOne(parts: Parts, cluster: Cluster, work: Work, signal: AbortSignal): Promise<void> {
  const { run, attempt, nowMs } = work;
  const of = { run: run.id, step: attempt.step, n: attempt.n };
  const seen = await look(parts, cluster, work, signal);
  if (seen.kind === "ours") {
    const { uid, resourceVersion: rv } = seen.job;
    await parts.recording({ ...of, input: { kind: "created", uid, rv, group: cluster.name, adopted: true } });
  } else if (seen.kind !== "unseen") {
    const found = seen.kind === "missing" ? "nothing" : "foreign";
    await parts.recording({ ...of, input: { kind: "fencePassed", claimNo: attempt.claimNo, begunAtMs: nowMs, found } });
  }
}
