/** A container group as placement sees it: where it is, how much it takes, and how it is doing. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";

export interface Group {
  readonly name: GroupName;
  readonly namespace: string;
  /** How many attempts may hold a slot at once. */
  readonly jobsMax: number;
  readonly slotsUsed: number;
  readonly paused: boolean;
  /** "unknown" until something was sent there: it is tried, since a first request is how one finds out. */
  readonly health: "unknown" | "healthy" | "unhealthy";
  /** A group that never worked is a mistake in its configuration; one that did is worth waiting for. */
  readonly everHealthy: boolean;
  /** Why it is unhealthy. */
  readonly diagnosis?: Diagnosis | undefined;
  /** Its cluster said that there is no room (quota, 429): nothing is sent there before. */
  readonly noRoomUntilMs?: number | undefined;
  readonly policy?: GroupPolicy | undefined;
}

export interface GroupPolicy {
  /** Patterns with `*` for any characters, such as "registry.example.com/shop/*". Absent: every image. */
  readonly images?: readonly string[] | undefined;
}

/** The first image that the group does not allow. */
export const imageRefused = (policy: GroupPolicy | undefined, images: readonly string[]): string | undefined =>
  policy?.images === undefined ? undefined : images.find((image) => !policy.images?.some((pattern) => isLike(image, pattern)));

/** Piece by piece, not by a regular expression made of somebody's text: that could take for ever. */
function isLike(image: string, pattern: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return image === pattern;
  const tail = rest.pop() ?? "";
  if (!image.startsWith(head) || !image.endsWith(tail)) return false;
  let from = head.length;
  for (const piece of rest) {
    const found = image.indexOf(piece, from);
    if (found === -1) return false;
    from = found + piece.length;
  }
  return from <= image.length - tail.length;
}
