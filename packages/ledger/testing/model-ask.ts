/** The model's methods for the outbox, for groups and for people. */
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { GroupName, Installation, RunId, Uid } from "@longshore/contract/ids.ts";
import { canonical } from "@longshore/contract/json.ts";
import { giveUp, lostIn } from "@longshore/domain/group/give-up.ts";
import { PLACED_STATES, STANDING_STATES } from "@longshore/domain/group/group.ts";
import { UNREACHED } from "@longshore/domain/group/view.ts";
import { keepsSecrets } from "@longshore/domain/anchor/secrets.ts";
import { TOMBSTONE_MS } from "@longshore/domain/run/admit.ts";
import type { Advancing } from "@longshore/domain/run/advance.ts";
import { isChanged } from "@longshore/domain/run/change.ts";
import { finishedAtMs, noRuns } from "@longshore/domain/run/record.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { groupNotices, healthNotice, pauseNotice } from "../group-notices.ts";
import { newestOf, newestOfStory } from "../newest-event.ts";
import type { Accepted, Counts, Ends, EndsCounted, GroupChange, Ledger, RunFilter, Sent, Work } from "../port.ts";
import { commandId } from "../postgres/work/admit.ts";
import { endIn } from "../postgres/work/endings.ts";
import { NOTICE_MS, SUSPECT_MS } from "../postgres/work/prune.ts";
import { OVERDUE_MS } from "../postgres/runs.ts";
import { OUTBOX_LEASE, PARTITIONS } from "../postgres/write.ts";
import * as its from "./model-tables.ts";

type OutboxCalls = Pick<Ledger, "leasePartitions" | "unsent" | "sent" | "unsentNotices" | "sentNotices" | "lease">;

export function outboxCalls(tables: its.Tables, clock: Clock, call: its.Call): OutboxCalls {
  const lease = (what: string, owner: string, forMs: number): boolean => {
    const held = tables.leases.get(what);
    if (held !== undefined && held.owner !== owner && held.untilMs > clock.now()) return false;
    tables.leases.set(what, { owner, untilMs: clock.now() + forMs });
    return true;
  };
  const gone = (events: readonly Sent[]): void => {
    for (const { run, sequence } of events) tables.runs.get(run)?.unsent.delete(sequence);
  };
  const all = Array.from({ length: PARTITIONS }, (_, part) => part);
  return {
    lease: (what, owner, forMs) => call("lease", () => lease(what, owner, forMs)),
    leasePartitions: (owner, leaseMs) =>
      call("leasePartitions", () => all.filter((part) => lease(`${OUTBOX_LEASE}${part}`, owner, leaseMs))),
    unsent: ({ partitions, busy, most, sent = [] }) =>
      call("unsent", () => {
        gone(sent);
        return [...tables.runs.values()]
          .filter(({ key, record }) => partitions.includes(key % PARTITIONS) && !busy.includes(record.run.id))
          .flatMap(({ key, story, unsent }) =>
            story.filter((it) => it.sequence === Math.min(...unsent)).map((event) => ({ key, event })),
          )
          .toSorted((a, b) => a.event.atMs - b.event.atMs || a.key - b.key)
          .slice(0, most)
          .map(({ event }) => event);
      }),
    sent: (events) => call("sent", () => gone(events)),
    unsentNotices: (most) =>
      call("unsentNotices", () => {
        const unsent = [...tables.notices.values()].flatMap(({ notice, sentAtMs }) => (sentAtMs === undefined ? [notice] : []));
        return unsent.toSorted((a, b) => a.atMs - b.atMs || its.compare(a.id, b.id)).slice(0, most);
      }),
    sentNotices: (ids) =>
      call("sentNotices", () => {
        for (const id of ids) {
          const told = tables.notices.get(id);
          if (told !== undefined) told.sentAtMs ??= clock.now();
        }
      }),
  };
}

