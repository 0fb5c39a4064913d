/**
 * The gauge that tells how long each group's token is still good.
 *
 * The failure this prevents: a token that nobody renews, which is noticed when the cluster refuses everything.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { Connection } from "./connection.ts";

export interface GroupToken {
  readonly name: string;
  readonly times: ReturnType<Connection["tokenTimes"]>;
}

/** Tells nothing of a token that does not say when it expires. */
export function tellTokens(tokens: readonly GroupToken[], { metrics, clock }: TellTokens): void {
  metrics.replace(
    "longshore_token_seconds_left",
    tokens.flatMap(({ name, times }) =>
      times === undefined ? [] : [{ labels: { group: name }, value: (times.expiresAtMs - clock.now()) / 1000 }],
    ),
  );
}

interface TellTokens {
  readonly metrics: Pick<Metrics, "replace">;
  readonly clock: Clock;
}
