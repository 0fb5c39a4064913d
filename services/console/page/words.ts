/** Times and durations as people say them, in the reader's own zone. */
import type { Card } from "../answers.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "48 s", "4 min 7 s", "1 h 3 min". */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 || minutes >= 10 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** "usually 4 min": a duration that nobody measured to the second. */
export const roughly = (ms: number): string =>
  ms < 1_000
    ? "1 s"
    : ms < MINUTE
      ? span(ms)
      : ms < HOUR
        ? `${Math.round(ms / MINUTE)} min`
        : span(Math.round(ms / MINUTE) * MINUTE);

const clock = (at: Date): string => at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
export const second = (ms: number): string => new Date(ms).toLocaleTimeString("en-GB");

/** "today 10:04", "yesterday 18:02", "3 Nov, 09:14". */
export function when(ms: number, nowMs: number): string {
  const [at, now] = [new Date(ms), new Date(nowMs)];
  const day = (it: Date): number => Math.floor((it.getTime() - it.getTimezoneOffset() * MINUTE) / DAY);
  if (day(at) === day(now)) return `today ${clock(at)}`;
  if (day(at) === day(now) - 1) return `yesterday ${clock(at)}`;
  const year = at.getFullYear() === now.getFullYear() ? {} : ({ year: "numeric" } as const);
  return `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...year })}, ${clock(at)}`;
}

/** "19 of 20 succeeded, the last yesterday 18:02". */
export function wentOf({ rate, lastSuccessMs }: Pick<Card, "rate" | "lastSuccessMs">, nowMs: number): string {
  if (rate === undefined) return "";
  const last = lastSuccessMs === undefined ? "" : `, the last ${when(lastSuccessMs, nowMs)}`;
  return rate.of === rate.succeeded && rate.of === 1 ? `1 succeeded${last}` : `${rate.succeeded} of ${rate.of} succeeded${last}`;
}

/** With the zone, for somebody elsewhere. */
export const exactly = (ms: number): string =>
  new Date(ms).toLocaleString("en-GB", {
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