export const definitionCalls = (
  { definitions, groups }: its.Tables,
  clock: Clock,
  call: its.Call,
): Pick<Ledger, "putDefinitions" | "putPrepared" | "losePrepared" | "definitions"> => ({
  putDefinitions: (put) =>
    call("putDefinitions", () => {
      const before = new Map(definitions);
      for (const [name, { prepared }] of before) if (prepared === undefined) definitions.delete(name);
      for (const { digest, body } of put) {
        const known = before.get(body.name);
        definitions.set(body.name, known?.digest === digest ? known : { digest, body, sinceMs: clock.now() });
      }
    }),
  putPrepared: ({ digest, body, prepared }) =>
    call("putPrepared", () => {
      const known = definitions.get(body.name);
      if (
        known !== undefined &&
        (known.prepared === undefined || BigInt(known.prepared.resourceVersion) > BigInt(prepared.resourceVersion))
      )
        return;
      definitions.set(body.name, { digest, body, prepared, sinceMs: known?.digest === digest ? known.sinceMs : clock.now() });
    }),
  losePrepared: ({ group, kind, resourceVersion, uids }) =>
    call("losePrepared", () => {
      const isLost = (uid: Uid): boolean => ("only" in uids ? uids.only === uid : !uids.allBut.includes(uid));
      for (const [name, { prepared, ...definition }] of definitions)
        if (
          prepared?.group === group &&
          prepared.kind === kind &&
          prepared.goneAtMs === undefined &&
          isLost(prepared.uid) &&
          BigInt(prepared.resourceVersion) <= BigInt(resourceVersion)
        )
          definitions.set(name, { ...definition, prepared: { ...prepared, goneAtMs: clock.now() } });
    }),
  definitions: () =>
    call("definitions", () =>
      [...definitions.values()]
        .filter(({ prepared }) => prepared === undefined || groups.get(prepared.group)?.settings.discover !== undefined)
        .toSorted((a, b) => its.compare(a.body.name, b.body.name)),
    ),
});

const WAKE_MOST = 1_000;

const isEmpty = (tables: its.Tables, group: GroupName): boolean =>
  !its.attemptsOf(tables).some(({ attempt }) => attempt.group === group && PLACED_STATES.includes(attempt.state)) &&
  !its.anchorsOf(tables).some(({ anchor }) => anchor.group === group && anchor.state !== "gone");

function put(tables: its.Tables, { name, namespace, settings }: ConfiguredGroup, nowMs: number): void {
  const now = { name, namespace, settings, servedAtMs: nowMs };
  const fresh = { ...now, ...UNREACHED, paused: false, everHealthy: false, watchedAtMs: undefined, noRoom: undefined };
  const kept = tables.groups.get(name) ?? fresh;
  const isElsewhere = kept.namespace !== namespace && isEmpty(tables, name);
  tables.groups.set(name, { ...kept, ...now, ...(isElsewhere && UNREACHED) });
}

function accept(tables: its.Tables, name: GroupName, at: Advancing): Accepted {
  const group = tables.groups.get(name);
  if (group?.diagnosis?.code !== "GroupMoved") return { kind: "notMoved" };
  const decided = [...tables.runs.values()].map(({ record }) => {
    const it = giveUp(record, name, at);
    if (isChanged(it.change)) its.write(tables, it.change, at);
    return it;
  });
  tables.groups.set(name, { ...group, ...UNREACHED });
  return { kind: "accepted", lost: lostIn(decided) };
}

/** Adds a notice if the group's health, the code of its diagnosis or its pause changes. */
function tellGroup(tables: its.Tables, installation: Installation, before: its.ModelGroup, change: GroupChange, nowMs: number) {
  const { health, diagnosis, paused, pause = {} } = change;
  const { sinceMs: _, ...pausedBefore } = before.pause ?? {};
  const isSameHealth = before.health === health && before.diagnosis?.code === diagnosis?.code;
  const isSamePause = before.paused === paused && (!paused || canonical(pausedBefore) === canonical(pause));
  const told = [isSameHealth ? undefined : healthNotice(before.name, change), isSamePause ? undefined : pauseNotice(before.name, change)]; // biome-ignore format: two notices
  for (const it of told.filter((it) => it !== undefined)) {
    const id = `${groupNotices(installation, before.name)}${++tables.groupChanges}`;
    tables.notices.set(id, {
      notice: { ...it, id, replyTo: undefined, correlationId: undefined, atMs: nowMs },
      sentAtMs: undefined,
    });
    its.announce(tables, ["notices"]);
  }
}

