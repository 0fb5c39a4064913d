/** The model's answers to each loop's question: place, claim, take, strays. */
import type { GroupName } from "@longshore/contract/ids.ts";
import { anchorOf, isClear } from "@longshore/domain/anchor/of-run.ts";
import { moveAttempt } from "@longshore/domain/attempt/lifecycle.ts";
import {
  byTurn,
  type Candidate,
  lineOf,
  mostFor,
  openingsOf,
  placeAttempts,
  withdrawnFrom,
} from "@longshore/domain/group/place-attempts.ts";
import type { Advancing } from "@longshore/domain/run/advance.ts";
import { type Change, isChanged, KINDS_DUE } from "@longshore/domain/run/change.ts";
import { entering as mayEnter } from "@longshore/domain/run/concurrency.ts";
import { attemptIn } from "@longshore/domain/run/record.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { AnchorWork, Ledger, Placed, Work, WorkKind } from "../port.ts";
import * as its from "./model-tables.ts";

const isDue = ({ attempt }: its.Located, nowMs: number): boolean => attempt.dueMs !== undefined && attempt.dueMs <= nowMs;

export function placeDue(tables: its.Tables, { most, placer, claim }: Parameters<Ledger["place"]>[0], at: Advancing): Placed {
  const all = its.attemptsOf(tables);
  const waiting = all.filter(({ attempt }) => attempt.state === "waiting");
  const due = waiting.filter((it) => isDue(it, at.nowMs));
  const ready = all.filter((it) => it.attempt.state === "ready" && isDue(it, at.nowMs));
  const entering = mayEnter(its.linesIn(tables), at.nowMs);
  const nothing: Placed = { placed: 0, told: 0, more: false, works: [] };
  if (due.length === 0 && ready.length === 0 && entering.size === 0) return nothing;
  const groups = its.groupStates(tables);
  const openings = openingsOf(groups, placer, at.nowMs);
  const withdrawn = new Set(groups.flatMap((it) => (withdrawnFrom(it, at.nowMs) === undefined ? [] : [it.name])));
  const toGo = ready.filter(({ attempt: { group } }) => group !== undefined && withdrawn.has(group));
  if (due.length === 0 && toGo.length === 0 && entering.size === 0) return nothing;
  const first = (of: readonly its.Located[], most: number) => of.map(candidateOf).toSorted(byTurn).slice(0, most);
  const forRoom = Map.groupBy(waiting, ({ attempt }) => attempt.waitsFor?.join() ?? "");
  const lines = [
    lineOf("fresh", first(due.filter(({ attempt }) => attempt.waitsFor === undefined), most), most),
    lineOf("due", due.toSorted(its.byUrgency).slice(0, most).map(candidateOf), most),
    lineOf("entering", first(waiting.filter(({ run }) => entering.has(run.record.run.id)), most), most),
    lineOf("withdrawn", toGo.slice(0, most).map(candidateOf), most),
    ...[...forRoom.values()].flatMap((of) => {
      const waitsFor = of[0]?.attempt.waitsFor ?? [];
      const read = mostFor(waitsFor, openings, most);
      return read === 0 ? [] : lineOf(waitsFor, first(of, read), read);
    }),
  ]; // biome-ignore format: as the statement has it
  const records = new Map([...tables.runs].map(([id, { record }]) => [id, record]));
  const { changes, placed, told, claimed, more } = placeAttempts(
    { lines, records, groups, entering, placer, most, claiming: claim },
    at,
  );
  const changed: Change[] = [...changes.values()].filter(isChanged);
  for (const change of changed) its.write(tables, change, at);
  const works = claimed.flatMap(({ run: id, step, n }) => {
    const run = tables.runs.get(id);
    const attempt = run && attemptIn(run.record, step, n);
    return run === undefined || attempt === undefined ? [] : workOf(run, attempt, at.nowMs);
  });
  return { placed, told, more, works };
}

const candidateOf = ({ run: { key: accepted, record }, attempt: { step, n, priority } }: its.Located): Candidate => ({
  run: record.run.id,
  step,
  n,
  priority,
  accepted,
});

const workOf = (run: its.ModelRun, attempt: Work["attempt"], nowMs: number): readonly Work[] => {
  const { id, tenant, generation, plan, steps, cancel } = run.record.run;
  const anchor = anchorOf(run.record, attempt);
  const { request, sealed } = run;
  if (request === undefined) return [];
  const of = { id, tenant, generation, plan, steps, cancel };
  return [{ attempt, run: of, request, nowMs, ...(sealed !== undefined && { sealed }), ...(anchor && { anchor }) }];
};

