/**
 * Judges a healed scenario: by the rules that all histories share, and by rules that only a simulated world can answer.
 *
 * The bug this prevents: a promise in a document that no program was ever held to. The judge sees what really happened: the
 * clusters' own history, the broker's queues, the ledger's tables, and the events that upstream heard.
 */
import { problemsOf } from "@longshore/domain/attempt/testing/invariants.ts";
import { judge, type Rule } from "../../judge/rules.ts";
import { at, type Broken } from "../../judge/view.ts";
import type { World } from "../world/world.ts";
import { takenOrRefused, tooMany } from "./concurrency.ts";
import { fenceOf, viewOf } from "./view.ts";

/**
 * Rules for the simulation alone: journals of real processes do not tell when a create landed, what a Job's content does, or
 * what a program measured.
 */
const RULES: Readonly<Record<string, Rule<World>>> = {
  "No program falls": ({ history }) => history.falls,
  "G2: a Job does the work of its own run": foreignWork,
  "A program gets each value as it was written": changedValues,
  "G3: no name is free while a create of it is on the wire": freed,
  "G6: upstream reads every event, and each once": misheard,
  "Nothing is created where another cluster answers": ({ history }) => history.astray,
  "A slot goes to the most urgent run that waits for it": ({ history }) => history.passedOver,
  "Concurrency: no key has more runs at work than its limit": tooMany,
  "Concurrency: runs are let in by turn": ({ history }) => history.outOfTurn,
  "Concurrency: a run that may not wait is taken if there is room, and else refused": takenOrRefused,
  "A group's health is not told in turns": turns,
  "Records are sound": ({ ledger }) =>
    [...ledger.tables.runs.values()].flatMap(({ record }) => problemsOf(record).map((it) => `${record.run.id}: ${it}`)),
  "Nothing unaccounted": unaccounted,
  "Volumes: each has an owner, and nothing is left of a run that keeps nothing": leftOver,
  "Volumes: an anchor goes after everything that it owns is over": sweptEarly,
  "Volumes: a pod mounts only what its own anchor owns": mixedUp,
  "Volumes: two generations never use one at once": usedTwice,
  "Children: a step ends after the pods that its program made": outlived,
  "Volumes: the steps of one life of a run share them": dividedUp,
};

export const check = (world: World): readonly Broken[] => judge(world, viewOf(world), RULES);

function foreignWork({ history, ledger }: World): readonly string[] {
  const records = [...ledger.tables.runs.values()].map(({ record }) => record);
  const runs = new Map(records.flatMap(({ run, attempts }) => attempts.map(({ name }) => [name, run.id])));
  return [...history.jobs.values()].flatMap(({ name, content, occupant, origin }) =>
    origin !== "ours" || occupant || content === runs.get(name) ? [] : [`the Job ${name} of ${runs.get(name)} does ${content}`],
  );
}

/** The kubelet expands `$(NAME)`: a value that names a variable would show what is in it. */
function changedValues({ history, ledger }: World): readonly string[] {
  const wanted = new Map(
    [...ledger.tables.runs.values()].flatMap(({ record, request }) =>
      record.attempts.map(({ name }) => [name, request?.parameters?.["said"]] as const),
    ),
  );
  return [...history.jobs.values()].flatMap(({ name, said, occupant, origin }) =>
    origin !== "ours" || occupant || said === wanted.get(name)
      ? []
      : [`the Job ${name} is given ${said}, not ${String(wanted.get(name))}`],
  );
}

/**
 * After we released a Job, its name was free before an earlier create of that name had landed: only chance kept the work from
 * running twice.
 */
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
          `${name} was free from ${at(goneMs)} on, and a create that was sent at ${at(wire.sentMs)} landed at ${at(wire.landedMs)}`,
        ];
  });
}

function misheard({ upstream: { unreadable, heard } }: World): readonly string[] {
  const repeated = [...Map.groupBy(heard, ({ id }) => id)].filter(([, all]) => all.length > 1);
  return [...unreadable.map((it) => `it could not read ${it}`), ...repeated.map(([id]) => `it was given ${id} twice`)];
}

function unaccounted(world: World): readonly string[] {
  const left = Math.max(0, ...world.slots.map(({ gauges }) => gauges.get("longshore_unaccounted {}") ?? 0));
  // The tally counts Jobs that carry our labels without our proof, and never touches them.
  const shown = [...world.history.jobs.values()].filter(
    ({ origin, goneMs }) => origin === "theirs" && goneMs === undefined,
  ).length;
  return left > shown ? [`the tally counts ${left} unaccounted, and ${shown} are somebody else's`] : [];
}

