/**
 * The ledger's tables in memory, for the simulation: plain values, changed only between two awaits, so that every call is a
 * transaction. The same functions of the domain decide as on Postgres.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { SLOT_STATES, slotsFreed, type StorageUsed } from "@longshore/domain/group/group.ts";
import { type Change, movedAttempts, workMadeBy } from "@longshore/domain/run/change.ts";
import { type InLine, placeInLine } from "@longshore/domain/run/concurrency.ts";
import type { Anchor, Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import type { GroupState, Intake, Ledger, StoredDefinition, Notice, OutboxEvent, StrayWork, WorkKind } from "../port.ts";
import type { Listeners } from "../work-hints.ts";

export interface ModelRun {
  readonly key: number;
  record: RunRecord;
  request: RunRequest | undefined;
  sealed: string | undefined;
  /** All events of the run. `unsent` holds the sequence numbers that the broker did not confirm. */
  readonly story: OutboxEvent[];
  readonly unsent: Set<number>;
}

export interface ModelGroup extends Omit<GroupState, "slotsUsed" | "inLine" | "storage"> {
  readonly diagnosis: Diagnosis | undefined;
}

export interface Stray {
  readonly stray: StrayWork;
  readonly dueMs: number;
}

export interface Tables {
  readonly runs: Map<RunId, ModelRun>;
  readonly groups: Map<GroupName, ModelGroup>;
  readonly commands: Set<string>;
  readonly notices: Map<string, { readonly notice: Notice; sentAtMs: number | undefined }>;
  readonly strays: Map<string, Stray>;
  readonly leases: Map<string, { readonly owner: string; readonly untilMs: number }>;
  readonly suspects: Map<string, { readonly n: number; readonly atMs: number }>;
  readonly definitions: Map<string, StoredDefinition>;
  /** The terminal events that were counted. */
  readonly countedEnds: Set<OutboxEvent>;
  readonly listeners: Listeners;
  nextKey: number;
  keyMark: string | undefined;
  /** Counts the changes of groups that were told. */
  groupChanges: number;
}

export const emptyTables = (): Tables => ({
  runs: new Map(),
  groups: new Map(),
  commands: new Set(),
  notices: new Map(),
  strays: new Map(),
  leases: new Map(),
  suspects: new Map(),
  definitions: new Map(),
  countedEnds: new Set(),
  listeners: new Set(),
  nextKey: 1,
  keyMark: undefined,
  groupChanges: 0,
});

/** The lines of all concurrency keys, in turn. */
export const linesIn = ({ runs }: Tables): readonly InLine[] =>
  [...runs.values()]
    .flatMap(({ key, record }) => {
      const row = placeInLine(record);
      return row === undefined ? [] : [{ key, row }];
    })
    .toSorted((a, b) => b.row.priority - a.row.priority || a.key - b.key)
    .map(({ row }) => row);

export interface Located {
  readonly run: ModelRun;
  readonly attempt: Attempt;
}

export const attemptsOf = ({ runs }: Tables): Located[] =>
  [...runs.values()].flatMap((run) => run.record.attempts.map((attempt) => ({ run, attempt })));

/** The order of every answer: the most urgent attempt first, then the one that waits longest, then the one that came first. */
export const byUrgency = (a: Located, b: Located): number =>
  b.attempt.priority - a.attempt.priority ||
  (a.attempt.dueMs ?? 0) - (b.attempt.dueMs ?? 0) ||
  a.run.key - b.run.key ||
  compare(a.attempt.step, b.attempt.step) ||
  a.attempt.n - b.attempt.n;

export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function setAttempt({ run, attempt }: Located, change: Partial<Attempt>): Attempt {
  const now = { ...attempt, ...change };
  run.record = { ...run.record, attempts: run.record.attempts.map((it) => (it === attempt ? now : it)) };
  return now;
}

export const slotsUsed = (tables: Tables, group: GroupName): number =>
  attemptsOf(tables)
    .filter(({ attempt }) => attempt.group === group && SLOT_STATES.includes(attempt.state))
    .reduce((sum, { attempt }) => sum + (attempt.slots ?? 1), 0);

export const groupStates = (tables: Tables): readonly GroupState[] =>
  [...tables.groups.values()].map((group) => ({
    ...group,
    slotsUsed: slotsUsed(tables, group.name),
    inLine: attemptsOf(tables).filter(({ attempt }) => attempt.group === group.name && attempt.state === "ready").length,
    storage: storageUsed(tables, group.name),
  }));

