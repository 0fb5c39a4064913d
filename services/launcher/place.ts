/** Waiting attempts: the first group that can take each, or why none can. */
import { place as choose } from "@longshore/domain/place/place.ts";
import type { Judge } from "@longshore/ledger/port.ts";
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
export function judge({ timing }: Pick<Parts, "timing">): Judge {
  return (attempt, run, groups, nowMs) => {
    if (nowMs >= attempt.notes.waitUntilMs) return { kind: "waitExpired" };
    const found = choose({ wanted: run.plan.groups, groups, avoid: attempt.notes.avoid });
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
    const namespace = groups.find(({ name }) => name === found.group)?.namespace ?? "";
    return { kind: "placed", group: found.group, namespace, considered };
  };
}
