/** The parts that the recorder's loops are given. main.ts opens them; in tests in virtual time some are models. */
import type { Installation } from "@longshore/contract/ids.ts";
import type { Deliveries } from "@longshore/ledger/deliveries.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Failpoint } from "@longshore/runtime/failpoint.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Pause, WakeUp } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { Breaker } from "./breaker.ts";
import type { Rule } from "./rules.ts";
import type { Send } from "./send.ts";

export const FAILPOINTS = ["afterAnswer"] as const;

export interface Sink {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly signingKeys: string | undefined;
  /** The longest time of one request. */
  readonly timeoutMs: number;
  readonly inFlightMax: number;
  readonly send: Send;
  readonly breaker: Breaker;
  /** Wakes the sink's loop. */
  readonly wakeUp: WakeUp;
}

export interface Timing {
  readonly pollMs: number;
  /** How long a sink is this recorder's without a word to the ledger. Absent: three times the longest request. */
  readonly leaseMs: number | undefined;
  /** A line that fails for this long is parked. */
  readonly giveUpMs: number;
}

export interface Parts {
  readonly installation: Installation;
  /** Names this process in the sinks that it serves. */
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly ledger: Deliveries;
  readonly sinks: readonly Sink[];
  readonly timing: Timing;
  readonly fail: Failpoint<(typeof FAILPOINTS)[number]>;
  readonly pause: Pause;
}
