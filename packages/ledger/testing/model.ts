/**
 * The simulation's ledger, in memory, with the faults of a database over a network. It passes the same conformance.ts as
 * Postgres.
 *
 * The bug this prevents: a loop that was only ever tried on a ledger that always answers. Here the simulation decides by chance
 * that a COMMIT's answer is lost (with or without the commit), a connection is away for a while, or an answer is late.
 */
import type { Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { answerCommand, duplicateOf, isRemembered } from "@longshore/domain/run/admit.ts";
import type { Advancing } from "@longshore/domain/run/advance.ts";
import type { Names, NewRun } from "@longshore/domain/run/begin.ts";
import {
  applyInputs,
  applyToAnchors,
  type Change,
  isChanged,
  unchanged,
  WORK_KINDS,
  type WorkKind,
} from "@longshore/domain/run/change.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { otherKey } from "../key-mark.ts";
import type { Admitted, AnchorEntry, Intake, Ledger, Notice, Placed, Recorded } from "../port.ts";
import { commandId, duplicateId, refusalId, refusalOf } from "../postgres/work/admit.ts";
import { workHints } from "../work-hints.ts";
import { definitionCalls, groupCalls, outboxCalls, peopleCalls, prune } from "./model-ask.ts";
import * as its from "./model-tables.ts";
import { claimDue, dueWork, placeDue, strayCalls, takeAnchorsDue, takeDue } from "./model-todo.ts";

/** "refused": the call did not arrive, so nothing happened. "lost": the call was done, and its answer did not come. */
export interface Fault {
  readonly beforeMs?: number;
  readonly afterMs?: number;
  /** How long an answer takes that gives no work. Absent: as long as `afterMs`. */
  readonly nothingAfterMs?: number;
  readonly end?: "refused" | "lost";
}

export interface ModelOptions extends Names {
  readonly clock: Clock;
  readonly installation: Installation;
  readonly epoch?: number;
}

export interface Connecting {
  readonly keyMark?: string | undefined;
  /** Chooses the fault of each call. */
  readonly fault?: (call: keyof Ledger) => Fault;
  /** Gets the result of each call, even if its answer is lost: for the simulation's own history. */
  readonly done?: (call: keyof Ledger, result: unknown) => void;
  /** Decides for each hint whether this connection hears it. */
  readonly hears?: () => boolean;
}

export interface LedgerModel {
  /** A connection of one process. Closing it, or losing the process, changes nothing in the tables. */
  connect(connecting?: Connecting): Ledger;
  /** For checks at the end of a test, which must not change anything here. */
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
  if (connecting.keyMark !== undefined && (tables.keyMark ??= connecting.keyMark) !== connecting.keyMark) throw otherKey();
  const closing = new AbortController();
  const at = (): Advancing => ({ nowMs: clock.now(), epoch, jobName });

  /** Decides and writes without an await between; the call's fault comes before and after. */
  async function call<T>(name: keyof Ledger, work: () => T): Promise<T> {
    const { beforeMs = 0, afterMs = 0, nothingAfterMs = afterMs, end } = connecting.fault?.(name) ?? {};
    if (beforeMs > 0) await clock.sleep(beforeMs);
    if (closing.signal.aborted) throw new Failure("retry", "LedgerUnreachable", "The ledger's connection was closed.");
    if (end === "refused") throw new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached.");
    const result = work();
    connecting.done?.(name, result);
    const backMs = givesWork(name, result) ? afterMs : nothingAfterMs;
    if (backMs > 0) await clock.sleep(backMs);
    if (end === "lost") throw new Failure("retry", "LedgerUnreachable", "The ledger's connection was lost.");
    return result;
  }

  return {
    installation,
    epoch,
    admit: (batch) => call("admit", () => batch.map((intake) => admitOne(tables, intake, at()))),
    record: (batch) => call("record", () => recordAll(tables, batch, at())),
    recordAnchors: (batch) => call("recordAnchors", () => recordAnchors(tables, batch, at())),
    suspect: (digest) => call("suspect", () => suspected(tables, digest, clock.now())),
    place: (asked) => call("place", () => placeDue(tables, asked, at())),
    claim: (asked) => call("claim", () => claimDue(tables, asked, clock.now())),
    take: (asked) => call("take", () => takeDue(tables, asked, clock.now())),
    takeAnchors: (asked) => call("takeAnchors", () => takeAnchorsDue(tables, asked, clock.now())),
    due: (groups) => call("due", () => dueWork(tables, groups, clock.now())),
    ...strayCalls(tables, clock, call),
    ...outboxCalls(tables, clock, call),
    ...groupCalls(tables, installation, at, clock, call),
    ...definitionCalls(tables, clock, call),
    ...peopleCalls(tables, clock, call),
    prune: (most) => call("prune", () => prune(tables, most, clock.now())),
    changes: (signal) => {
      const heard: typeof tables.listeners = new Set();
      const end = AbortSignal.any([signal, closing.signal]);
      const hear = (kinds: readonly WorkKind[]): void => {
        if (connecting.hears?.() ?? true) for (const it of heard) it(kinds);
      };
      tables.listeners.add(hear);
      end.addEventListener("abort", () => tables.listeners.delete(hear), { once: true });
      const kinds = workHints(heard, end);
      for (const it of heard) it(WORK_KINDS); // work of any kind may have come before this listener
      return kinds;
    },
    describe: () => call("describe", () => ({ product: "the model", schema: "none", keyMark: tables.keyMark })),
    [Symbol.asyncDispose]: async () => closing.abort(),
  };
}

/** True for answers that a caller will act on: it may die before it hears them, and others may act meanwhile. */
function givesWork(name: keyof Ledger, result: unknown): boolean {
  if (name === "place") return Object.values(result as Placed).some((it) => (Array.isArray(it) ? it.length > 0 : Boolean(it)));
  return WORKS.has(name) && (result as readonly unknown[]).length > 0;
}

const WORKS: ReadonlySet<keyof Ledger> = new Set(["claim", "take", "takeAnchors", "takeStrays", "unsent", "unsentNotices"]);

// ── Writing down what was said ───────────────────────────────────────────────────────────────────────────────────────

function admitOne(tables: its.Tables, intake: Intake, at: Advancing): Admitted {
  const { run: id, admission } = intake;
  const name = commandId(intake);
  const found = id === undefined ? undefined : tables.runs.get(id);
  const existing = found && unchanged(found.record);
  if (isRemembered(intake)) {
    if (tables.commands.has(name)) return duplicate(tables, existing, intake, at);
    tables.commands.add(name);
  }
  const unfinished = ({ tenant, plan }: NewRun): number =>
    its.linesIn(tables).filter((it) => it.tenant === tenant && it.key === plan.concurrency?.key).length;
  const answer = answerCommand(existing, intake, { ...at, unfinished });
  switch (answer.kind) {
    case "duplicate":
      return duplicate(tables, existing, intake, at);
    case "write":
      its.write(tables, answer.change, {
        ...at,
        request: admission.kind === "run" ? intake.request : undefined,
        sealed: intake.sealed,
      });
      return { kind: "recorded" };
    case "refuse": {
      const { problems } = answer;
      tell(tables, intake, { id: refusalId(intake, problems), type: "command.refused", data: refusalOf(intake, problems) }, at);
      return { kind: "refused", problems };
    }
  }
}

function duplicate(tables: its.Tables, existing: Change | undefined, intake: Intake, at: Advancing): Admitted {
  const data = duplicateOf(existing, intake);
  if (data !== undefined) tell(tables, intake, { id: duplicateId(intake, at.nowMs), type: "command.duplicate", data }, at);
  return { kind: "duplicate" };
}

function tell(
  tables: its.Tables,
  { tenant, replyTo, correlationId }: Intake,
  said: Pick<Notice, "id" | "type" | "data">,
  { nowMs }: Advancing,
): void {
  const notice = { ...said, tenant, group: undefined, replyTo, correlationId, atMs: nowMs };
  if (!tables.notices.has(said.id)) tables.notices.set(said.id, { notice, sentAtMs: undefined });
  its.announce(tables, ["notices"]);
}

function recordAll(tables: its.Tables, batch: Parameters<Ledger["record"]>[0], at: Advancing): readonly Recorded[] {
  const recorded: Recorded[] = batch.map(() => ({ kind: "unknown" }));
  const numbered = batch.map((entry, index) => ({ entry, index }));
  for (const [id, ofRun] of Map.groupBy(numbered, ({ entry }) => entry.run)) {
    const run = tables.runs.get(id);
    if (run === undefined) continue;
    const applied = applyInputs(run.record, ofRun.map(({ entry }) => entry), at); // biome-ignore format: one call
    for (const [place, { index }] of ofRun.entries()) recorded[index] = applied.recorded[place] ?? { kind: "unknown" };
    if (isChanged(applied.change)) its.write(tables, applied.change, at);
  }
  return recorded;
}

function recordAnchors(tables: its.Tables, batch: readonly AnchorEntry[], at: Advancing): void {
  for (const [id, ofRun] of Map.groupBy(batch, ({ run }) => run)) {
    const run = tables.runs.get(id);
    const change = run && applyToAnchors(run.record, ofRun, at);
    if (change !== undefined && isChanged(change)) its.write(tables, change, at);
  }
}

function suspected({ suspects }: its.Tables, digest: string, nowMs: number): number {
  const n = (suspects.get(digest)?.n ?? 0) + 1;
  suspects.set(digest, { n, atMs: nowMs });
  return n;
}
