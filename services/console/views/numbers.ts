/** How runs ended by the hour, for a picture, and the codes of those that failed. Hours in which none ended are there, too. */
import type { Blame } from "@longshore/contract/messages/diagnosis.ts";
import type { HourOfEnds } from "@longshore/ledger/pages.ts";
import type { z } from "zod";
import type { Numbers } from "../answers-for-operators.ts";

export const BLAMES = ["request", "cluster", "platform"] as const satisfies readonly z.infer<typeof Blame>[];
export type BlameName = (typeof BLAMES)[number];

export interface Hour extends Readonly<Record<BlameName, number>> {
  readonly atMs: number;
  readonly succeeded: number;
  readonly stopped: number;
}

const HOUR_MS = 3_600_000;

export function numbersOf(rows: readonly HourOfEnds[], nowMs: number, hours: number): Numbers {
  const newest = Math.floor(nowMs / HOUR_MS) * HOUR_MS;
  const inHour = Map.groupBy(rows, ({ atMs }) => atMs);
  const failures = rows.filter((it) => isFailure(it));
  const sum = (of: readonly HourOfEnds[]): number => of.reduce((total, { n }) => total + n, 0);
  const hourAt = (atMs: number): Hour => {
    const all = inHour.get(atMs) ?? [];
    const by = (blame: BlameName): number => sum(all.filter((it) => isFailure(it) && it.blame === blame));
    return {
      atMs,
      succeeded: sum(all.filter(({ outcome }) => outcome === "succeeded")),
      stopped: sum(all.filter(({ outcome }) => outcome === "cancelled")),
      request: by("request"),
      cluster: by("cluster"),
      platform: by("platform"),
    };
  };
  return {
    hours: Array.from({ length: hours }, (_, ago) => hourAt(newest - (hours - 1 - ago) * HOUR_MS)),
    codes: [...Map.groupBy(failures, ({ code, blame }) => `${blame} ${code}`).values()]
      .flatMap((all) => all.slice(0, 1).map(({ code, blame }) => ({ code, blame: blame as BlameName, n: sum(all) })))
      .toSorted((a, b) => b.n - a.n || a.code.localeCompare(b.code)),
  };
}

const isFailure = ({ outcome }: HourOfEnds): boolean => outcome === "failed" || outcome === "lost";