function leftOver({ history, ledger }: World): readonly string[] {
  const all = [...history.owned.values()];
  const anchors = [...ledger.tables.runs.values()].flatMap(({ record }) => record.anchors ?? []);
  const kept = new Set<string | undefined>(anchors.filter(({ state }) => state === "kept").map(({ uid }) => uid));
  return [
    ...all.filter((it) => it.resource !== "configmaps" && it.owner === undefined).map(({ resource, name }) => `${resource} ${name} was created without an owner`), // biome-ignore format: one line
    ...all.filter(({ goneMs, uid, owner }) => goneMs === undefined && !kept.has(owner ?? uid)).map(({ resource, name }) => `${resource} ${name} is left`), // biome-ignore format: one line
  ];
}

/** A Job whose create landed after its claim's fence is nobody's fault. */
function sweptEarly(world: World): readonly string[] {
  const { history } = world;
  const posts = [...history.posts.values()];
  return [...history.jobs.values()].flatMap(
    ({ owner, name, createdMs, unheldMs = Number.POSITIVE_INFINITY, origin, strippedMs }) => {
      const anchor = owner === undefined ? undefined : history.owned.get(owner);
      if (anchor?.deletedMs === undefined || origin !== "ours" || strippedMs !== undefined) return [];
      const isLate = posts.some((it) => it.name === name && it.status === 201 && (it.landedMs ?? 0) >= fenceOf(world, it));
      const isEarly = createdMs > anchor.deletedMs || unheldMs > anchor.deletedMs;
      return isEarly && !isLate ? [`${anchor.name} was deleted at ${at(anchor.deletedMs)}, before its Job ${name} was done`] : [];
    },
  );
}

function mixedUp({ history }: World): readonly string[] {
  const claims = [...history.owned.values()].filter(({ resource }) => resource === "persistentvolumeclaims");
  return [...history.jobs.values()].flatMap((job) =>
    job.claims.flatMap((name) => {
      const there = claims.filter((it) => it.name === name && it.cluster === job.cluster && it.createdMs <= job.createdMs);
      return there.some(({ owner }) => owner === job.owner)
        ? []
        : [`the Job ${job.name} mounts ${name}, which its anchor does not own`];
    }),
  );
}

function usedTwice({ history }: World): readonly string[] {
  const pods = [...history.pods.values()].filter(({ claims }) => claims.length > 0);
  return pods.flatMap((one) =>
    pods
      .filter((other) => other.generation > one.generation && other.cluster === one.cluster)
      .filter(
        (other) =>
          other.claims.some((it) => one.claims.includes(it)) && other.startedMs < (one.endedMs ?? Number.POSITIVE_INFINITY),
      )
      .map((other) => `a pod of ${other.jobName} used ${other.claims.join(", ")} while one of ${one.jobName} still ran`),
  );
}

function dividedUp({ history, ledger }: World): readonly string[] {
  return [...ledger.tables.runs.values()].flatMap(({ record: { run, attempts } }) => {
    const names = new Set(attempts.map(({ name }) => name));
    const ran = [...history.pods.values()].filter(({ jobName, claims }) => names.has(jobName) && claims.length > 0);
    const ofLives = [...Map.groupBy(ran, ({ generation }) => generation)];
    return ofLives
      .filter(([, pods]) => new Set(pods.map(({ job }) => history.jobs.get(job)?.owner)).size > 1)
      .map(([generation]) => `the steps of generation ${generation} of ${run.id} ran on different volumes`);
  });
}

/** A run that was given up, or lost, ends before. A pod whose create landed after its program's end was not there to be seen. */
function outlived({ history, ledger }: World): readonly string[] {
  return history.children.flatMap(({ name, parent, run, step, attempt, createdMs, goneMs = Number.POSITIVE_INFINITY }) => {
    const { endedMs = Number.POSITIVE_INFINITY } = history.pods.get(parent) ?? {};
    const story = [...ledger.tables.runs.values()].find(({ record }) => record.run.id === run)?.story ?? [];
    const isEnd = ({ type, data }: { readonly type: string; readonly data: object }): boolean =>
      /^run\.(step\.succeeded|step\.failed|attempt\.failed)$/.test(type) && isOf(data, { step, attempt });
    const told = story.find((it) => isEnd(it) && it.atMs >= createdMs);
    const isLost = story.some(({ type }) => type === "run.lost");
    return told === undefined || isLost || createdMs >= endedMs || goneMs <= told.atMs
      ? []
      : [`${step} of ${run} ended at ${at(told.atMs)}, and ${name}, made at ${at(createdMs)}, went at ${at(goneMs)}`];
  });
}

const isOf = (data: object, of: { readonly step: string; readonly attempt: number }): boolean =>
  Object.entries(of).every(([name, value]) => Reflect.get(data, name) === value);

function turns({ history, scenario: { groups, turnsMost = Number.POSITIVE_INFINITY } }: World): readonly string[] {
  return groups.flatMap(({ name }) => {
    const told = history.turns.filter(({ group }) => group === name);
    const said = told.slice(-6).map(({ by, health, atMs }) => `${by}: ${health} at ${at(atMs)}`);
    return told.length > turnsMost ? [`${name} was told ${told.length} times: … ${said.join(", ")}`] : [];
  });
}
