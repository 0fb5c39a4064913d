/** The words for what a run waits for, in a closed list: `reason` of `run.waiting`. */
import { z } from "zod";
import type { Code } from "./diagnosis.ts";

interface Row {
  /** Names the thing that the run waits for, or that is in its way. */
  readonly meaning: string;
  /** When the wait ends without a person. */
  readonly passes?: string;
  /** What a person must mend before the wait can end. A pause needs nobody: it was a person's wish. */
  readonly mend?: "run" | "group";
  /** What that person does. */
  readonly todo?: string;
}

const ROWS = {
  NoGroup: {
    meaning: "No launcher serves a group that the request names, or any group.",
    mend: "run",
    todo: "add the group to a launcher's groups file, or start that launcher",
  },
  PolicyRefused: {
    meaning: "The policy of a group does not allow something that the request uses: its image, a Secret, an account.",
    mend: "run",
    todo: "change the policy, or the request",
  },
  GroupsUnhealthy: {
    meaning: "A group cannot be used at present.",
    mend: "group",
    passes: "if its cluster was only out of reach; else `diagnosis` says what to do",
  },
  GroupsPaused: { meaning: "A group is paused.", todo: "`longshore group resume`" },
  QuotaExceeded: { meaning: "The quota of the group's namespace has no room.", passes: "yes, when others finish" },
  StorageFull: {
    meaning: "The group's `limits.storage` has no room for the run's volumes.",
    passes: "yes, when other runs give up theirs",
    todo: "`longshore runs free` gives up what an ended run keeps",
  },
  VolumeInUse: {
    meaning: "A pod of an earlier generation still uses the run's volumes.",
    passes: "yes, when it ends; if its node is lost for good, delete the pod",
  },
  GroupsFull: { meaning: "A group has as many Jobs as its limit allows.", passes: "yes, when one of them ends" },
  Throttled: { meaning: "A group takes only so many Jobs a second, or its API server asked for a pause.", passes: "yes, soon" },
  ConcurrencyLimit: {
    meaning: "As many runs with its concurrency key go on as its limit allows, or others are before it in the key's line.",
    passes: "yes, when one of them ends",
  },
  EarlierAttempt: {
    meaning: "An earlier attempt of the step may still run, or come to run.",
    passes: "yes, when its Job is known to have ended; if its cluster is gone for good, an operator sends `run.abandon`",
  },
  Unanswered: {
    meaning: "A create got no answer, and by now it is certain that it made no Job.",
    passes: "yes, it is placed again",
  },
  NameConflict: { meaning: "The Job's name was taken a moment ago, and is free now.", passes: "yes, it is placed again" },
  Unknown: { meaning: "The cluster put the create off and named no reason that is known.", passes: "mostly" },
  EndpointUnreachable: {
    meaning: "The create did not reach the group's API server.",
    mend: "group",
    passes: "if the cluster comes back",
  },
  TlsUntrusted: {
    meaning: "The group's API server has a certificate that is not trusted.",
    mend: "group",
    todo: "see the diagnosis",
  },
  AuthRejected: { meaning: "The cluster does not accept the group's token.", mend: "group", todo: "renew the token" },
  Forbidden: { meaning: "The group's Role does not allow the create.", mend: "group", todo: "apply its Role again" },
  NamespaceTerminating: {
    meaning: "The group's namespace is being deleted or gone.",
    mend: "group",
    todo: "see the diagnosis",
  },
  GroupMoved: {
    meaning: "The group points at another cluster or namespace than before.",
    mend: "group",
    passes: "no, except while launchers restart with a new groups file",
  },
} as const satisfies Readonly<Record<string, Row>>;

export type WaitWord = keyof typeof ROWS;
export const WAITING: Readonly<Record<WaitWord, Row>> = ROWS;
export const WaitWord = z.enum(Object.keys(WAITING) as [WaitWord, ...WaitWord[]]);

/** Says what a person must mend, for those who decide of which waits an alert tells. */
export const mendedThing = ({ mend }: Row): string => (mend === undefined ? "nothing" : MENDED[mend]);
const MENDED = { run: "its request or the groups", group: "the group" } as const;

/** Returns what ends the wait, for a person who reads of it. */
export const endOfWait = ({ passes, todo = "see the diagnosis" }: Row): string => passes ?? `no: ${todo}`;

/** Returns the word for an attempt whose create was put off with this diagnosis. The event carries the diagnosis, too. */
export const waitWordOf = (code: Code): WaitWord => WaitWord.safeParse(code).data ?? "GroupsUnhealthy";
