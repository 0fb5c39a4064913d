/**
 * The guarantees of GUARANTEES.md, judged by what really happened: the clusters' own history, the broker's queues, the ledger's tables, and what
 * upstream heard.
 *
 * The bug this prevents: a promise in a document that no program was ever held to.
 */
import { isTerminal } from "@longshore/contract/event.ts";
import { noticeId } from "@longshore/ledger/postgres/admit.ts";
import { TenantName } from "@longshore/contract/ids.ts";
import { problemsOf } from "@longshore/domain/attempt/testing/invariants.ts";
import type { Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import type { ReceivedEvent } from "@longshore/contract/envelope.ts";
import type { JobLife, PodLife, Post } from "./history.ts";
import type { World } from "../world/world.ts";

export interface Broken {
  readonly invariant: string;
  readonly message: string;
}

type Check = (world: World) => readonly string[];

const MINUTE = 60_000;
const FENCE_MS = 10 * MINUTE;

const CHECKS: Readonly<Record<string, Check>> = {
  "No program falls": ({ history }) => history.falls,
  "G1: every confirmed command ends as a run, a refusal or a quarantine": everyCommandEnds,
  "G2: one run id has one effect": oneEffect,
  "G3: at most one Job of an attempt runs": oneJobRuns,
  "G4: every end that a hold kept is told": everyEndIsTold,
  "G5: no terminal event is false": noFalseEnd,
  "G5: a run that is said not to have started did not": started,
  "G6: events are dense, in order, with one end a generation": stories,
  "G10: nothing runs behind an end, and a cancel loses only to Complete": nothingRunsBehindAnEnd,
  "Timers end what they are for": timers,
  "Records are sound": (world) => records(world).flatMap((it) => problemsOf(it).map((problem) => `${it.run.id}: ${problem}`)),
  "Nothing unaccounted": unaccounted,
  "Nothing is created where another cluster answers": ({ history }) => history.astray,
  "A group's health is not told in turns": turns,
};

export function check(world: World): readonly Broken[] {
  return Object.entries(CHECKS).flatMap(([invariant, found]) => found(world).map((message) => ({ invariant, message })));
}

interface Located {
  readonly record: RunRecord;
  readonly attempt: Attempt;
}

const records = ({ ledger }: World): readonly RunRecord[] => [...ledger.tables.runs.values()].map(({ record }) => record);
const attempts = (world: World): readonly Located[] =>
  records(world).flatMap((record) => record.attempts.map((attempt) => ({ record, attempt })));
const at = (ms: number): string => new Date(ms).toISOString().slice(11, 23);

function everyCommandEnds({ upstream, ledger: { tables }, broker }: World): readonly string[] {
  const tenant = TenantName.parse("default");
  return upstream.confirmed.flatMap(({ kind, id: command, source, run }) => {
    const known = noticeId({ tenant, source, command });
    const refused = tables.notices.has(known);
    const state = [...tables.runs.values()].find(({ record }) => record.run.id === run)?.record.run.state;
    const done = {
      run: refused || (state !== undefined && state !== "tombstone"),
      cancel: tables.commands.has(known) || refused,
      restart: tables.commands.has(known) || refused,
      abandon: tables.commands.has(known) || refused,
      invalid: refused,
      unreadable: broker.quarantined.some((it) => it.id === command),
    }[kind];
    return done ? [] : [`the command ${command} (${kind} of ${run || "nothing"}) was confirmed and left no trace`];
  });
}

function oneEffect(world: World): readonly string[] {
  const accepted = [
    ...Map.groupBy(
      world.upstream.heard.filter(({ type }) => type === "run.accepted"),
      ({ subject }) => subject,
    ),
  ];
  const twice = accepted.filter(([, events]) => events.length > 1).map(([run]) => `${run} was accepted twice`);
  const byName = new Map(attempts(world).map((it) => [it.attempt.name, it]));
  const foreign = [...world.history.jobs.values()].flatMap(({ name, content, occupant, origin }) => {
    if (origin !== "ours") return [];
    const run = byName.get(name)?.record.run.id;
    if (run === undefined) return [`the Job ${name} is of no attempt that the ledger knows`];
    return occupant || content === run ? [] : [`the Job ${name} of ${run} does ${content}`];
  });
  return [...twice, ...foreign];
}

// ── Jobs and pods ───────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Where the group keeps no hold nothing keeps a name taken, or a Job there until its end was read, once somebody deletes it: we or
 * others. With its namespace it goes without having been deleted itself.
 */
const isUnheld = ({ history }: World, name: string): boolean =>
  [...history.jobs.values()].some((it) => it.name === name && it.unheld && (it.deletionMs ?? it.goneMs) !== undefined);

/** G3's exceptions: a create that landed later than the fence of its claim, a stripped hold, and none. */
function isExcepted(world: World, name: string): boolean {
  const { history } = world;
  if (isUnheld(world, name)) return true;
  const stripped = [...history.jobs.values()].some((it) => it.name === name && it.strippedMs !== undefined);
  const late = [...history.posts.values()].some(
    (post) => post.name === name && post.status === 201 && (post.landedMs ?? 0) >= fenceOf(world, post),
  );
  return stripped || late;
}

/** Until when a create may land: so long after the claim under which it was sent. */
function fenceOf({ history }: World, { name, by, sentMs }: Post): number {
  const claims = history.claims.filter((it) => it.name === name && it.by === by && it.atMs <= sentMs);
  return Math.max(0, ...claims.map(({ untilMs }) => untilMs)) + FENCE_MS;
}

function oneJobRuns(world: World): readonly string[] {
  const pods = ourPods(world);
  return [
    ...adopted(world),
    ...freed(world),
    ...[...Map.groupBy(pods, ({ jobName }) => jobName)].flatMap(([name, ran]) => {
      const jobs = new Set(ran.map(({ job }) => job));
      return jobs.size > 1 && !isExcepted(world, name)
        ? [
            `${jobs.size} Jobs named ${name} ran: ${ran.map(({ cluster, job, startedMs }) => `${job} in ${cluster} at ${at(startedMs)}`).join(", ")}`,
          ]
        : [];
    }),
  ];
}

/** The name of a Job that we let go of was free while a create of it was on the wire: only chance kept the work from running twice. */
function freed(world: World): readonly string[] {
  const { history } = world;
  const posts = [...history.posts.values()];
  return [...history.jobs.values()].flatMap(({ origin, name, cluster, unheld, unheldMs, goneMs, strippedMs }) => {
    if (origin !== "ours" || unheld || unheldMs === undefined || goneMs === undefined || strippedMs !== undefined) return [];
    const wire = posts.find(
      (it) =>
        it.name === name &&
        it.cluster === cluster &&
        !it.occupant &&
        it.sentMs < goneMs &&
        (it.landedMs ?? 0) > goneMs &&
        (it.landedMs ?? 0) < fenceOf(world, it),
    );
    return wire === undefined
      ? []
      : [
          `${name} was free from ${at(goneMs)} on, and a create that was sent at ${at(wire.sentMs)} landed at ${at(wire.landedMs ?? 0)}`,
        ];
  });
}

/** Whose work it is says the proof; and a copy of a Job, with its proof, is not the Job. */
const adopted = (world: World): readonly string[] =>
  attempts(world).flatMap(({ attempt }) => {
    const origin = lifeOf(world, attempt)?.origin ?? "ours";
    return origin === "ours" ? [] : [`${attempt.name} took a Job for its own that is ${origin}`];
  });

const ourPods = ({ history }: World): readonly PodLife[] =>
  [...history.pods.values()].filter(({ job }) => history.jobs.get(job)?.origin === "ours");

const lifeOf = ({ history }: World, { uid }: Attempt): JobLife | undefined =>
  uid === undefined ? undefined : history.jobs.get(uid);

/** How long an outcome may be on its way while what it was decided on has changed. */
const IN_FLIGHT_MS = 10 * MINUTE;

function everyEndIsTold(world: World): readonly string[] {
  return attempts(world).flatMap(({ attempt }) => {
    const life = lifeOf(world, attempt);
    const { outcome, name, cause } = attempt;
    // Without a hold an end that nobody read before the Job went is not told, and only then.
    if (life === undefined || (life.unheld && life.goneMs !== undefined && life.goneMs <= (outcome?.endedAtMs ?? 0))) return [];
    const said: string[] = [];
    const endedMs = outcome?.endedAtMs ?? Number.POSITIVE_INFINITY;
    if (life.unheldMs !== undefined && life.strippedMs === undefined && life.unheldMs < endedMs)
      said.push(`the hold of ${name} was taken off at ${at(life.unheldMs)}, before its outcome was recorded`);
    if (
      life.completeMs !== undefined &&
      outcome?.result !== "succeeded" &&
      endedMs > life.completeMs + IN_FLIGHT_MS &&
      life.strippedMs === undefined
    )
      said.push(`${name} was Complete at ${at(life.completeMs)}, and is recorded as ${outcome?.result}`);
    if (life.failedMs !== undefined && outcome?.result !== "failed" && cause === undefined && life.strippedMs === undefined)
      said.push(`${name} was Failed at ${at(life.failedMs)}, and is recorded as ${outcome?.result}`);
    return said;
  });
}

function noFalseEnd(world: World): readonly string[] {
  return attempts(world).flatMap(({ attempt }) => {
    const { outcome, name, cause, uid } = attempt;
    if (outcome === undefined) return [];
    const life = lifeOf(world, attempt);
    const before = (ms: number | undefined): boolean => ms !== undefined && ms <= outcome.endedAtMs;
    switch (outcome.result) {
      case "succeeded":
        return before(life?.completeMs)
          ? []
          : [`${name} is recorded as succeeded at ${at(outcome.endedAtMs)}, and its Job ${uid} was not Complete`];
      case "failed":
        if (uid === undefined || cause !== undefined) return [];
        return before(life?.failedMs)
          ? []
          : [`${name} is recorded as failed at ${at(outcome.endedAtMs)}, and its Job ${uid} was not Failed`];
      case "deleted":
        return before(life?.deletionMs) || before(life?.goneMs)
          ? []
          : [`${name} is recorded as deleted, and nobody deleted its Job ${uid}`];
      case "lost":
        if (outcome.diagnosis?.code === "Abandoned") return [];
        return before(life?.goneMs) ? [] : [`${name} is recorded as lost, and its Job ${uid} was there`];
      case "moved":
        return attempt.started === "no" ? [] : [`${name} was moved elsewhere, and may have started`];
      case "cancelled":
      case "refused":
        return [];
    }
  });
}

/** "Free to publish again" said of work that ran. */
function started(world: World): readonly string[] {
  return attempts(world).flatMap(({ attempt: { name, started: said, outcome } }) => {
    const ran = ourPods(world).find((it) => it.jobName === name);
    return said === "no" && outcome !== undefined && ran !== undefined && !isExcepted(world, name)
      ? [`${name} is said not to have started, and a pod of it ran at ${at(ran.startedMs)}`]
      : [];
  });
}

function nothingRunsBehindAnEnd(world: World): readonly string[] {
  const pods = ourPods(world);
  const running = attempts(world).flatMap(({ attempt: { name, outcome } }) => {
    if (outcome === undefined) return [];
    const behind = pods.filter((it) => it.jobName === name && (it.endedMs ?? Number.POSITIVE_INFINITY) > outcome.endedAtMs);
    if (behind.length === 0 || isExcepted(world, name)) return [];
    return [
      `${name} is recorded as ${outcome.result} at ${at(outcome.endedAtMs)}, and a pod of it ran from ${at(behind[0]?.startedMs ?? 0)} to ${at(behind[0]?.endedMs ?? 0)}`,
    ];
  });
  return [...running, ...cancels(world)];
}

/** Whoever is told "cancelling" is told "cancelled", or that it had succeeded. */
function cancels({ upstream, ledger }: World): readonly string[] {
  const asked = upstream.heard.filter(({ type }) => type === "run.cancelling");
  return asked.flatMap(({ subject, generation }) => {
    const end = upstream.heard.find((it) => it.subject === subject && it.generation === generation && isTerminal(it.type));
    const abandoned = end?.type === "run.lost" && JSON.stringify(end.data).includes('"Abandoned"');
    if (end === undefined || abandoned || end.type === "run.cancelled" || end.type === "run.succeeded") return [];
    const record = [...ledger.tables.runs.values()].find((it) => it.record.run.id === subject)?.record;
    const own = record?.attempts.filter((it) => it.generation === generation) ?? [];
    // Complete, and failed all the same for want of its outputs; or ended before the cancel, in a pipeline.
    return own.some(({ outcome }) => outcome?.result === "succeeded")
      ? []
      : [`${subject} was being cancelled, and ended as ${end.type}`];
  });
}

/** A look may be on its way so long when what it saw changes. */
const LOOK_MOST_MS = 90_000;

function timers(world: World): readonly string[] {
  return attempts(world).flatMap(({ attempt, record }) => {
    const { name, cause, uid, outcome } = attempt;
    const deletionMs = lifeOf(world, attempt)?.deletionMs;
    const pod = ourPods(world).find(({ job }) => job === uid);
    if (pod === undefined || deletionMs === undefined || outcome?.result === "succeeded") return [];
    // Its first Job was taken away and a late create made this one: the timer was the first one's.
    if ([...world.history.jobs].some(([other, it]) => it.name === name && other !== uid && !it.occupant)) return [];
    const ranMs = deletionMs - pod.startedMs;
    if (cause === "startExpired" && ranMs > LOOK_MOST_MS)
      return [`${name} was ended for not having started, and had run for ${ranMs / 1000} s`];
    // A cluster's wrong clock may tell of an earlier start, though of none before the launch.
    if (cause !== "deadline" || world.scenario.skewMs.cluster !== 0 || ranMs >= record.run.plan.limits.deadlineMs - 2_000)
      return [];
    return [`${name} was ended by its deadline of ${record.run.plan.limits.deadlineMs / 1000} s after ${ranMs / 1000} s`];
  });
}

// ── Stories ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function stories(world: World): readonly string[] {
  const { upstream } = world;
  const heard = Map.groupBy(
    upstream.heard.filter(({ sequence }) => sequence !== undefined),
    ({ subject }) => subject ?? "",
  );
  const told = [...world.ledger.tables.runs.values()].filter(({ record }) => record.run.state !== "tombstone");
  return [
    ...upstream.unreadable.map((it) => `upstream could not read ${it}`),
    ...told.flatMap(({ record: { run }, story }) => storyOf(run.id, run.seq, story.map(({ type }) => type), heard.get(run.id) ?? [])), // biome-ignore format: one call
  ];
}

