/**
 * Says aloud which clusters' certificates are not verified.
 *
 * The failure this prevents: a token that is sent for years to whoever answers at an address, because of one setting that was
 * meant for an afternoon.
 */
import type { Log } from "@longshore/runtime/log.ts";
import type { Connection } from "./connection.ts";

export const UNVERIFIED = "The cluster's certificate is not verified: whoever answers at its address is sent our token.";
export const TO_VERIFY = "Give the group the cluster's CA (caFile), and remove insecureSkipVerify.";

export interface Named {
  readonly name: string;
  readonly connection: Pick<Connection, "server" | "trust">;
}

export async function sayUnverified(clusters: readonly Named[], log: Pick<Log, "warn">): Promise<void> {
  for (const { name: group, connection } of clusters)
    if (!(await connection.trust()).verify) warnUnverified(log, group, connection.server);
}

export const warnUnverified = (log: Pick<Log, "warn">, group: string, server: string): void =>
  log.warn("a cluster's certificate is not verified", { group, server, why: UNVERIFIED, hint: TO_VERIFY });
