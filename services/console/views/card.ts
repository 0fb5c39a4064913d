/** A definition as its card shows it: what it does, how the last time went, and how long it usually takes. */
import { whyUnusable } from "@longshore/domain/prepared/usable.ts";
import type { HowItWent, RecentRun } from "@longshore/ledger/pages.ts";
import type { StoredDefinition } from "@longshore/ledger/port.ts";
import type { Card } from "../answers.ts";
import { isOver, stateOf } from "./state.ts";

type Shown = Pick<StoredDefinition, "body" | "prepared">;

/** Of fewer runs, 95 of 100 is the one that took longest, and says nothing of the next. */
const TIMED_LEAST = 20;

export function cardOf(definition: Shown, recent: readonly RecentRun[], went: HowItWent | undefined, mayRun: boolean): Card {
  const { name, title, description, owner } = definition.body;
  const [last] = recent;
  const usualMs = usual(recent);
  return {
    name,
    title: title ?? name,
    ...(description !== undefined && { description }),
    ...(owner && { owner }),
    mayRun,
    ...(whyUnusable(definition) !== undefined && { isUnusable: true }),
    marks: recent.map(stateOf).reverse(),
    ...(last && { last: lastOf(last) }),
    ...(usualMs !== undefined && { usualMs }),
    ...(went && statistics(went)),
  };
}

function statistics({
  n,
  succeeded,
  timed,
  halfWithinMs: halfMs,
  mostWithinMs: mostMs,
  lastSuccessMs,
}: HowItWent): Partial<Card> {
  return {
    ...(timed >= TIMED_LEAST && halfMs !== undefined && mostMs !== undefined && { times: { halfMs, mostMs } }),
    ...(n > 0 && { rate: { succeeded, of: n } }),
    ...(lastSuccessMs !== undefined && { lastSuccessMs }),
  };
}

const lastOf = (it: RecentRun): NonNullable<Card["last"]> => ({
  ...(it.isReached && { id: it.id }),
  state: stateOf(it),
  askedAtMs: it.acceptedAtMs,
  ...(it.startedAtMs !== undefined && { startedAtMs: it.startedAtMs }),
  ...(it.endedAtMs !== undefined && { endedAtMs: it.endedAtMs }),
  ...(it.by && it.isReached && { by: it.by }),
  ...(it.isReached && it.newest?.code !== undefined && { code: it.newest.code }),
});

/** One run that lasted a night does not make the usual time of nine that lasted minutes: the middle, and no mean. */
function usual(recent: readonly RecentRun[]): number | undefined {
  const durations = recent
    .filter((it) => isOver(stateOf(it)) && it.outcome === "succeeded")
    .flatMap(({ startedAtMs, endedAtMs }) =>
      startedAtMs === undefined || endedAtMs === undefined ? [] : [Math.max(0, endedAtMs - startedAtMs)],
    )
    .sort((a, b) => a - b);
  return durations[Math.floor(durations.length / 2)];
}