export function takeAnchorsDue(
  tables: its.Tables,
  { group, most, leaseMs }: Parameters<Ledger["takeAnchors"]>[0],
  nowMs: number,
): readonly AnchorWork[] {
  const due = its.anchorsOf(tables).filter(({ anchor }) => anchor.group === group && (anchor.dueMs ?? Infinity) <= nowMs);
  const taken = due.toSorted((a, b) => (a.anchor.dueMs ?? 0) - (b.anchor.dueMs ?? 0)).slice(0, most);
  return taken.map(({ run, anchor }) => {
    const leased = { ...anchor, dueMs: nowMs + leaseMs };
    run.record = { ...run.record, anchors: (run.record.anchors ?? []).map((it) => (it === anchor ? leased : it)) };
    return { run: run.record.run.id, anchor: leased, isClear: isClear(run.record, anchor), nowMs };
  });
}

export function claimDue(
  tables: its.Tables,
  { group, most, by, forMs }: Parameters<Ledger["claim"]>[0],
  nowMs: number,
): readonly Work[] {
  const due = its.attemptsOf(tables).filter((it) => it.attempt.group === group && isDue(it, nowMs));
  const expired = due.filter(({ attempt }) => attempt.state === "claimed" && (attempt.fenceUntilMs ?? 0) > nowMs);
  const paused = tables.groups.get(group)?.paused === true;
  const ready = due.filter(({ attempt }) => attempt.state === "ready" && !paused);
  const taken = [...expired.toSorted(its.byUrgency), ...ready.toSorted(its.byUrgency)].slice(0, most);
  return taken.flatMap((it) => {
    const context = { nowMs, limits: it.run.record.run.plan.limits };
    const { attempt } = moveAttempt(it.attempt, { kind: "claimDue", by, untilMs: nowMs + forMs }, context);
    return workOf(it.run, its.setAttempt(it, attempt), nowMs);
  });
}

export function takeDue(
  tables: its.Tables,
  { state, group, most, leaseMs }: Parameters<Ledger["take"]>[0],
  nowMs: number,
): readonly Work[] {
  const mayLand = ({ attempt }: its.Located): boolean => attempt.state === "claimed" && (attempt.fenceUntilMs ?? 0) > nowMs;
  const due = its
    .attemptsOf(tables)
    .filter((it) => it.attempt.group === group && it.attempt.state === state && isDue(it, nowMs) && !mayLand(it))
    .toSorted(its.byUrgency);
  return due.slice(0, most).flatMap((it) => workOf(it.run, its.setAttempt(it, { dueMs: nowMs + leaseMs }), nowMs));
}

export function dueWork(tables: its.Tables, groups: readonly GroupName[], nowMs: number): readonly WorkKind[] {
  const isAsked = (group: GroupName | undefined): boolean => group !== undefined && groups.includes(group);
  const due = its.attemptsOf(tables).filter((it) => isAsked(it.attempt.group) && isDue(it, nowMs));
  const strays =
    [...tables.strays.values()].some(({ stray, dueMs }) => isAsked(stray.group) && dueMs <= nowMs) ||
    its.anchorsOf(tables).some(({ anchor: { group, dueMs } }) => isAsked(group) && dueMs !== undefined && dueMs <= nowMs);
  const kinds = due.flatMap(({ attempt }) => KINDS_DUE[attempt.state] ?? []);
  return [...new Set(strays ? [...kinds, "strays" as const] : kinds)];
}

export function strayCalls(
  tables: its.Tables,
  clock: Clock,
  call: its.Call,
): Pick<Ledger, "takeStrays" | "settleStray" | "addStray"> {
  return {
    takeStrays: ({ group, most, leaseMs }) =>
      call("takeStrays", () => {
        const due = [...tables.strays.values()].filter((it) => it.stray.group === group && it.dueMs <= clock.now());
        const taken = due.toSorted((a, b) => a.dueMs - b.dueMs).slice(0, most);
        for (const { stray } of taken) tables.strays.set(its.strayKey(stray), { stray, dueMs: clock.now() + leaseMs });
        return taken.map(({ stray }) => stray);
      }),
    settleStray: (stray) => call("settleStray", () => void tables.strays.delete(its.strayKey(stray))),
    addStray: (stray) =>
      call("addStray", () => {
        if (tables.strays.has(its.strayKey(stray))) return;
        its.putStray(tables, { ...stray, holdUntilMs: clock.now() }, clock.now());
        its.announce(tables, ["strays"]);
      }),
  };
}
