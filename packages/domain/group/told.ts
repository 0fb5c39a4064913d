/**
 * A group as people are told of it, on the command line and on the console's pages: one word, and each reason why it takes no run
 * or takes it late, with what to do.
 *
 * The failure this prevents: two places that call the same group by different words, one of them "healthy" although nobody watches
 * it.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { WEAKER } from "@longshore/contract/messages/event.ts";
import { type Group, isUnserved } from "./group.ts";
import { unwatched, type Watched } from "./unwatched.ts";

export const NO_LAUNCHER = "no launcher runs with this ledger";

/** Names the promises that are weaker in a group without holds, in the words of its events. */
export const UNHELD = `hold: false, so ${Object.keys(WEAKER).join(" and ")} are weaker. ${Object.values(WEAKER).join(" ")}`;

export type Seen = Group &
  Watched & {
    readonly pause?: { readonly actor?: { readonly name: string } | undefined; readonly reason?: string | undefined } | undefined;
  };

export interface At {
  readonly nowMs: number;
  /** While no launcher runs, the ledger does not hear whether a group is watched. */
  readonly hasLauncher: boolean;
  /** The command that would serve a group again which no launcher serves. */
  readonly toServe?: string | undefined;
}

export type GroupWord = "unserved" | "paused" | "unwatched" | Group["health"];

export interface Remark {
  readonly about: "unserved" | "paused" | "unhealthy" | "unwatched" | "full" | "unheld";
  readonly says: string;
  readonly todo?: string;
  /** True if the group takes no run because of it. */
  readonly stops: boolean;
}

export interface ToldGroup {
  /** A group that nobody watches is not called healthy: the ends of its runs would be noticed late. */
  readonly word: GroupWord;
  readonly remarks: readonly Remark[];
  /** No launcher acts on it. */
  readonly left: boolean;
  /** If no launcher serves a group, nobody is expected to watch it. */
  readonly trouble: Diagnosis | undefined;
  readonly full: Group["noRoom"];
}

export function toldOf(group: Seen, at: At): ToldGroup {
  const { nowMs, hasLauncher } = at;
  const left = !hasLauncher || isUnserved(group, nowMs);
  const trouble = left ? undefined : unwatched(group, nowMs);
  const full = group.noRoom !== undefined && group.noRoom.untilMs > nowMs ? group.noRoom : undefined;
  const word = left
    ? "unserved"
    : group.paused
      ? "paused"
      : group.health === "healthy" && trouble !== undefined
        ? "unwatched"
        : group.health;
  return { word, left, trouble, full, remarks: remarksOn(group, { left, trouble, full }, at) };
}

function remarksOn(
  { name, slotsUsed, health, diagnosis, paused, pause }: Seen,
  { left, trouble, full }: Pick<ToldGroup, "left" | "trouble" | "full">,
  { hasLauncher, toServe }: At,
): readonly Remark[] {
  const told = (about: Remark["about"], { code, sentence, hint }: Diagnosis, stops: boolean): Remark => ({
    about,
    says: `${code}: ${sentence}`,
    todo: hint.replaceAll("<group>", name),
    stops,
  });
  return [
    ...(left && hasLauncher ? [unserved(name, slotsUsed, toServe)] : []),
    ...(paused ? [{ about: "paused", says: pausedText(pause), stops: true } as const] : []),
    ...(health === "unhealthy" && diagnosis ? [told("unhealthy", diagnosis, true)] : []),
    ...(trouble ? [told("unwatched", trouble, false)] : []),
    ...(full === undefined ? [] : [{ about: "full", says: `no room: ${full.diagnosis.sentence}`, stops: true } as const]),
  ];
}

const unserved = (name: string, slotsUsed: number, toServe: string | undefined): Remark => ({
  about: "unserved",
  says: `no launcher has it in its groups file: ${slotsUsed > 0 ? "nothing there is acted on" : "nothing is left there"}`,
  ...(slotsUsed > 0 && { todo: toServeSentence(name, toServe) }),
  stops: true,
});

/** "paused by Ida Berg: its nodes are being replaced" */
function pausedText({ actor, reason }: NonNullable<Seen["pause"]> = {}): string {
  return `paused${actor === undefined ? "" : ` by ${actor.name}`}${reason === undefined ? "" : `: ${reason}`}`;
}

/** What to do with a group that no launcher serves. */
export const toServeSentence = (name: string, command: string | undefined): string =>
  `${command === undefined ? `put ${name} back into the groups file` : `to serve it again, stop this and start \`${command}\``}, or give its runs up: \`longshore runs abandon RUN --yes\``;

const LEFT = {
  ready: "in line",
  claimed: "being created",
  live: "running",
  closing: "being deleted",
  ended: "to be released",
} as const;

/** "1 in line, 2 running": what of ours is in a group, or about to be. Empty: nothing. */
export const leftWords = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(LEFT)
    .flatMap(([state, what]) => ((counts[state] ?? 0) > 0 ? [`${counts[state]} ${what}`] : []))
    .join(", ");
