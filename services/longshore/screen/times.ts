/**
 * How times are written for people: in UTC, as in Kubernetes' and our own logs, so that two people in two zones who compare lines
 * read the same. Programs get the same times with --json (RFC 3339).
 */

/** "2030-01-31 12:00:00Z" */
export const timeText = (ms: number): string => `${day(ms)} ${clockTime(ms)}`;

/** "2030-01-31", a heading for times. */
export const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** "12:00:00Z", for times under such a heading. */
export const clockTime = (ms: number): string => `${new Date(ms).toISOString().slice(11, 19)}Z`;

/** How long something took. */
export function span(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${Math.round(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d`;
}