function set(tables: its.Tables, installation: Installation, name: GroupName, change: GroupChange, nowMs: number): void {
  const group = tables.groups.get(name);
  if (group === undefined) return;
  const { served, pause = {}, tally, ...changed } = change;
  const namespaceUid = group.namespaceUid ?? change.namespaceUid;
  const servedAtMs = served === undefined ? group.servedAtMs : served ? nowMs : undefined;
  const everHealthy = group.everHealthy || change.health === "healthy";
  const watchedAtMs = laterOf(group.watchedAtMs, change.watchedAtMs, nowMs);
  tables.groups.set(name, {
    ...{ ...group, ...changed, namespaceUid, everHealthy, servedAtMs, watchedAtMs },
    ...(change.paused !== undefined && { pause: change.paused ? { ...pause, sinceMs: nowMs } : undefined }),
    ...(tally && { tally: { ...tally, atMs: nowMs } }),
  });
  tellGroup(tables, installation, group, change, nowMs);
  if (change.paused === false || change.health === "healthy")
    its.wake(tables, WAKE_MOST, nowMs, () => true, { waitsFor: undefined });
}

export function groupCalls(
  tables: its.Tables,
  installation: Installation,
  at: () => Advancing,
  clock: Clock,
  call: its.Call,
): Pick<Ledger, "putGroups" | "groups" | "setGroup" | "commandGroup" | "acceptGroup" | "anchors" | "standing"> {
  return {
    putGroups: (groups) =>
      call("putGroups", () => {
        for (const it of groups) put(tables, it, clock.now());
      }),
    groups: () => call("groups", () => its.groupStates(tables)),
    setGroup: (name, change) => call("setGroup", () => set(tables, installation, name, change, clock.now())),
    commandGroup: (name, change, command) =>
      call("commandGroup", () => {
        const id = commandId(command);
        if (tables.commands.has(id)) return false;
        tables.commands.add(id);
        set(tables, installation, name, change, clock.now());
        return true;
      }),
    acceptGroup: (name) => call("acceptGroup", () => accept(tables, name, at())),
    anchors: (group) =>
      call("anchors", () =>
        its
          .anchorsOf(tables)
          .filter(({ anchor }) => anchor.group === group && anchor.state !== "gone")
          .map(({ run, anchor: { number, state, namespace } }) => ({ run: run.record.run.id, number, state, namespace })),
      ),
    standing: (group, keep) =>
      call("standing", () =>
        its
          .attemptsOf(tables)
          .filter(({ attempt }) => attempt.group === group && STANDING_STATES.includes(attempt.state))
          .map(({ run, attempt }) => keep({ run: run.record.run.id, attempt })),
      ),
  };
}

