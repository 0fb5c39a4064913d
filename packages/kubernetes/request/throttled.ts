/**
 * A request that our own limits stopped: unsent, and nothing is wrong with the cluster.
 *
 * The bug this prevents: our own pace, window or obedience to a Retry-After told as a cluster that cannot be reached.
 */
import { Failure } from "@longshore/contract/problem.ts";

export const throttled = (message: string): Failure =>
  new Failure("retry", "unsent", message, new Failure("retry", "Throttled", message));

export const isThrottled = ({ cause }: Failure): boolean => cause instanceof Failure && cause.code === "Throttled";
