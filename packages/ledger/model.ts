/**
 * The ledger in memory, with the faults that a database over a network has: the simulation's. It passes the same
 * conformance.ts as Postgres.
 *
 * The bug this prevents: a loop that was only ever tried on a ledger that always answers. Here a COMMIT's answer is lost,
 * with or without the commit, a connection is away for a while, and answers are late, as the simulation's chance has it.
 */
import type { Installation, RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { TOMBSTONE_MS } from "@longshore/domain/run/admit.ts";
import type { Advancing } from "@longshore/domain/run/advance.ts";
import type { Names } from "@longshore/domain/run/begin.ts";
import { moveAttempt } from "@longshore/domain/run/lifecycle.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { noticeId, refusalOf } from "./admit.ts";
import { BELLS, listener } from "./bells.ts";
import { type Change, decideEntries, decideIntake, decidePlaces, isChanged, isRemembered, unchanged } from "./decide.ts";
import * as its from "./model-tables.ts";
import type { Admitted, Counts, Intake, Ledger, Recorded, Standing, Work } from "./port.ts";
import { NOTICE_MS, SUSPECT_MS } from "./prune.ts";
import { OVERDUE_MS } from "./runs.ts";
import { PARTITIONS } from "./write.ts";

/** "refused": the call did not arrive, nothing happened. "lost": it was done, and the answer did not come. */
export interface Fault {
  readonly beforeMs?: number;
  readonly afterMs?: number;
  readonly end?: "refused" | "lost";
}

export interface ModelOptions extends Names {
  readonly clock: Clock;
  readonly installation: Installation;
  readonly epoch?: number;
}

export interface Connecting {
  /** Asked at every call what is to happen to it. */
  readonly fault?: (call: keyof Ledger) => Fault;
  /** Told what each call did, also where its answer is lost: for the simulation's own history. */
  readonly done?: (call: keyof Ledger, result: unknown) => void;
  /** Asked at every ring whether it is heard. */
  readonly hears?: () => boolean;
}

export interface LedgerModel {
  /** A connection of one process. Closing it, or losing the process, changes nothing in the tables. */
  connect(connecting?: Connecting): Ledger;
  /** For whoever checks at the end. Nothing of it may be changed. */
  readonly tables: its.Tables;
}

export function ledgerModel(options: ModelOptions): LedgerModel {
  const tables = its.emptyTables();
  return { tables, connect: (connecting = {}) => connected(tables, options, connecting) };
}

function connected(
  tables: its.Tables,
  { clock, installation, epoch = 1, jobName }: ModelOptions,
  connecting: Connecting,
): Ledger {
  const closing = new AbortController();
  const at = (): Advancing => ({ nowMs: clock.now(), epoch, jobName });

  /** Decides and writes without an await between, and then has the network do its worst. */
  async function call<T>(name: keyof Ledger, work: () => T): Promise<T> {
    const { beforeMs = 0, afterMs = 0, end } = connecting.fault?.(name) ?? {};
    if (beforeMs > 0) await clock.sleep(beforeMs, closing.signal);
    if (closing.signal.aborted) throw new Failure("retry", "LedgerUnreachable", "The ledger's connection was closed.");
    if (end === "refused") throw new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached.");
    const result = work();
    connecting.done?.(name, result);
    if (afterMs > 0) await clock.sleep(afterMs, closing.signal);
    if (end === "lost") throw new Failure("retry", "LedgerUnreachable", "The ledger's connection was lost.");
    return result;
  }

  return {
    installation,
    epoch,
    admit: (batch) => call("admit", () => batch.map((intake) => admitOne(tables, intake, at()))),
    record: (batch) => call("record", () => recordAll(tables, batch, at())),
    suspect: (digest) => call("suspect", () => suspected(tables, digest, clock.now())),
    place: ({ most, judge }) => call("place", () => placeDue(tables, most, judge, at())),
    claim: (asked) => call("claim", () => claimDue(tables, asked, clock.now())),
    take: (asked) => call("take", () => takeDue(tables, asked, clock.now())),
    ...strayCalls(tables, clock, call),
    ...outboxCalls(tables, clock, call),
    ...groupCalls(tables, clock, call),
    ...peopleCalls(tables, clock, call),
    prune: (most) => call("prune", () => prune(tables, most, clock.now())),
    changes: (signal) => {
      const heard: typeof tables.listeners = new Set();
      const end = AbortSignal.any([signal, closing.signal]);
      const hear = (bells: readonly (typeof BELLS)[number][]): void => {
        if (connecting.hears?.() ?? true) for (const it of heard) it(bells);
      };
      tables.listeners.add(hear);
      end.addEventListener("abort", () => tables.listeners.delete(hear), { once: true });
      const bells = listener(heard, end);
      for (const it of heard) it(BELLS); // as after connecting: whatever was rung before
      return bells;
    },
    describe: () => call("describe", () => ({ product: "the model", schema: "none" })),
    [Symbol.asyncDispose]: async () => closing.abort(),
  };
}

type Call = <T>(name: keyof Ledger, work: () => T) => Promise<T>;

// ── Writing down what was said ──────────────────────────────────────────────────────────────────────────────────────

function admitOne(tables: its.Tables, intake: Intake, at: Advancing): Admitted {
  const { run: id, tenant, replyTo, admission } = intake;
  const name = noticeId(intake);
  if (isRemembered(intake)) {
    if (tables.commands.has(name)) return { kind: "duplicate" };
    tables.commands.add(name);
  }
  const found = id === undefined ? undefined : tables.runs.get(id);
  const answer = decideIntake(found && unchanged(found.record), intake, at);
  switch (answer.kind) {
    case "duplicate":
      return answer;
    case "write":
      its.write(tables, answer.change, { ...at, request: admission.kind === "run" ? intake.request : undefined });
      return { kind: "recorded" };
    case "refuse": {
      const { problems } = answer;
      const notice = { id: name, tenant, type: "command.refused", data: refusalOf(intake, problems), replyTo } as const;
      if (!tables.notices.has(name)) tables.notices.set(name, { ...notice, atMs: at.nowMs, sentAtMs: undefined });
      its.ring(tables, ["notices"]);
      return { kind: "refused", problems };
    }
  }
}

function recordAll(tables: its.Tables, batch: Parameters<Ledger["record"]>[0], at: Advancing): readonly Recorded[] {
  const recorded: Recorded[] = batch.map(() => ({ kind: "unknown" }));
  const numbered = batch.map((entry, index) => ({ entry, index }));
  for (const [id, ofRun] of Map.groupBy(numbered, ({ entry }) => entry.run)) {
    const run = tables.runs.get(id);
    if (run === undefined) continue;
    const decided = decideEntries(run.record, ofRun.map(({ entry }) => entry), at); // biome-ignore format: one call
    for (const [place, { index }] of ofRun.entries()) recorded[index] = decided.recorded[place] ?? { kind: "unknown" };
    if (isChanged(decided.change)) its.write(tables, decided.change, at);
  }
  return recorded;
}

function suspected({ suspects }: its.Tables, digest: string, nowMs: number): number {
  const n = (suspects.get(digest)?.n ?? 0) + 1;
  suspects.set(digest, { n, atMs: nowMs });
  return n;
}

// ── Each loop's question ────────────────────────────────────────────────────────────────────────────────────────────

const isDue = ({ attempt }: its.Located, nowMs: number): boolean => attempt.dueMs !== undefined && attempt.dueMs <= nowMs;

function placeDue(tables: its.Tables, most: number, judge: Parameters<Ledger["place"]>[0]["judge"], at: Advancing) {
  const due = its
    .attemptsOf(tables)
    .filter((it) => it.attempt.state === "waiting" && isDue(it, at.nowMs))
    .toSorted(its.byUrgency)
    .slice(0, most);
  const candidates = due.map(({ run, attempt: { step, n } }) => ({ run: run.record.run.id, step, n }));
  const records = new Map(due.map(({ run }) => [run.record.run.id, run.record]));
  const { changes, placed, told } = decidePlaces(candidates, records, its.groupStates(tables), judge, at);
  const changed: Change[] = [...changes.values()].filter(isChanged);
  for (const change of changed) its.write(tables, change, at);
  return { placed, told };
}

const workOf = (run: its.ModelRun, attempt: Work["attempt"], nowMs: number): readonly Work[] => {
  const { id, tenant, generation, plan, cancel } = run.record.run;
  return run.request === undefined
    ? []
    : [{ attempt, run: { id, tenant, generation, plan, cancel }, request: run.request, nowMs }];
};

function claimDue(
  tables: its.Tables,
  { group, most, by, forMs }: Parameters<Ledger["claim"]>[0],
  nowMs: number,
): readonly Work[] {
  const due = its.attemptsOf(tables).filter((it) => it.attempt.group === group && isDue(it, nowMs));
  const expired = due.filter(({ attempt }) => attempt.state === "claimed" && (attempt.fenceUntilMs ?? 0) > nowMs);
  const ready = due.filter(({ attempt }) => attempt.state === "ready");
  const taken = [...expired.toSorted(its.byUrgency), ...ready.toSorted(its.byUrgency)].slice(0, most);
  return taken.flatMap((it) => {
    const context = { nowMs, limits: it.run.record.run.plan.limits };
    const { attempt } = moveAttempt(it.attempt, { kind: "claimDue", by, untilMs: nowMs + forMs }, context);
    return workOf(it.run, its.setAttempt(it, attempt), nowMs);
  });
}

function takeDue(
  tables: its.Tables,
  { state, group, most, holdMs }: Parameters<Ledger["take"]>[0],
  nowMs: number,
): readonly Work[] {
  const mayLand = ({ attempt }: its.Located): boolean => attempt.state === "claimed" && (attempt.fenceUntilMs ?? 0) > nowMs;
  const due = its
    .attemptsOf(tables)
    .filter((it) => it.attempt.group === group && it.attempt.state === state && isDue(it, nowMs) && !mayLand(it))
    .toSorted(its.byUrgency);
  return due.slice(0, most).flatMap((it) => workOf(it.run, its.setAttempt(it, { dueMs: nowMs + holdMs }), nowMs));
}

function strayCalls(tables: its.Tables, clock: Clock, call: Call): Pick<Ledger, "takeStrays" | "settleStray" | "addStray"> {
  return {
    takeStrays: ({ group, most, holdMs }) =>
      call("takeStrays", () => {
        const due = [...tables.strays.values()].filter((it) => it.group === group && it.dueMs <= clock.now());
        return due
          .toSorted((a, b) => a.dueMs - b.dueMs)
          .slice(0, most)
          .map((it) => {
            tables.strays.set(its.strayKey(it), { ...it, dueMs: clock.now() + holdMs });
            const { dueMs: _, ...stray } = it;
            return stray;
          });
      }),
    settleStray: (stray) => call("settleStray", () => void tables.strays.delete(its.strayKey(stray))),
    addStray: (stray) =>
      call("addStray", () => {
        if (tables.strays.has(its.strayKey(stray))) return;
        its.putStray(tables, { ...stray, holdUntilMs: clock.now() }, clock.now());
        its.ring(tables, ["strays"]);
      }),
  };
}

// ── The outbox ──────────────────────────────────────────────────────────────────────────────────────────────────────

type OutboxCalls = Pick<Ledger, "holdPartitions" | "unsent" | "sent" | "unsentNotices" | "sentNotices" | "lease">;

function outboxCalls(tables: its.Tables, clock: Clock, call: Call): OutboxCalls {
  const lease = (what: string, owner: string, forMs: number): boolean => {
    const held = tables.leases.get(what);
    if (held !== undefined && held.owner !== owner && held.untilMs > clock.now()) return false;
    tables.leases.set(what, { owner, untilMs: clock.now() + forMs });
    return true;
  };
  const all = Array.from({ length: PARTITIONS }, (_, part) => part);
  return {
    lease: (what, owner, forMs) => call("lease", () => lease(what, owner, forMs)),
    holdPartitions: (owner, leaseMs) =>
      call("holdPartitions", () => all.filter((part) => lease(`outbox/${part}`, owner, leaseMs))),
    unsent: ({ partitions, busy, most }) =>
      call("unsent", () =>
        [...tables.runs.values()]
          .filter(({ key, record }) => partitions.includes(key % PARTITIONS) && !busy.includes(record.run.id))
          .flatMap(({ key, story, unsent }) =>
            story.filter((it) => it.sequence === Math.min(...unsent)).map((event) => ({ key, event })),
          )
          .toSorted((a, b) => a.event.atMs - b.event.atMs || a.key - b.key)
          .slice(0, most)
          .map(({ event }) => event),
      ),
    sent: (events) =>
      call("sent", () => {
        for (const { run, sequence } of events) tables.runs.get(run)?.unsent.delete(sequence);
      }),
    unsentNotices: (most) =>
      call("unsentNotices", () => {
        const unsent = [...tables.notices.values()].filter(({ sentAtMs }) => sentAtMs === undefined);
        const inOrder = unsent.toSorted((a, b) => a.atMs - b.atMs || its.compare(a.id, b.id)).slice(0, most);
        return inOrder.map(({ sentAtMs: _, ...notice }) => notice);
      }),
    sentNotices: (ids) =>
      call("sentNotices", () => {
        for (const id of ids) {
          const notice = tables.notices.get(id);
          if (notice !== undefined && notice.sentAtMs === undefined) tables.notices.set(id, { ...notice, sentAtMs: clock.now() });
        }
      }),
  };
}

// ── Groups, counting, people ────────────────────────────────────────────────────────────────────────────────────────

const WAKE_MOST = 1_000;

function groupCalls(
  tables: its.Tables,
  clock: Clock,
  call: Call,
): Pick<Ledger, "putGroups" | "groups" | "setGroup" | "standing"> {
  const fresh = { paused: false, health: "unknown", everHealthy: false, diagnosis: undefined, namespaceUid: undefined, watchedAtMs: undefined } as const; // biome-ignore format: one value
  return {
    putGroups: (groups) =>
      call("putGroups", () => {
        for (const it of groups) tables.groups.set(it.name, { ...(tables.groups.get(it.name) ?? fresh), ...it });
      }),
    groups: () => call("groups", () => its.groupStates(tables)),
    setGroup: (name, change) =>
      call("setGroup", () => {
        const group = tables.groups.get(name);
        if (group === undefined) return;
        tables.groups.set(name, { ...group, ...change, everHealthy: group.everHealthy || change.health === "healthy" });
        if (change.paused === false || change.health === "healthy") its.wake(tables, WAKE_MOST, clock.now(), () => true);
      }),
    standing: (group) =>
      call("standing", () =>
        its
          .attemptsOf(tables)
          .filter(({ attempt }) => attempt.group === group && ["claimed", "live", "closing", "ended"].includes(attempt.state))
          .map(({ run, attempt }): Standing => ({ run: run.record.run.id, attempt })),
      ),
  };
}

function peopleCalls(tables: its.Tables, clock: Clock, call: Call): Pick<Ledger, "find" | "list" | "story" | "counts" | "now"> {
  return {
    find: (id: RunId) =>
      call("find", () => {
        const { record, request } = tables.runs.get(id) ?? {};
        return record === undefined || request === undefined ? undefined : { record, request };
      }),
    list: ({ state, outcome, group, before, most }) =>
      call("list", () =>
        [...tables.runs.values()]
          .filter(({ record: { run } }) => (state === undefined ? run.state !== "tombstone" : run.state === state))
          .filter(({ record: { run } }) => outcome === undefined || run.outcome === outcome)
          .filter(({ record: { run }, key }) => (group === undefined || run.group === group) && (!before || key < Number(before)))
          .toSorted((a, b) => b.key - a.key)
          .slice(0, most)
          .map(({ key, record: { run } }) => {
            const { id, tenant, acceptedAtMs, endedAtMs } = run;
            return {
              id,
              tenant,
              state: run.state,
              outcome: run.outcome,
              group: run.group,
              acceptedAtMs,
              endedAtMs,
              cursor: String(key),
            };
          }),
      ),
    story: (id, after, most) =>
      call("story", () =>
        (tables.runs.get(id)?.story ?? [])
          .filter(({ sequence }) => sequence > after)
          .slice(0, most)
          .map(({ sequence, generation, group, type, data, atMs }) => ({ sequence, generation, group, type, data, atMs })),
      ),
    counts: () => call("counts", () => counted(tables, clock.now())),
    now: () => call("now", () => clock.now()),
  };
}

function counted(tables: its.Tables, nowMs: number): Counts {
  const runs = { tombstone: 0, active: 0, cancelling: 0, ended: 0 };
  const attempts: Partial<Record<Work["attempt"]["state"], number>> = {};
  for (const { record } of tables.runs.values()) runs[record.run.state]++;
  const all = its.attemptsOf(tables);
  for (const { attempt } of all) attempts[attempt.state] = (attempts[attempt.state] ?? 0) + 1;
  const unsent = [...tables.runs.values()].flatMap((run) => run.story.filter((it) => run.unsent.has(it.sequence)));
  return {
    runs,
    attempts,
    outbox: unsent.length,
    outboxOldestMs: unsent.length === 0 ? undefined : nowMs - Math.min(...unsent.map(({ atMs }) => atMs)),
    overdue: all.filter(({ attempt }) => attempt.dueMs !== undefined && attempt.dueMs < nowMs - OVERDUE_MS).length,
    strays: tables.strays.size,
  };
}

function prune(tables: its.Tables, most: number, nowMs: number): number {
  const stones = [...tables.runs].filter(
    ([
      ,
      {
        record: { run },
      },
    ]) => run.state === "tombstone" && run.acceptedAtMs <= nowMs - TOMBSTONE_MS,
  );
  const notices = [...tables.notices].filter(([, { sentAtMs }]) => sentAtMs !== undefined && sentAtMs <= nowMs - NOTICE_MS);
  const suspects = [...tables.suspects].filter(([, { atMs }]) => atMs <= nowMs - SUSPECT_MS);
  for (const [id] of stones.slice(0, most)) tables.runs.delete(id);
  for (const [id] of notices.slice(0, most)) tables.notices.delete(id);
  for (const [digest] of suspects.slice(0, most)) tables.suspects.delete(digest);
  return [stones, notices, suspects].reduce((sum, { length }) => sum + Math.min(length, most), 0);
}