/** Returns the later of two times. A recorded time that has not come yet does not count. */
function laterOf(recorded: number | undefined, said: number | undefined, nowMs: number): number | undefined {
  const known = [recorded !== undefined && recorded <= nowMs ? recorded : undefined, said].filter((it) => it !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

export function peopleCalls(
  tables: its.Tables,
  clock: Clock,
  call: its.Call,
): Pick<Ledger, "find" | "list" | "holders" | "story" | "counts" | "countEnds" | "now"> {
  return {
    find: (id: RunId) =>
      call("find", () => {
        const { record, request } = tables.runs.get(id) ?? {};
        return record === undefined || request === undefined ? undefined : { record, request };
      }),
    list: ({ state, outcome, newest, like, group, before, most }) =>
      call("list", () =>
        [...tables.runs.values()]
          .filter(({ record: { run } }) => (state === undefined ? run.state !== "tombstone" : run.state === state))
          .filter(({ record: { run } }) => outcome === undefined || run.outcome === outcome)
          .filter(
            ({ record: { run }, story }) => newest === undefined || newest.some((it) => it === newestOfStory(run, story)?.type),
          )
          .filter(({ record: { run } }) => like === undefined || isLike(run.id, like))
          .filter(({ record: { run }, key }) => (group === undefined || run.group === group) && (!before || key < Number(before)))
          .toSorted((a, b) => b.key - a.key)
          .slice(0, most)
          .map(({ key, record, story }) => {
            const { run } = record;
            const newest = newestOfStory(run, story);
            const { id, tenant, acceptedAtMs, endedAtMs } = run;
            return {
              id,
              tenant,
              state: run.state,
              outcome: run.outcome,
              group: run.group,
              definition: run.plan.definition?.name,
              acceptedAtMs,
              begunAtMs: story.findLast(({ type }) => type === "run.restarted")?.atMs ?? acceptedAtMs,
              endedAtMs,
              finishedAtMs: finishedAtMs(record),
              newest: newest === undefined ? undefined : newestOf(newest),
              cursor: String(key),
            };
          }),
      ),
    holders: ({ tenant, key }, most) =>
      call("holders", () => {
        const inside = its.linesIn(tables).filter((it) => it.letIn && it.tenant === tenant && it.key === key);
        const ageOf = (run: RunId): number => tables.runs.get(run)?.key ?? 0;
        return inside.map(({ run }) => run).toSorted((a, b) => ageOf(a) - ageOf(b)).slice(0, most); // biome-ignore format: one chain
      }),
    story: (id, after, most) =>
      call("story", () =>
        (tables.runs.get(id)?.story ?? [])
          .filter(({ sequence }) => sequence > after)
          .slice(0, most)
          .map(({ sequence, generation, group, type, data, atMs }) => ({ sequence, generation, group, type, data, atMs })),
      ),
    counts: () => call("counts", () => counted(tables, clock.now())),
    countEnds: (most) => call("countEnds", () => countEnds(tables, most)),
    now: () => call("now", () => clock.now()),
  };
}

const isLike = (id: RunId, { begins, ends }: NonNullable<RunFilter["like"]>): boolean =>
  id.startsWith(begins) && id.endsWith(ends) && id.length >= begins.length + ends.length;

function counted(tables: its.Tables, nowMs: number): Counts {
  const runs = noRuns();
  const attempts: Partial<Record<Work["attempt"]["state"], number>> = {};
  for (const { record } of tables.runs.values()) if (record.run.state !== "ended") runs[record.run.state]++;
  const all = its.attemptsOf(tables).filter(({ attempt }) => attempt.state !== "done");
  for (const { attempt } of all) attempts[attempt.state] = (attempts[attempt.state] ?? 0) + 1;
  const unsent = [...tables.runs.values()].flatMap((run) => run.story.filter((it) => run.unsent.has(it.sequence)));
  return {
    runs,
    ends: tables.countedEnds.size,
    attempts,
    outbox: unsent.length,
    outboxOldestMs: unsent.length === 0 ? undefined : nowMs - Math.min(...unsent.map(({ atMs }) => atMs)),
    overdue: [...all.map(({ attempt }) => attempt), ...its.anchorsOf(tables).map(({ anchor }) => anchor)].filter(
      ({ dueMs }) => dueMs !== undefined && dueMs < nowMs - OVERDUE_MS,
    ).length,
    strays: tables.strays.size,
    anchors: its.anchorsOf(tables).filter(({ anchor }) => anchor.state !== "gone").length,
    hasLauncher: [...tables.leases].some(([what, { untilMs }]) => what.startsWith(OUTBOX_LEASE) && untilMs > nowMs),
  };
}

function countEnds({ runs, countedEnds }: its.Tables, most: number): EndsCounted {
  const open = [...runs.values()].flatMap(({ story }) => story.filter((it) => endIn(it) !== undefined && !countedEnds.has(it)));
  const read = open.slice(0, most);
  for (const it of read) countedEnds.add(it);
  const alike = Map.groupBy(read, (it) => JSON.stringify([it.group, endIn(it)]));
  const ends = [...alike.values()].flatMap((all): readonly Ends[] => {
    const [it] = all;
    const end = it && endIn(it);
    return end === undefined ? [] : [{ ...end, group: it?.group, n: all.length }];
  });
  return { ends, more: read.length === most };
}

export function prune(tables: its.Tables, most: number, nowMs: number): number {
  const stones = [...tables.runs].filter(
    ([
      ,
      {
        record: { run },
      },
    ]) => run.state === "tombstone" && run.acceptedAtMs <= nowMs - TOMBSTONE_MS,
  );
  const worn = [...tables.runs.values()].filter(({ record, sealed }) => sealed !== undefined && !keepsSecrets(record, nowMs));
  const notices = [...tables.notices].filter(([, { sentAtMs }]) => sentAtMs !== undefined && sentAtMs <= nowMs - NOTICE_MS);
  const suspects = [...tables.suspects].filter(([, { atMs }]) => atMs <= nowMs - SUSPECT_MS);
  for (const [id] of stones.slice(0, most)) tables.runs.delete(id);
  for (const run of worn.slice(0, most)) run.sealed = undefined;
  for (const [id] of notices.slice(0, most)) tables.notices.delete(id);
  for (const [digest] of suspects.slice(0, most)) tables.suspects.delete(digest);
  return [stones, worn, notices, suspects].reduce((sum, { length }) => sum + Math.min(length, most), 0);
}
