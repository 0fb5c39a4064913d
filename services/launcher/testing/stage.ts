/**
 * A launcher's parts over models of ledger and cluster, for tests of one loop at a time.
 *
 * The bug this prevents: a loop that is tried only on answers that its author thought of. The modelled cluster obeys the API
 * server's rules, and the attempts change as the domain's state tables say.
 */
import type { Broker, Delivery } from "@longshore/broker/port.ts";
import type { CommandData, CommandType } from "@longshore/contract/messages/command.ts";
import { writeCommand } from "@longshore/contract/messages/envelope.ts";
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName, Installation, RunId, Uid } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { manifest, type ManifestInput } from "@longshore/domain/pod/manifest.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import { openClusters } from "@longshore/kubernetes/clusters.ts";
import { openWrites } from "@longshore/kubernetes/request/write.ts";
import { type VirtualClock, virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { ledgerModel, type LedgerModel } from "@longshore/ledger/testing/model.ts";
import type { JobObject } from "@longshore/pocket/objects.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import { createModel, type Model } from "@longshore/pocket/testing/model.ts";
import { type PodScript, scriptedPods } from "@longshore/pocket/testing/scripted.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import type { Fields, Log } from "@longshore/runtime/log.ts";
import { backOff, batch } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import type { Test } from "tap";
import { probeOne } from "../groups/probe.ts";
import { admit } from "../intake/admit.ts";
import { knownDefinitions } from "../definitions/known.ts";
import { openKeys } from "../keys.ts";
import { placerOf } from "../loops/place.ts";
import { type Cluster, type Parts, wakeUpsBy } from "../parts.ts";
import { TIMING } from "../timing.ts";

export const GROUP = GroupName.parse("prod-a");
export const NAMESPACE = "jobs";
const POLICY = { serviceAccounts: ["worker"], tokens: true };
export const settingsFor = (jobs: number): GroupSettings => GroupSettings.parse({ limits: { jobs }, policy: POLICY });
export const INSTALLATION = Installation.parse("test");
export const never = new AbortController().signal;
export const START_MS = Date.UTC(2030, 0, 1);

export interface Staging {
  readonly faults?: readonly Fault[];
  readonly pods?: PodScript;
  readonly broker?: Partial<Broker>;
  readonly timing?: Partial<Parts["timing"]>;
  readonly createsPerSecond?: number;
  /** What `claimed` and `live` ask for besides image and command. */
  readonly asks?: { readonly serviceAccount: { readonly name: string; readonly token: boolean } };
  readonly policy?: GroupSettings["policy"];
}

export interface Said {
  readonly level: string;
  readonly message: string;
  readonly fields: Fields;
}

export interface Stage {
  readonly parts: Parts;
  readonly cluster: Cluster;
  readonly pocket: Model;
  readonly model: LedgerModel;
  readonly clock: VirtualClock;
  /** Warnings and errors of the log. */
  readonly said: Said[];
  publish<T extends CommandType>(type: T, data: CommandData<T>): Promise<void>;
  place(): Promise<void>;
  claim(): Promise<Work>;
  /** Takes an attempt as the loop for this state does; `undefined`: none is due. */
  take(state: "claimed" | "live" | "closing" | "ended"): Promise<Work | undefined>;
  record(input: AttemptInput): Promise<void>;
  attempt(): Attempt;
  job(): JobObject | undefined;
  /** Creates a Job with a valid proof under the attempt's name, as if another launcher had made it. */
  create(change?: Partial<ManifestInput>): Promise<Uid>;
  events(): readonly string[];
}

export const RUN = RunId.parse("orders/8812/export");

export async function stage(
  t: Test,
  { faults = [], pods = {}, broker = {}, timing = {}, createsPerSecond, policy = {} }: Staging = {},
): Promise<Stage> {
  const clock = virtualClock({ startMs: START_MS });
  const said: Said[] = [];
  const keys = openKeys(Buffer.alloc(32, 7), INSTALLATION);
  const kubelet = scriptedPods(clock, () => pods);
  const pocket = createModel({ clock, kubelet, namespaces: [NAMESPACE] });
  const model = ledgerModel({ clock, installation: INSTALLATION, jobName: keys.jobName });
  const ledger = model.connect();
  const clusters = openClusters(
    [{ name: GROUP, namespace: NAMESPACE, transport: pocket.transport(), ...(createsPerSecond && { createsPerSecond }) }],
    { clock },
  );
  const open = clusters.cluster(GROUP);
  const cluster: Cluster = {
    name: GROUP, namespace: NAMESPACE, settings: { ...settingsFor(10), policy: { ...POLICY, ...policy } }, reads: open.read, writes: openWrites(open), pace: open.transport.pace,
  }; // biome-ignore format: a parts list
  t.teardown(async () => {
    await clusters[Symbol.asyncDispose]();
    await pocket[Symbol.asyncDispose]();
    await kubelet[Symbol.asyncDispose]();
    await ledger[Symbol.asyncDispose]();
  });
  const parts: Parts = {
    installation: INSTALLATION, owner: "launcher-1", clock, ledger, keys,
    definitions: knownDefinitions(ledger),
    log: listening(said),
    metrics: openMetrics("launcher", "test"),
    broker: broker as Broker,
    clusters: new Map([[GROUP, cluster]]),
    views: new Map(),
    defaults: DEFAULTS,
    timing: { ...TIMING, ...timing },
    operators: ["ops"],
    lanes: 4,
    fail: noFailpoint,
    pause: backOff(clock),
    wakeUps: wakeUpsBy(clock),
    admitting: batch({ most: 4 }, (intakes) => ledger.admit(intakes)),
    recording: batch({ most: 256 }, (entries) => ledger.record(entries)),
  }; // biome-ignore format: a parts list
  await ledger.putGroups([cluster]);
  await probeOne(parts, cluster, never);
  model.tables.notices.clear(); // the probe's notice that the group is healthy
  said.length = 0;
  for (const fault of faults) pocket.cause(fault);

  const stageOf = { parts, cluster, pocket, model, clock, said };
  return { ...stageOf, ...deeds(stageOf) };
}

type Bare = Pick<Stage, "parts" | "cluster" | "pocket" | "model" | "clock" | "said">;

function deeds({ parts, pocket, model, clock }: Bare): Omit<Stage, keyof Bare> {
  const { ledger, keys } = parts;
  const attempt = (): Attempt => {
    const found = model.tables.runs.get(RUN)?.record.attempts.at(-1);
    if (found === undefined) throw new TypeError("no run was accepted");
    return found;
  };
  let published = 0;
  return {
    attempt,
    async publish(type, data) {
      const outcome = await admit(parts)(deliveryOf(commandOf(type, data, `command-${++published}`)));
      if (outcome.kind !== "recorded") throw new Error(`it could not be read: ${JSON.stringify(outcome)}`);
    },
    async place() {
      await ledger.place({ most: 10, placer: placerOf(parts) });
    },
    async claim() {
      const [work] = await ledger.claim({ group: GROUP, most: 1, by: parts.owner, forMs: parts.timing.claimMs });
      if (work === undefined) throw new TypeError("nothing is due to be claimed");
      return work;
    },
    async take(state) {
      return (await ledger.take({ state, group: GROUP, most: 1, leaseMs: parts.timing.workLeaseMs }))[0];
    },
    async record(input) {
      await parts.recording({ run: RUN, step: attempt().step, n: attempt().n, input });
    },
    job: () => pocket.jobs(NAMESPACE).find(({ metadata }) => metadata.name === attempt().name),
    async create(change = {}) {
      const { step, n, name } = attempt();
      const namespaceUid = parts.views.get(GROUP)?.namespaceUid ?? "";
      const object = manifest({
        installation: INSTALLATION,
        group: { name: GROUP, namespace: NAMESPACE },
        run: { id: RUN, labels: undefined, annotations: undefined },
        step: { name: step, image: "busybox" },
        attempt: n,
        generation: 1,
        epoch: 1,
        name,
        hashOfRun: keys.runLabel(RUN),
        proof: keys.prove({ run: RUN, step, attempt: n }, { group: GROUP, namespaceUid }),
        limits: DEFAULTS,
        ...change,
      } as ManifestInput);
      const created = await openWrites({ transport: pocket.transport(), clock, namespace: NAMESPACE }).createJob(object, never);
      if (created.kind !== "created") throw new Error(`the Job was not created: ${JSON.stringify(created)}`);
      return Uid.parse(created.uid);
    },
    events: () => (model.tables.runs.get(RUN)?.story ?? []).map(({ type }) => type),
  };
}

/** Admits, places and claims a run, whose Job is not created yet. */
export async function claimed(t: Test, staging: Staging = {}): Promise<Stage & { readonly work: Work }> {
  const it = await stage(t, staging);
  await it.publish("run.requested", { run: RUN, image: "busybox", command: ["true"], ...staging.asks });
  await it.place();
  return { ...it, work: await it.claim() };
}

/** The same as `claimed`, with the Job created and its UID recorded. */
export async function live(t: Test, staging: Staging = {}): Promise<Stage> {
  const it = await claimed(t, staging);
  const uid = await it.create();
  await it.record({ kind: "created", claimNo: it.work.attempt.claimNo, uid, rv: "1", group: GROUP, adopted: false });
  return it;
}

export function commandOf<T extends CommandType>(type: T, data: CommandData<T>, id = "command-1"): Uint8Array {
  const command = { id, source: "/test", type, data } as Parameters<typeof writeCommand<CommandType>>[0];
  return writeCommand<CommandType>(command);
}

/** A delivery that notes how it is settled. */
export function deliveryOf(body: Uint8Array | string, settled: string[] = [], redeliveries = 0): Delivery {
  return {
    id: "",
    body: typeof body === "string" ? Buffer.from(body) : body,
    redeliveries,
    user: undefined,
    replyTo: undefined,
    correlationId: undefined,
    ack: async () => void settled.push("ack"),
    requeue: async () => void settled.push("requeue"),
    quarantine: async (problems) => void settled.push(`quarantine ${problems.map(({ code }) => code).join(" ")}`),
  };
}

export function listening(said: Said[]): Log {
  const say =
    (level: string) =>
    (message: string, fields: Fields = {}): void =>
      void said.push({ level, message, fields });
  const log: Log = { debug: () => undefined, info: () => undefined, warn: say("warn"), error: say("error"), child: () => log };
  return log;
}
