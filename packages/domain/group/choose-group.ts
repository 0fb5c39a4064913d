/**
 * Chooses the group that takes an attempt, or says why none can now, or why the attempt is over.
 *
 * The bugs this prevents: a run that waits, and nobody can say for what; a run that waits longer than `waitFor`; and a run that
 * waits for its first choice while its second is idle. Every group that was considered is named, with the reason why it was
 * passed over.
 */
import { type Code, diagnose, DIAGNOSES, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { EventData } from "@longshore/contract/messages/event.ts";
import type { GroupName, StepName } from "@longshore/contract/ids.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { InputOf } from "../attempt/input.ts";
import { quantity } from "@longshore/contract/units.ts";
import { pinnedTo } from "../anchor/of-run.ts";
import type { Anchor, Attempt, PlannedStorage, Run } from "../run/record.ts";
import { type Group, isUnserved, lineMost, NO_STORAGE, type Placer } from "./group.ts";
import { notAllowed, storageUses, type Uses, usesOf, usesWith } from "./policy.ts";

/** From the least to the most hopeful: if groups are passed over for several reasons, the run is told the most hopeful one. */
export const NO_PLACE = [
  "NoGroup",
  "PolicyRefused",
  "GroupsUnhealthy",
  "GroupsPaused",
  "StorageFull",
  "QuotaExceeded",
  "GroupsFull",
  "Throttled",
] as const satisfies readonly WaitWord[];
export type NoPlace = (typeof NO_PLACE)[number];

/** Reasons that pass when the group has room: its own limit, its pace, and a diagnosis that waits for room. */
const NO_ROOM: readonly NoPlace[] = NO_PLACE.filter(
  (it) => it === "GroupsFull" || it === "Throttled" || (Object.hasOwn(DIAGNOSES, it) && DIAGNOSES[it as Code].waitsForRoom),
);

type Considerations = EventData<"run.waiting">["considered"];

export type Placement =
  | { readonly kind: "placed"; readonly group: Group; readonly considered: Considerations }
  | {
      readonly kind: "noPlace";
      readonly reason: NoPlace;
      readonly considered: Considerations;
      /** Waiting cannot help: none of the wanted groups ever worked, or each refuses the request. */
      readonly hopeless: boolean;
      readonly diagnosis: Diagnosis | undefined;
      /** The groups that were passed over for want of room, sorted by name. */
      readonly waitsFor: readonly GroupName[];
    };

export interface Choosing extends Pick<Placer, "serves" | "quiet"> {
  /** The wanted groups in order of preference; `undefined`: any group, in the order given. */
  readonly wanted: readonly GroupName[] | undefined;
  readonly groups: readonly Group[];
  /** The group where the last try failed: of the attempt before this one, or of making its volumes. Taken only if no other is free. */
  readonly avoid?: GroupName | undefined;
  readonly uses?: Uses;
  readonly storage?: PlannedStorage | undefined;
  /** The group that has the run's volumes already. */
  readonly pinned?: GroupName | undefined;
  readonly nowMs: number;
}

const PINNED = "The run's volumes are there.";

interface Skip {
  readonly reason: NoPlace;
  readonly why: string;
  readonly diagnosis?: Diagnosis | undefined;
}

export function chooseGroup(choosing: Choosing): Placement {
  const candidates = preferred(choosing);
  const considered: Considerations = [];
  const skips: (Skip & { readonly group: Group | undefined })[] = [];
  for (const { name, group } of candidates) {
    const found =
      group === undefined
        ? { reason: "NoGroup" as const, why: `No group has this name; ${thereAre(servedNames(choosing))}.` }
        : (skipped(group, choosing) ?? group);
    if ("name" in found)
      return {
        kind: "placed",
        group: found,
        considered: [...considered, { group: name, verdict: "chosen", why: chosen(found, choosing) }],
      };
    considered.push({ group: name, verdict: "skipped", why: name === choosing.pinned ? `${found.why} ${PINNED}` : found.why });
    skips.push({ ...found, group });
  }
  const rank = ({ reason }: Skip): number => NO_PLACE.indexOf(reason);
  const best = skips.toSorted((a, b) => rank(b) - rank(a))[0];
  const reason = best?.reason ?? "NoGroup";
  return {
    kind: "noPlace",
    reason,
    considered,
    hopeless: skips.length > 0 && skips.every(isHopeless),
    diagnosis: reason === "NoGroup" ? noGroup(choosing) : best?.diagnosis,
    waitsFor: skips.flatMap(({ reason, group }) => (group && NO_ROOM.includes(reason) ? [group.name] : [])).toSorted(),
  };
}

/** True if the group takes an attempt now, as far as that does not depend on the attempt. */
export const takesMore = (group: Group, placer: Placer, nowMs: number): boolean =>
  skipped(group, { ...placer, nowMs }) === undefined;

/** In one sentence; a longer list would hide what it says. */
const NAMES_MOST = 10;

/** A group that no launcher serves takes nothing, so its name helps nobody who looks for the right one. */
export const servedNames = ({
  groups,
  serves = new Set(),
  nowMs,
}: {
  readonly groups: readonly Pick<Group, "name" | "servedAtMs">[];
  readonly serves?: Choosing["serves"];
  readonly nowMs: number;
}): readonly GroupName[] => groups.filter((it) => serves.has(it.name) || !isUnserved(it, nowMs)).map(({ name }) => name);

function thereAre(names: readonly string[]): string {
  const [first, ...others] = names.toSorted();
  if (first === undefined) return "there is none";
  if (others.length === 0) return `there is ${first}`;
  const more = names.length > NAMES_MOST ? ` and ${names.length - NAMES_MOST} more` : "";
  return `there are ${[first, ...others].slice(0, NAMES_MOST).join(", ")}${more}`;
}

/** Says that a request names no group that there is. `undefined`: it names one, or none at all. */
export function unknownGroups(
  wanted: readonly string[] = [],
  groups: readonly { readonly name: string }[],
  served: readonly string[],
): string | undefined {
  if (wanted.length === 0 || wanted.some((name) => groups.some((it) => it.name === name))) return undefined;
  return `No group is called ${[...new Set(wanted)].join(" or ")}; ${thereAre(served)}.`;
}

type Asked = Pick<Choosing, "wanted" | "groups" | "serves" | "nowMs">;

/** A group that a request names may be announced a moment later, so the run waits for an unknown group. */
function noGroup(asked: Asked): Diagnosis {
  const unknown = unknownGroups(asked.wanted, asked.groups, servedNames(asked));
  if (unknown === undefined) return unserved(asked.wanted);
  const hint =
    "Correct the name: `longshore runs cancel <run>`, and publish it again with another group and a new id. `longshore group list` shows the groups.";
  return { ...diagnose("NoGroup", unknown, [], hint), blame: "request" };
}

export const unserved = (names: readonly GroupName[] = []): Diagnosis =>
  diagnose("NoGroup", `No launcher serves ${names.length === 0 ? "a group" : [...new Set(names)].join(" or ")}.`);

/** If none of a request's names came to be known, more patience or more room would not have helped. */
function waitedForNothing(asked: Asked): Diagnosis | undefined {
  const unknown = unknownGroups(asked.wanted, asked.groups, servedNames(asked));
  if (unknown === undefined) return undefined;
  const hint = "Correct the names in `groups`, and publish it with a new id.";
  return { ...diagnose("WaitExpired", unknown, [], hint), blame: "request" };
}

const isHopeless = ({ reason, group }: Skip & { readonly group: Group | undefined }): boolean =>
  reason === "PolicyRefused" || (reason === "GroupsUnhealthy" && group?.everHealthy === false);

function preferred({
  wanted,
  groups,
  avoid,
}: Choosing): readonly { readonly name: GroupName; readonly group: Group | undefined }[] {
  const named = wanted
    ? [...new Set(wanted)].map((name) => ({ name, group: groups.find((it) => it.name === name) }))
    : groups.map((group) => ({ name: group.name, group }));
  return [...named.filter(({ name }) => name !== avoid), ...named.filter(({ name }) => name === avoid)];
}

function skipped(
  group: Group,
  {
    uses = {},
    storage,
    pinned,
    nowMs,
    serves,
    quiet,
  }: Pick<Choosing, "uses" | "storage" | "pinned" | "nowMs" | "serves" | "quiet">,
): Skip | undefined {
  const { diagnosis, noRoom, slotsUsed, inLine = 0, settings } = group;
  const { jobs, createsPerSecond } = settings.limits;
  const refused = notAllowed(settings.policy, { ...uses, ...storageUses(storage) });
  if (refused !== undefined) return policyRefused(group.name, refused);
  if (!serves.has(group.name) && isUnserved(group, nowMs)) return UNSERVED;
  if (group.paused) return { reason: "GroupsPaused", why: "It is paused." };
  if (group.health === "unhealthy")
    return { reason: "GroupsUnhealthy", why: diagnosis?.sentence ?? "It cannot be used at present.", diagnosis };
  if (slotsUsed >= jobs) return { reason: "GroupsFull", why: `It is full: ${slotsUsed} of ${jobs} Jobs.` };
  if (noRoom !== undefined && nowMs < noRoom.untilMs)
    return { reason: "QuotaExceeded", why: noRoom.diagnosis.sentence, diagnosis: noRoom.diagnosis };
  const full = storage?.anchor && pinned === undefined ? storageFull(group, storage.anchor.bytes, nowMs) : undefined;
  if (full !== undefined) return full;
  const pause = quiet.get(group.name);
  if (pause !== undefined) return { reason: "Throttled", why: pause };
  if (createsPerSecond !== undefined && inLine >= lineMost(createsPerSecond))
    return { reason: "Throttled", why: `It takes ${createsPerSecond} Jobs a second, and ${inLine} are in line.` };
  return undefined;
}

/** The ledger keeps a removed group's rows: it may have Jobs, or be put back into the file. */
const UNSERVED: Skip = { reason: "NoGroup", why: "No launcher has it in its groups file any more." };

function policyRefused(name: GroupName, what: string): Skip {
  const why = `Its policy does not allow ${what}.`;
  return { reason: "PolicyRefused", why, diagnosis: diagnose("PolicyRefused", `The group ${name} does not allow ${what}.`) };
}

const MIB = 2 ** 20;
/** "3Gi", "512Mi" */
export const storageText = (bytes: number): string =>
  bytes % (1024 * MIB) === 0 ? `${bytes / (1024 * MIB)}Gi` : `${Math.ceil(bytes / MIB)}Mi`;

/** Storage is booked before the run has its first volume, so a quota of the cluster's own is rarely met. */
function storageFull({ name, settings, storage = NO_STORAGE }: Group, bytes: number, nowMs: number): Skip | undefined {
  const limit = quantity(settings.limits.storage ?? "");
  if (limit === undefined || storage.usedBytes + bytes <= limit) return undefined;
  if (bytes > limit) {
    const what = `volumes of ${storageText(bytes)}: its limit is ${settings.limits.storage}`;
    return policyRefused(name, what);
  }
  const { usedBytes, keptBytes, keptUntilMs = nowMs } = storage;
  const until = new Date(keptUntilMs).toISOString().slice(0, 16).replace("T", " ");
  const kept = keptBytes > 0 ? ` Ended runs keep ${storageText(keptBytes)} of it, the first of them until ${until}Z.` : "";
  const why = `Its storage is full: ${storageText(usedBytes)} of ${settings.limits.storage}, and ${storageText(bytes)} are wanted.${kept}`;
  return { reason: "StorageFull", why };
}

const chosen = ({ name, slotsUsed, settings }: Group, { avoid, pinned }: Choosing): string => {
  const room = `It has room: ${slotsUsed} of ${settings.limits.jobs} Jobs.`;
  if (name === pinned) return `${room} ${PINNED}`;
  return name === avoid ? `${room} The last try failed there, and no other group can take it.` : room;
};

/**
 * A step with slices takes the slots that are free, and never more than it has slices: the others run when these have ended. If
 * it waited for all that it may have, smaller runs would pass it for ever, or slots would stay empty for it.
 */
function slotsFor({ steps, withParameters }: Run["plan"], step: StepName, free: number): number | undefined {
  const { slices } = steps.find(({ name }) => name === step) ?? {};
  if (slices === undefined) return undefined;
  const { parallelism, count = parallelism } = slices;
  return Math.max(1, Math.min(free, parallelism, withParameters === undefined ? count : parallelism));
}

export type Judgement = InputOf<"placed" | "noPlace" | "waitExpired" | "hopeless">;

export function judgeAttempt(
  { step, notes }: Attempt,
  { run: { plan }, anchors }: { readonly run: Pick<Run, "plan">; readonly anchors?: readonly Anchor[] },
  groups: readonly Group[],
  placer: Placer,
  nowMs: number,
): Judgement {
  if (nowMs >= notes.waitUntilMs) {
    const diagnosis = waitedForNothing({ wanted: plan.groups, groups, nowMs, serves: placer.serves });
    return { kind: "waitExpired", ...(diagnosis && { diagnosis }) };
  }
  const uses = usesWith(plan.steps.find(({ name }) => name === step)?.uses ?? {}, usesOf(plan.with?.[step] ?? {}));
  const pinned = pinnedTo({ ...(anchors && { anchors }) })?.group;
  const wanted = pinned === undefined ? plan.groups : [pinned];
  const found = chooseGroup({ wanted, groups, avoid: notes.avoid, uses, storage: plan.storage, pinned, nowMs, ...placer });
  const considered = [...found.considered];
  if (found.kind === "noPlace") {
    const { reason, diagnosis, hopeless, waitsFor } = found;
    if (hopeless && diagnosis) return { kind: "hopeless", diagnosis };
    const retryAtMs = nowMs + placer.placeAgainMs;
    return { kind: "noPlace", reason, considered, retryAtMs, waitsFor, ...(diagnosis && { diagnosis }) };
  }
  const { name: group, namespace, settings } = found.group;
  const slots = slotsFor(plan, step, settings.limits.jobs - found.group.slotsUsed);
  const how = {
    ...(settings.hold ? {} : { hold: false as const }),
    ...(settings.embedded === true && { embedded: true as const }),
    ...(slots !== undefined && { slots }),
  };
  return { kind: "placed", group, namespace, considered, ...how };
}