function storyOf(run: string, seq: number, told: readonly string[], heard: readonly ReceivedEvent[]): readonly string[] {
  const said: string[] = [];
  const types = heard.map(({ type }) => type);
  if (types.join() !== told.join() || heard.some(({ sequence }, n) => sequence !== n + 1) || told.length !== seq)
    said.push(`${run}: upstream heard ${types.join(" ")}, the ledger (at ${seq}) told ${told.join(" ")}`);
  if (types[0] !== "run.accepted") said.push(`${run}: its story begins with ${types[0]}`);
  let generation = 1;
  let ended = false;
  for (const event of heard) {
    if (event.type === "run.restarted") {
      if (!ended) said.push(`${run}: restarted before it had ended`);
      generation++;
      ended = false;
    } else if (ended) said.push(`${run}: ${event.type} after the end of generation ${generation}`);
    if (event.generation !== generation)
      said.push(`${run}: ${event.type} is told of generation ${event.generation} in ${generation}`);
    ended ||= isTerminal(event.type);
  }
  if (!ended) said.push(`${run}: generation ${generation} has no end`);
  return said;
}

// ── The rest ────────────────────────────────────────────────────────────────────────────────────────────────────────

function turns({ history, scenario: { groups, turnsMost = Number.POSITIVE_INFINITY } }: World): readonly string[] {
  return groups.flatMap(({ name }) => {
    const told = history.turns.filter(({ group }) => group === name);
    const said = told.slice(-6).map(({ by, health, atMs }) => `${by}: ${health} at ${at(atMs)}`);
    return told.length > turnsMost ? [`${name} was told ${told.length} times: … ${said.join(", ")}`] : [];
  });
}

function unaccounted(world: World): readonly string[] {
  const left = Math.max(0, ...world.slots.map(({ gauges }) => gauges.get("longshore_unaccounted {}") ?? 0));
  // Shown, and never touched: Jobs that carry our labels and not our proof.
  const shown = [...world.history.jobs.values()].filter(
    ({ origin, goneMs }) => origin === "theirs" && goneMs === undefined,
  ).length;
  return left > shown ? [`the tally counts ${left} unaccounted, and ${shown} are somebody else's`] : [];
}
