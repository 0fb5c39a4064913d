/** Carries out each deed of a plan (a message or a fault) at its time, and ends all faults. */
import { GroupName, RunId, StepName } from "@longshore/contract/ids.ts";
import { ANNOTATIONS, HOLD, LABELS, MANAGED_BY } from "@longshore/domain/run/marks.ts";
import type { JobObject } from "@longshore/pocket/objects.ts";
import type { SimulatedCluster } from "../world/modelled-cluster.ts";
import type { Deed, Meddling, Planned } from "../scenario/scenario.ts";
import type { Slot, World } from "../world/world.ts";
import { CALM, CALM_BROKER, crash, freeze, INSTALLATION, keysOf, START_MS, start, stop, thaw } from "../world/world.ts";

/** Carries out each deed at its time. */
export async function deal(world: World, planned: readonly Planned[], signal: AbortSignal): Promise<void> {
  const { clock, trace } = world;
  for (const deed of planned) {
    await clock.sleep(START_MS + deed.atMs - clock.now(), signal);
    if (signal.aborted) return;
    trace.say(`>> ${said(deed)}`);
    act(world, deed, signal);
  }
}

export function said(deed: Planned): string {
  if (deed.kind !== "publish") return JSON.stringify(deed);
  const { kind, id, run, body } = deed.asked;
  return `publish ${kind} ${id} of ${run}: ${Buffer.from(body).toString().slice(0, 600)}`;
}

function act(world: World, deed: Deed, signal: AbortSignal): void {
  const { broker, clock } = world;
  const later = (ms: number, work: () => void): void => void clock.sleep(ms, signal).then(() => !signal.aborted && work());
  switch (deed.kind) {
    case "publish":
      void world.upstream.publish(deed.asked, new AbortController().signal);
      return;
    case "crash":
      return crash(world, slotOf(world, deed), deed.downMs);
    case "stop":
      return stop(world, slotOf(world, deed), deed.downMs);
    case "crash at":
      slotOf(world, deed).trap = { point: deed.point, left: deed.pass, downMs: deed.downMs };
      return;
    case "freeze":
      return freeze(world, slotOf(world, deed), deed.forMs);
    case "broker":
      broker.trouble = { ...CALM_BROKER, ...deed.trouble };
      return later(deed.forMs, () => (broker.trouble = CALM_BROKER));
    case "broker down":
      broker.down();
      return later(deed.forMs, () => broker.up());
    case "broker frozen":
      broker.freeze();
      return later(deed.forMs, () => broker.thaw());
    case "drop connections":
      for (const { line } of world.slots) line?.drop();
      world.upstreamLine.drop();
      return;
    case "ledger":
      world.ledgerTrouble = { ...CALM, ...deed.trouble };
      return later(deed.forMs, () => (world.ledgerTrouble = CALM));
    case "cluster": {
      const nowMs = clock.now() + world.scenario.skewMs.cluster;
      return clusterOf(world, deed.cluster).model.cause({ ...deed.fault, fromMs: nowMs, untilMs: nowMs + deed.forMs });
    }
    case "way": {
      const { ways } = clusterOf(world, deed.cluster);
      const whose = deed.launcher === "all" ? "launcher-" : `launcher-${deed.launcher}.`;
      ways.set(whose, deed.to);
      return later(deed.forMs, () => void (ways.get(whose) === deed.to && ways.delete(whose)));
    }
    case "meddle":
      return meddle(world, clusterOf(world, deed.cluster), deed.meddling);
    case "limit claims": {
      const { model } = clusterOf(world, deed.cluster);
      askQuotas(model, {
        method: "POST",
        body: { metadata: { name: "claims" }, spec: { hard: { persistentvolumeclaims: String(deed.most) } } },
      });
      return later(deed.forMs, () => askQuotas(model, { method: "DELETE" }));
    }
    case "at boundary": {
      const { run: id, generation, ended, deed: then } = deed;
      const isThere = (): boolean => {
        const run = world.ledger.tables.runs.get(RunId.parse(id))?.record.run;
        const over = Object.values(run?.steps ?? {}).filter(({ state }) => state === "ended").length;
        return run?.generation === generation && over >= ended;
      };
      const pass = (): boolean => {
        if (!isThere()) return false;
        if (!signal.aborted) act(world, then, signal);
        return true;
      };
      return void world.boundaries.add(pass);
    }
    case "pause": {
      const name = GroupName.parse(deed.group);
      void world.person.setGroup(name, { paused: true });
      return later(deed.forMs, () => void world.person.setGroup(name, { paused: false }));
    }
  }
}

function slotOf({ slots }: World, { service, index }: Pick<Slot, "service" | "index">): Slot {
  const slot = slots.find((it) => it.service === service && it.index === index);
  if (slot === undefined) throw new Error(`the scenario has no ${service} ${index}`);
  return slot;
}

function clusterOf({ clusters }: World, name: string): SimulatedCluster {
  const cluster = clusters.get(name);
  if (cluster === undefined) throw new Error(`the scenario has no cluster ${name}`);
  return cluster;
}

