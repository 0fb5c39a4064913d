/** Waiting attempts: the first group that can take each, or why none can. */
import { place as choose } from "@longshore/domain/place/place.ts";
import { type GroupState, type Judge, UNSERVED_MS } from "@longshore/ledger/port.ts";
import type { Parts } from "./parts.ts";
import { drain, steadily } from "./steadily.ts";

const MOST = 128;

export function place(parts: Parts) {
  return (signal: AbortSignal): Promise<void> =>
    steadily(parts, { what: "place", ms: parts.timing.pollMs, bell: parts.bells.waiting, signal }, () =>
      drain(signal, async () => (await parts.ledger.place({ most: MOST, judge: judge(parts) })).placed === MOST),
    );
}

/** Called under the groups' locks, so that a thousand runs do not pile up on the first group. */
export function judge({ timing, clusters }: Pick<Parts, "timing" | "clusters">): Judge {
  const isUnserved = ({ name, servedAtMs }: GroupState, nowMs: number): boolean =>
    !clusters.has(name) && (servedAtMs === undefined || nowMs - servedAtMs >= UNSERVED_MS);
  return (attempt, run, states, nowMs) => {
    if (nowMs >= attempt.notes.waitUntilMs) return { kind: "waitExpired" };
    const groups = states.map((it) => (isUnserved(it, nowMs) ? { ...it, unserved: true } : it));
    const image = run.plan.with?.image ?? run.plan.steps.find(({ name }) => name === attempt.step)?.image;
    const images = image === undefined ? [] : [image];
    const found = choose({ wanted: run.plan.groups, groups, avoid: attempt.notes.avoid, images, nowMs });
    const considered = [...found.considered];
    if (found.kind === "noPlace") {
      if (found.hopeless && found.diagnosis) return { kind: "hopeless", diagnosis: found.diagnosis };
      return {
        kind: "noPlace",
        reason: found.reason,
        considered,
        retryAtMs: nowMs + timing.placeAgainMs,
        ...(found.diagnosis && { diagnosis: found.diagnosis }),
      };
    }
    const { namespace = "", hold } = groups.find(({ name }) => name === found.group) ?? {};
    return { kind: "placed", group: found.group, namespace, considered, ...(hold === false && { hold }) };
  };
}
