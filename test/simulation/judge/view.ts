/**
 * The simulation's world as the shared rules see it.
 *
 * The failure this prevents: a rule that the simulation keeps in its own words, and the chaos tests in theirs.
 */
import { TenantName } from "@longshore/contract/ids.ts";
import { canonical } from "@longshore/contract/json.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import { limitsFor } from "@longshore/domain/run/plan.ts";
import type { Attempt as Kept } from "@longshore/domain/run/record.ts";
import type { Notice } from "@longshore/ledger/port.ts";
import { commandId, refusalId } from "@longshore/ledger/postgres/work/admit.ts";
import { heardOf } from "../../judge/stories.ts";
import { type Attempt, type Closing, type Command, type Job, SOMETIME, type View } from "../../judge/view.ts";
import type { Asked } from "../scenario/orders.ts";
import type { World } from "../world/world.ts";
import type { JobLife, Post } from "./history.ts";

const FENCE_MS = 600_000;
/** An outcome may be on its way to the ledger for this long, while its Job becomes Complete. */
const IN_FLIGHT_MS = 600_000;

export function viewOf(world: World): View {
  const { history, ledger, upstream } = world;
  const runs = [...ledger.tables.runs.values()];
  const attempts = runs.flatMap(({ record: { run, attempts: all } }) => all.map((it) => ({ run, kept: it })));
  const owners = new Map<string | undefined, Kept>(attempts.map(({ kept }) => [kept.uid, kept]));
  return {
    commands: upstream.confirmed.map((asked) => commandOf(world, asked)),
    runs: runs.map(({ record: { run } }) => run),
    told: runs.flatMap(({ story }) => story.map((it) => ({ ...it, data: it.data as Readonly<Record<string, unknown>> }))),
    heard: upstream.heard.flatMap(heardOf),
    attempts: attempts.map(({ run, kept }) => attemptOf(world, run.id, limitsFor(run.plan, kept.step).deadlineMs, kept)),
    made: [...history.posts.values()]
      .filter(({ status, resource }) => status === 201 && resource === "jobs")
      .map(({ name }) => name),
    jobs: [...history.jobs.values()].map((life) => jobOf(life, owners.get(life.uid))),
    pods: [...history.pods.values()].map(({ uid, job, startedMs, endedMs, exitCode }) => ({ name: uid, job, createdMs: startedMs, startedMs, overMs: endedMs, exitCode })), // biome-ignore format: one value
    slackMs: { nextAttempt: 0, start: 5_000, deadline: 2_000 },
  };
}

const TYPES = {
  run: "run.requested",
  cancel: "run.cancel",
  restart: "run.restart",
  free: "run.free",
  abandon: "run.abandon",
} as const;

function commandOf({ ledger: { tables }, broker }: World, { kind, id, source, run, body }: Asked): Command {
  const sent = { tenant: TenantName.parse("default"), source, command: id };
  const state = [...tables.runs.values()].find(({ record }) => record.run.id === run)?.record.run.state;
  const taken = kind === "run" ? state !== undefined && state !== "tombstone" : tables.commands.has(commandId(sent));
  const readable = kind === "unreadable" || kind === "invalid" ? undefined : TYPES[kind];
  return {
    id,
    type: readable ?? kind,
    run,
    content: readable === undefined ? "" : canonical((JSON.parse(Buffer.from(body).toString()) as { data: unknown }).data),
    confirmed: true,
    is: {
      taken,
      refused: [...tables.notices].some(([key, { notice }]) => key === refusalId(sent, problemsIn(notice))),
      quarantined: broker.quarantined.some((it) => it.id === id),
    },
    mayBe: kind === "unreadable" ? ["quarantined"] : kind === "invalid" ? ["refused"] : ["taken", "refused"],
  };
}

const problemsIn = ({ data }: Notice): readonly CommandProblem[] =>
  (data as { readonly problems?: readonly CommandProblem[] }).problems ?? [];

function attemptOf(world: World, run: string, deadlineMs: number, kept: Kept): Attempt {
  const { outcome } = kept;
  return {
    ...kept,
    run,
    result: outcome?.result,
    code: outcome?.diagnosis?.code,
    recordedMs: outcome?.endedAtMs,
    deadlineMs,
    closing: closingOf(world, kept),
    lifted: [
      ...(isLifted(world, kept.name) ? (["one Job", "start", "behind"] as const) : []),
      // An operator abandoned the attempt, whatever its Job does.
      ...(outcome?.diagnosis?.code === "Abandoned" ? (["behind"] as const) : []),
    ],
    besideMs: besideMs(world, kept),
  };
}

