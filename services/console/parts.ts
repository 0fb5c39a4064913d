/** The parts that every route of the console uses. */
import type { Broker } from "@longshore/broker/port.ts";
import type { AccessRule } from "@longshore/contract/access-rule.ts";
import type { Installation } from "@longshore/contract/ids.ts";
import type { Pages } from "@longshore/ledger/pages.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { PageFiles } from "./bundle.ts";
import type { Live } from "./live.ts";
import type { ReadLog } from "./live-logs.ts";
import type { Ways } from "./sign-in/who-asks.ts";

export interface Parts {
  readonly installation: Installation;
  /** Who may do what. */
  readonly access: readonly AccessRule[];
  readonly clock: Clock;
  readonly log: Log;
  readonly pages: Pages;
  readonly broker: Broker;
  /** How a person finds the messages at the broker that nobody could read. */
  readonly quarantine: string;
  readonly live: Live;
  /** Absent without the key of logs: then a log is shown at the run's end. */
  readonly readLog: ReadLog | undefined;
  readonly files: PageFiles;
  /** The names under which browsers may ask for us: any other could be a page that was rebound to our address. */
  readonly hosts: (host: string) => boolean;
  /** Known once the server listens. */
  readonly port: () => number;
  /** The console's address in people's browsers. */
  readonly origin: () => string;
  /** True if that address is an https one: its cookies are sent nowhere else. */
  readonly isSecure: boolean;
  readonly ways: Ways;
  /** Networks whose X-Forwarded-For is believed. */
  readonly proxies: readonly string[];
  readonly requestsPerMinute: number;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}