export interface LocatedAnchor {
  readonly run: ModelRun;
  readonly anchor: Anchor;
}

export const anchorsOf = ({ runs }: Tables): LocatedAnchor[] =>
  [...runs.values()].flatMap((run) => (run.record.anchors ?? []).map((anchor) => ({ run, anchor })));

function storageUsed(tables: Tables, group: GroupName): StorageUsed {
  const all = anchorsOf(tables).flatMap(({ anchor }) => (anchor.group === group && anchor.state !== "gone" ? [anchor] : []));
  const kept = all.filter(({ state }) => state === "kept");
  const sum = (of: readonly Anchor[]): number => of.reduce((total, { bytes }) => total + bytes, 0);
  const untilMs = kept.flatMap(({ dueMs }) => dueMs ?? []);
  return { usedBytes: sum(all), keptBytes: sum(kept), keptUntilMs: untilMs.length === 0 ? undefined : Math.min(...untilMs) };
}

type Given = Pick<Intake, "request" | "sealed">;

/** Writes one run's change, with its events and strays. */
export function write(
  tables: Tables,
  change: Change,
  { request, sealed, nowMs, epoch }: Given & { readonly nowMs: number; readonly epoch: number },
): void {
  const { before, after, told, strays } = change;
  const { id, tenant, plan } = after.run;
  const { traceparent, correlationId } = plan;
  const run = tables.runs.get(id) ?? inserted(tables, after);
  run.record = after;
  run.request = request ?? run.request;
  run.sealed = sealed ?? run.sealed;
  for (const [index, { told: it, generation }] of told.entries()) {
    const sequence = (before?.run.seq ?? 0) + index + 1;
    const { type, group, data } = it;
    run.story.push({
      key: String(run.key),
      run: id,
      tenant,
      sequence,
      generation,
      epoch,
      group,
      type,
      traceparent,
      correlationId,
      data,
      atMs: nowMs,
    });
    run.unsent.add(sequence);
  }
  for (const it of strays) putStray(tables, { ...it, run: id }, it.kind === "release" ? it.holdUntilMs : nowMs);
  announce(tables, workMadeBy([change], nowMs));
  const moved = new Set(movedAttempts(change).map(([, is]) => is));
  const waitsForRoom = ({ waitsFor = [] }: Attempt): boolean => waitsFor.length > 0;
  wake(tables, Math.min(1, slotsFreed([change])), nowMs, (it) => waitsForRoom(it) && !moved.has(it));
}

function inserted(tables: Tables, record: RunRecord): ModelRun {
  const run: ModelRun = { key: tables.nextKey++, record, request: undefined, sealed: undefined, story: [], unsent: new Set() };
  tables.runs.set(record.run.id, run);
  return run;
}

/** Makes waiting attempts due now, because their reason to wait may have passed. */
export function wake(
  tables: Tables,
  most: number,
  nowMs: number,
  which: (attempt: Attempt) => boolean,
  more: Partial<Attempt> = {},
): void {
  const next = attemptsOf(tables)
    .filter(({ attempt }) => attempt.state === "waiting" && (attempt.dueMs ?? 0) > nowMs)
    .filter(({ attempt }) => (attempt.notes.notBeforeMs ?? 0) <= nowMs && which(attempt))
    .toSorted(byUrgency)
    .slice(0, most);
  for (const it of next) setAttempt(it, { dueMs: nowMs, ...more });
  if (next.length > 0) announce(tables, ["waiting"]);
}

export const strayKey = ({ group, uid, kind }: Pick<StrayWork, "group" | "uid" | "kind">): string =>
  JSON.stringify([group, uid, kind]);

export function putStray(tables: Tables, stray: StrayWork, dueMs: number): void {
  if (!tables.groups.has(stray.group)) return;
  const known = tables.strays.get(strayKey(stray)) ?? { stray, dueMs };
  const holdUntilMs = Math.max(stray.holdUntilMs, known.stray.holdUntilMs);
  tables.strays.set(strayKey(stray), { ...known, stray: { ...known.stray, holdUntilMs } });
}

export function announce({ listeners }: Tables, kinds: readonly WorkKind[]): void {
  if (kinds.length > 0) for (const listener of listeners) listener(kinds);
}

/** Runs one call of the port as one transaction, with the faults of its connection. */
export type Call = <T>(name: keyof Ledger, work: () => T) => Promise<T>;
