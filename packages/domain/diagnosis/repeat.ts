/**
 * Tells whether a cause was told before.
 *
 * The bug this prevents: a Job that cannot create its pod says so every few seconds with a new pod name and a new count, and
 * upstream gets a thousand "stalled" events that all mean the same.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";

const MOST = 500;

/** Kubernetes ends generated names in five of these characters: no vowels, and none that looks like another. */
const GENERATED = /(?<=[a-z0-9]-)[bcdfghjklmnpqrstvwxz2456789]{5}(?![a-z0-9-])/g;
const UID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;
const HEX = /\b(?:sha256:)?(?=[0-9a-f]*\d)[0-9a-f]{7,}\b/g;
const TIME = /\b\d{4}-\d\d-\d\d[t ]\d\d:\d\d:\d\d(?:\.\d+)?(?:z|[+-]\d\d:?\d\d)?\b/g;

/** "1 node has", "2 nodes have": another number is no other cause, and neither is the grammar that follows it. */
const PLURAL: Readonly<Record<string, string>> = { has: "have", is: "are", does: "do" };

/** Removes from a message everything that differs from one telling to the next. */
export function normalise(message: string): string {
  return message
    .slice(0, 4 * MOST)
    .toLowerCase()
    .replaceAll(TIME, "#")
    .replaceAll(UID, "#")
    .replaceAll(HEX, "#")
    .replaceAll(GENERATED, "#")
    .replaceAll(/\d+(?:\.\d+)*/g, "#")
    .replaceAll(/\b(?:has|have|is|are|does|do)\b/g, (verb) => PLURAL[verb] ?? verb)
    .replaceAll(/\bnodes?\b/g, "nodes")
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(0, MOST);
}

/** Two diagnoses with the same key have the same cause. */
export const causeKey = ({ code, sentence }: Pick<Diagnosis, "code" | "sentence">): string => `${code}: ${normalise(sentence)}`;
