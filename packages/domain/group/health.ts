/**
 * The health of a group as one launcher finds it. Probes, creates and facts report their answers; this table gives the next
 * state.
 *
 * The bugs this prevents: Jobs created in, or declared gone from, another cluster that now answers behind the same address; a
 * group given up for one lost packet; and a group that is found well and unwell in turns, since it answers reads and refuses
 * writes. Here every input has a cell for every state, so a new input or state does not compile until all its cells are
 * decided. An input that comes too late has no effect and never throws.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { NO_NAMESPACE } from "../diagnosis/replies.ts";
import type { GroupInput, GroupInputKind, GroupInputOf, GroupView, Noted, UnwellState, ViewIn, ViewState } from "./view.ts";
import { diagnosisOf, unverified } from "./view.ts";

export interface GroupContext {
  readonly nowMs: number;
  readonly group: GroupName;
  readonly namespace: string;
}

/** `in`: a rule for a union of inputs or states is also a rule for each of its members. */
type Rule<in K extends GroupInputKind, in S extends ViewState = ViewState> = (
  view: ViewIn<S>,
  input: GroupInputOf<K>,
  context: GroupContext,
) => GroupView;
type Row<K extends GroupInputKind> = { readonly [S in ViewState]: Rule<K, S> };

const stay = (view: GroupView): GroupView => view;

const notes = ({ quiet, refusals }: Noted): Noted => ({ ...(quiet && { quiet }), ...(refusals && { refusals }) });

// ── A probe's answer ─────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Compares the namespace's UID first: if another namespace of this name is being deleted, our Jobs would seem to go with it.
 */
const answered: Rule<"answered"> = (view, { uid, deleting }, { nowMs, group, namespace }) => {
  const { namespaceUid = uid, refusals } = view;
  const known = { ...notes(view), namespaceUid };
  if (uid !== namespaceUid) {
    const sentence = `The namespace ${namespace} is not the one that this group's Jobs were created in: it was recreated, or another cluster answers.`;
    const hint = `Point the group back at the old namespace; or trust the one that answers now and give up the attempts in the old one: \`longshore group accept ${group} --yes\`.`;
    const evidence = [`expected UID ${namespaceUid}`, `found ${uid}`];
    return { state: "moved", ...known, diagnosis: diagnose("GroupMoved", sentence, evidence, hint) };
  }
  if (deleting) {
    const diagnosis = diagnose("NamespaceTerminating", `The namespace ${namespace} is being deleted.`);
    return { state: "terminating", ...known, diagnosis };
  }
  if (refusals !== undefined && nowMs < refusals.untilMs)
    return { state: "refusing", ...known, refusals, diagnosis: refusals.diagnosis };
  return { state: "healthy", ...known };
};

const away = (view: GroupView, diagnosis: Diagnosis): GroupView => ({
  state: "away",
  ...notes(view),
  namespaceUid: view.namespaceUid,
  diagnosis,
});

const gone: Rule<"silent"> = (view, { diagnosis }) => away(view, diagnosis);

const doubt: Rule<"silent", "healthy"> = (view) => ({ ...view, state: "doubted" });

/** If the ledger says that a group is healthy, one unanswered first probe does not make the group "away". */
const unheard: Rule<"silent", "unverified"> = (view, { diagnosis }) =>
  view.health === "healthy" && view.doubted !== true ? { ...view, doubted: true } : away(view, diagnosis);

const noNamespace: Rule<"missing"> = (view, _input, { group, namespace }) => {
  const { namespaceUid } = view;
  const accept = namespaceUid === undefined ? "" : ` Then \`longshore group accept ${group}\`.`;
  const sentence = `The cluster of group "${group}" has no namespace "${namespace}".`;
  const diagnosis = diagnose("NamespaceTerminating", sentence, [], NO_NAMESPACE + accept);
  return namespaceUid === undefined ? away(view, diagnosis) : { state: "barred", ...notes(view), namespaceUid, diagnosis };
};

const shutOut: Rule<"refused"> = (view, { diagnosis }, context) => away(view, refusal(view, diagnosis, context));

const barred: Rule<"refused", Exclude<ViewState, "unverified" | "away">> = (view, { diagnosis }, context) => ({
  state: "barred",
  ...notes(view),
  namespaceUid: view.namespaceUid,
  diagnosis: refusal(view, diagnosis, context),
});

/** Deleting a namespace deletes our account and Role there: no new token repairs that. */
function refusal(view: GroupView, diagnosis: Diagnosis, { namespace }: GroupContext): Diagnosis {
  const isShut = diagnosis.code === "AuthRejected" || diagnosis.code === "Forbidden";
  if (!isShut || diagnosisOf(view)?.code !== "NamespaceTerminating") return diagnosis;
  return diagnose(
    "NamespaceTerminating",
    `The namespace "${namespace}" is being deleted, and Longshore's account and Role there are gone with it.`,
    diagnosis.evidence,
    "Ask an administrator of the cluster to take the holds off Jobs that are left there: deploy/README.md of Longshore says how.",
  );
}

const hushed: Rule<"throttled"> = (view, { quiet }) => {
  if (quiet === undefined) return view;
  return { ...view, quiet: { why: quiet.why, untilMs: Math.max(quiet.untilMs, view.quiet?.untilMs ?? 0) } };
};

/** A request to wait counts as an answer. */
const sure: Rule<"throttled", "doubted"> = (view, input, context) => hushed({ ...view, state: "healthy" }, input, context);