function meddle(world: World, { name: cluster, model }: SimulatedCluster, meddling: Meddling): void {
  const { history, trace, clock } = world;
  const nowMs = clock.now();
  const draw = <T>(items: readonly T[]): T | undefined => items[Math.floor(world.random() * items.length)];
  const onJob = (work: (job: JobObject, named: { readonly namespace: string; readonly name: string }) => void): void => {
    const job = draw(model.jobs());
    if (job === undefined) return;
    trace.say(`${cluster}: somebody does "${meddling.kind}" to Job ${job.metadata.name}`);
    work(job, { namespace: job.metadata.namespace ?? "", name: job.metadata.name });
  };
  const life = ({ metadata }: JobObject) => history.jobs.get(metadata.uid);
  const deletes = (job: JobObject): void => {
    const it = life(job);
    if (it !== undefined) it.othersDeletedMs ??= nowMs;
  };
  switch (meddling.kind) {
    case "delete Job":
      return onJob((job, named) => {
        deletes(job);
        model.meddle({ kind: "delete Job", propagation: meddling.propagation, ...named });
      });
    case "strip hold":
    case "strip hold and delete Job":
      return onJob((job, named) => {
        Object.assign(life(job) ?? {}, { strippedMs: nowMs });
        model.meddle({ kind: "strip finalizers", finalizer: HOLD, ...named });
        if (meddling.kind === "strip hold") return;
        deletes(job);
        model.meddle({ kind: "delete Job", propagation: "Background", ...named });
      });
    case "remove label":
      return onJob((_, named) => model.meddle({ kind: "remove label", label: LABELS.managedBy, ...named }));
    case "delete pod": {
      const pod = draw(model.pods());
      if (pod !== undefined)
        model.meddle({ kind: "delete pod", namespace: pod.metadata.namespace ?? "", name: pod.metadata.name });
      return;
    }
    case "delete namespace": {
      for (const job of model.jobs()) deletes(job);
      return model.meddle({ kind: "delete namespace", name: "batch" });
    }
    case "copy Job":
      return onJob(({ metadata: { labels, annotations, finalizers }, spec }, { namespace, name }) => {
        const { selector: _, ...rest } = spec as typeof spec & { readonly selector?: unknown };
        post(model, namespace, { metadata: { name: `copy-${name}`.slice(0, 52), labels, annotations, finalizers }, spec: rest });
      });
    case "take name": {
      const name = keysOf().jobName(RunId.parse(meddling.run), StepName.parse(meddling.step), 1);
      const labels = {
        [LABELS.installation]: INSTALLATION,
        [LABELS.managedBy]: MANAGED_BY,
        [LABELS.step]: meddling.step,
        [LABELS.attempt]: "1",
      };
      const annotations = {
        [ANNOTATIONS.runId]: meddling.run,
        [ANNOTATIONS.group]: `group-${cluster}`,
        ...(meddling.proof !== undefined && { [ANNOTATIONS.proof]: meddling.proof }),
      };
      const spec = {
        template: {
          metadata: { labels, annotations },
          spec: { restartPolicy: "Never", containers: [{ name: "main", image: "registry.invalid/theirs:1" }] },
        },
      };
      return post(model, "batch", { metadata: { name, labels, annotations }, spec });
    }
    case "compact":
    case "cut streams":
    case "silence streams":
      return model.meddle({ kind: meddling.kind });
  }
}

/** Without a name, the request is about all quotas of the namespace. */
function askQuotas(
  model: SimulatedCluster["model"],
  request: { readonly method: "POST" | "DELETE"; readonly body?: object },
): void {
  const path = "/api/v1/namespaces/batch/resourcequotas";
  const sent = model.transport({ user: "somebody" }).send({ ...request, path }, new AbortController().signal);
  sent.catch(() => undefined);
}

/** Sends somebody else's create. Its answer does not matter to us. */
function post(model: SimulatedCluster["model"], namespace: string, body: object): void {
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const sent = model.transport({ user: "somebody" }).send({ method: "POST", path, body }, new AbortController().signal);
  sent.catch(() => undefined);
}

/** Ends all faults, and starts every process that should run. */
export async function heal(world: World): Promise<void> {
  const { broker, clusters, slots, person, scenario, trace } = world;
  trace.say(">> all faults end");
  world.healed = true;
  broker.trouble = CALM_BROKER;
  broker.thaw();
  broker.up();
  world.ledgerTrouble = CALM;
  for (const { model, pods, ways } of clusters.values()) {
    ways.clear();
    model.heal();
    askQuotas(model, { method: "DELETE" });
    pods.heal();
    model.meddle({ kind: "create namespace", name: "batch" });
  }
  for (const { name } of scenario.groups) await person.setGroup(GroupName.parse(name), { paused: false });
  for (const slot of slots) {
    slot.trap = undefined;
    if (slot.process !== undefined) thaw(world, slot.process);
    if (slot.process === undefined || slot.process.state() === "dead") start(world, slot);
  }
}