/** Returns when and why a timer deleted the Job, if a pod of the Job ran. */
function closingOf({ history, scenario }: World, { cause, uid, name, outcome }: Kept): Closing | undefined {
  const atMs = history.jobs.get(uid ?? "")?.deletedMs;
  const ran = [...history.pods.values()].some(({ job }) => job === uid);
  // If a late create made this Job after the first one was taken away, the timer was the first Job's.
  const isSecond = [...history.jobs].some(([other, it]) => it.name === name && other !== uid && !it.occupant);
  if (!ran || atMs === undefined || isSecond || outcome?.result === "succeeded") return undefined;
  if (cause === "startExpired") return { reason: "no start", atMs };
  // A cluster's wrong clock may report a start too early, but never before the launch.
  return cause === "deadline" && scenario.skewMs.cluster === 0 ? { reason: "deadline", atMs } : undefined;
}

/** `owner`: the attempt whose own Job this is. A stray has no owner, and may be released at any time. */
function jobOf(life: JobLife, owner: Kept | undefined): Job {
  const { origin, unheld, strippedMs, completeMs, failedMs, goneMs, unheldMs, deletedMs, othersDeletedMs } = life;
  // An end may stay untold only if the Job had no hold and was gone before anybody read its end.
  const isUnread = unheld && goneMs !== undefined && goneMs <= (owner?.outcome?.endedAtMs ?? 0);
  const isOthers = strippedMs !== undefined || isUnread;
  return {
    ...{ ...life, completeMs, failedMs, deletedMs, othersDeletedMs, goneMs },
    ours: origin === "ours",
    releasedMs: isOthers || owner === undefined ? undefined : unheldMs,
    held: unheldMs === undefined && goneMs === undefined,
    bindsMs: isOthers ? undefined : completeMs === undefined ? SOMETIME : completeMs + IN_FLIGHT_MS,
  };
}

/** True for G3's exceptions: a create that landed after its claim's fence, a stripped hold, or no hold. */
function isLifted(world: World, name: string): boolean {
  return isLoose(world, name) || livesOf(world, name).some((it) => it.strippedMs !== undefined);
}

const livesOf = ({ history }: World, name: string): readonly JobLife[] =>
  [...history.jobs.values()].filter((it) => it.name === name);

function isLoose(world: World, name: string): boolean {
  // Without a hold any deletion, ours or not, frees the name and removes the Job before its end was read. If the namespace is
  // deleted, the Job is gone without a deletion of its own.
  const isUnheld = livesOf(world, name).some((it) => it.unheld && (it.deletedMs ?? it.goneMs) !== undefined);
  const posts = [...world.history.posts.values()].filter((it) => it.name === name && it.status === 201);
  return isUnheld || posts.some((post) => (post.landedMs ?? 0) >= fenceOf(world, post));
}

/**
 * A Job that loses its hold and is deleted frees its name. If that was before the attempt's end, a look after the end sees it.
 * If it was later, it is noticed in time only in a scenario that has `noticesWithinMs`.
 */
function besideMs(world: World, { name, outcome }: Kept): number | undefined {
  if (isLoose(world, name)) return Number.POSITIVE_INFINITY;
  const { noticesWithinMs = Number.POSITIVE_INFINITY } = world.scenario;
  const freed = livesOf(world, name).flatMap(({ strippedMs, goneMs }) =>
    strippedMs !== undefined && goneMs !== undefined && goneMs > (outcome?.endedAtMs ?? 0) ? [goneMs] : [],
  );
  return freed.length === 0 ? undefined : Math.max(...freed) + noticesWithinMs;
}

/** Returns the time until which a create may land: the fence of the claim under which it was sent. */
export function fenceOf({ history }: World, { name, by, sentMs }: Post): number {
  const claims = history.claims.filter((it) => it.name === name && it.by === by && it.atMs <= sentMs);
  return Math.max(0, ...claims.map(({ untilMs }) => untilMs)) + FENCE_MS;
}