const unsure: Rule<"throttled", "unverified"> = (view, input, context) => {
  const { doubted: _, ...rest } = view;
  return hushed(rest, input, context);
};

// ── A create's answer ────────────────────────────────────────────────────────────────────────────────────────────────

const REST_FIRST_MS = 10_000;
const REST_MOST_MS = 5 * 60_000;

/**
 * A read that succeeds says nothing about writes: the token may list and not create. Without a rest, the group would be well
 * and unwell in turns; each refusal makes the rest longer.
 */
const rests: Rule<"writeRefused", "healthy" | "doubted"> = (view, { diagnosis }, { nowMs }) => {
  const times = (view.refusals?.times ?? 0) + 1;
  const untilMs = nowMs + Math.min(REST_MOST_MS, REST_FIRST_MS * 2 ** Math.min(times - 1, 10));
  return { ...view, state: "refusing", diagnosis, refusals: { times, untilMs, diagnosis } };
};

const forgives: Rule<"writeTaken", "healthy" | "terminating" | "barred" | "away"> = (view) => {
  const { refusals, ...rest } = view;
  return refusals === undefined ? view : rest;
};

const believed: Rule<"writeTaken", "doubted"> = (view) => {
  const { refusals: _, ...rest } = view;
  return { ...rest, state: "healthy" };
};

/**
 * Another create that was sent at the same time may still be refused. So this answer does not end the rest; the next probe
 * does.
 */
const restEnds: Rule<"writeTaken", "refusing"> = (view, _input, { nowMs }) => ({
  ...view,
  refusals: { ...view.refusals, times: 0, untilMs: Math.min(view.refusals.untilMs, nowMs) },
});

// ── The group as the ledger has it ───────────────────────────────────────────────────────────────────────────────────

/** The ledger now trusts another namespace than the one that answered us, or none: earlier answers no longer count. */
const renamed: Rule<"recorded" | "unnamed", Exclude<ViewState, "unverified">> = (view, recorded) => {
  if (recorded.namespaceUid === view.namespaceUid) return view;
  return { ...(view.quiet && { quiet: view.quiet }), ...unverified(recorded) };
};

const told: Rule<"recorded" | "unnamed", "unverified"> = (view, recorded) => ({ ...view, ...unverified(recorded) });

/** Another launcher reached the group first; for us the group is still away. */
const learned: Rule<"recorded", "away"> = (view, input, context) =>
  view.namespaceUid === undefined ? { ...view, namespaceUid: input.namespaceUid } : renamed(view, input, context);

// ── Whether the ledger took our word ─────────────────────────────────────────────────────────────────────────────────

const yields: Rule<"overruled", UnwellState> = (view) => ({ ...view, overruled: true });

const stands: Rule<"heeded", UnwellState> = (view) => {
  const { overruled, ...rest } = view;
  return overruled === undefined ? view : rest;
};

// biome-ignore format: a table is read down its columns
export const HEALTH: { readonly [K in GroupInputKind]: Row<K> } = {
  //              known from the ledger      answered us, as far as we know                    does not
  answered:     { unverified: answered,      healthy: answered,    doubted: answered,    refusing: answered,    terminating: answered,    barred: answered,    away: answered,    moved: answered },
  missing:      { unverified: noNamespace,   healthy: noNamespace, doubted: noNamespace, refusing: noNamespace, terminating: noNamespace, barred: noNamespace, away: noNamespace, moved: stay },
  refused:      { unverified: shutOut,       healthy: barred,      doubted: barred,      refusing: barred,      terminating: barred,      barred: barred,      away: shutOut,     moved: stay },
  silent:       { unverified: unheard,       healthy: doubt,       doubted: gone,        refusing: gone,        terminating: gone,        barred: gone,        away: gone,        moved: stay },
  throttled:    { unverified: unsure,        healthy: hushed,      doubted: sure,        refusing: hushed,      terminating: hushed,      barred: hushed,      away: hushed,      moved: hushed },
  writeRefused: { unverified: stay,          healthy: rests,       doubted: rests,       refusing: stay,        terminating: stay,        barred: stay,        away: stay,        moved: stay },
  writeTaken:   { unverified: stay,          healthy: forgives,    doubted: believed,    refusing: restEnds,    terminating: forgives,    barred: forgives,    away: forgives,    moved: stay },
  recorded:     { unverified: told,          healthy: renamed,     doubted: renamed,     refusing: renamed,     terminating: renamed,     barred: renamed,     away: learned,     moved: renamed },
  unnamed:      { unverified: told,          healthy: renamed,     doubted: renamed,     refusing: renamed,     terminating: renamed,     barred: renamed,     away: renamed,     moved: renamed },
  overruled:    { unverified: stay,          healthy: stay,        doubted: stay,        refusing: yields,      terminating: yields,      barred: yields,      away: yields,      moved: yields },
  heeded:       { unverified: stay,          healthy: stay,        doubted: stay,        refusing: stands,      terminating: stands,      barred: stands,      away: stands,      moved: stands },
};

/** Applies the inputs one after the other, as of one moment. */
export const hear = (view: GroupView, inputs: readonly GroupInput[], context: GroupContext): GroupView =>
  inputs.reduce<GroupView>((then, input) => cell(then, input, context), view);

function cell<K extends GroupInputKind, S extends ViewState>(view: ViewIn<S>, input: GroupInputOf<K>, context: GroupContext) {
  const row: Row<K> = HEALTH[input.kind as K];
  const rule: Rule<K, S> = row[view.state as S];
  return rule(view, input, context);
}
