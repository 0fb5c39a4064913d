/**
 * Tells whether a healed world has come to rest, and what still goes on if it has not.
 *
 * The bug this prevents: work that nobody will ever come back to. After all faults have ended, everything must end by itself.
 */
import { NAMES } from "@longshore/broker/settings.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { ANNOTATIONS, HOLD, LABELS, WITHOUT_HOLD } from "@longshore/domain/run/marks.ts";
import { UPSTREAM_QUEUE } from "./upstream.ts";
import type { World } from "./world.ts";

/** A request that was sent and has not landed may still land for this long, since no scenario delays a request longer. */
const ON_THE_WIRE_MOST_MS = 16 * 60_000;

export function astir(world: World): readonly string[] {
  return [...onTheWay(world), ...inTheLedger(world), ...inTheClusters(world)];
}

function onTheWay({ broker, upstream, scenario, history, clock }: World): readonly string[] {
  const queues = [NAMES.commands, NAMES.facts, UPSTREAM_QUEUE].flatMap((queue) => {
    const count = broker.waiting(queue).length + broker.held(queue);
    return count === 0 ? [] : [`${count} messages in ${queue}`];
  });
  const published = scenario.deeds.filter(({ kind }) => kind === "publish").length;
  const delayed = scenario.deeds.some((it) => it.kind === "cluster" && it.fault.trouble.kind === "delayed");
  const wire = [...history.posts.values()].filter(
    ({ landedMs, sentMs }) => delayed && landedMs === undefined && clock.now() - sentMs < ON_THE_WIRE_MOST_MS,
  );
  return [
    ...queues,
    ...(upstream.confirmed.length < published
      ? [`${published - upstream.confirmed.length} commands that no broker confirmed`]
      : []),
    ...(upstream.early() > 0 ? [`${upstream.early()} events that wait for earlier ones`] : []),
    ...wire.map(({ name }) => `a create of ${name} on the wire`),
  ];
}

/** True if the group's namespace is another one now: its ended attempts that are not done wait for a person. */
export const isMoved = ({ ledger }: World, group: GroupName | undefined): boolean => {
  const { health, diagnosis } = (group && ledger.tables.groups.get(group)) ?? {};
  const isNowhere = diagnosis?.code === "NamespaceTerminating" && /has no namespace|does not exist/.test(diagnosis.sentence);
  return health === "unhealthy" && (diagnosis?.code === "GroupMoved" || isNowhere);
};

function inTheLedger(world: World): readonly string[] {
  const { tables } = world.ledger;
  const runs = [...tables.runs.values()].flatMap(({ record: { run, attempts, anchors = [] }, unsent }) => [
    ...anchors
      .filter(({ state, group }) => state !== "gone" && state !== "kept" && !isMoved(world, group))
      .map(({ number, state }) => `anchor ${number} of ${run.id} is ${state}`),
    ...(run.state === "active" || run.state === "cancelling" ? [`run ${run.id} is ${run.state}`] : []),
    ...attempts
      .filter(({ state, group }) => state !== "done" && !(state === "ended" && isMoved(world, group)))
      .map((it) => `attempt ${it.name} is ${it.state}`),
    ...(unsent.size > 0 ? [`${unsent.size} events of ${run.id} are not published`] : []),
  ]);
  const notices = [...tables.notices.values()].filter(({ sentAtMs }) => sentAtMs === undefined);
  return [
    ...runs,
    ...(notices.length > 0 ? [`${notices.length} refusals are not published`] : []),
    ...[...tables.strays.values()]
      .filter(({ stray }) => !isMoved(world, stray.group))
      .map(({ stray }) => `a ${stray.kind} of ${stray.name} is not swept`),
  ];
}

function inTheClusters(world: World): readonly string[] {
  const { clusters, history } = world;
  const jobs = [...clusters.values()].flatMap(({ name: cluster, model }) =>
    model.jobs().flatMap(({ metadata }) => {
      // The person who decides about the moved namespace also decides about Jobs that landed there late.
      if (isMoved(world, metadata.annotations?.[ANNOTATIONS.group] as GroupName)) return [];
      // We cannot see a copy without our label, so no program has to delete it.
      if (history.jobs.get(metadata.uid)?.origin === "copied" && metadata.labels?.[LABELS.managedBy] === undefined) return [];
      const occupant = metadata.labels?.[LABELS.occupant] === "true";
      const held =
        metadata.finalizers?.includes(HOLD) === true || metadata.annotations?.[ANNOTATIONS.hold] === WITHOUT_HOLD.awaited;
      return held || occupant
        ? [`${cluster}: ${occupant ? "the occupant" : "the Job"} ${metadata.name} ${metadata.uid} stands${held ? ", held" : ""}`]
        : [];
    }),
  );
  const pods = [...history.pods.values()].filter(
    ({ endedMs, job }) => endedMs === undefined && history.jobs.get(job)?.origin !== "theirs",
  );
  return [...jobs, ...pods.map((it) => `${it.cluster}: a pod of ${it.jobName} runs`)];
}
