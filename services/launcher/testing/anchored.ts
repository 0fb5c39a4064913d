/**
 * Runs with an anchor on the stage of one launcher: claimed, created, ended and swept as its loops do it.
 *
 * The failure this prevents: two tests that each end a run in a way of their own, of which one is no launcher's way.
 */
import type { CommandData } from "@longshore/contract/messages/command.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { Work } from "@longshore/ledger/port.ts";
import type { Test } from "tap";
import { createUnderAnchor } from "../jobs/anchor.ts";
import { sweepAnchors } from "../loops/sweep.ts";
import { GROUP, NAMESPACE, never, RUN, stage, type Stage, type Staging } from "./stage.ts";

/** Asks for two volumes, and mounts one. */
export const REQUEST = {
  run: RUN,
  image: "busybox",
  volumes: [
    { name: "data", size: "1Gi" },
    { name: "more", size: "2Gi", class: "fast" },
  ],
  mounts: [{ volume: "data", path: "/data" }],
} as const;

/** More of a request: the volumes, by parameters. */
export const BY_PARAMETERS = {
  parameters: { gib: 4, class: "slow", team: "shop" },
  labels: { team: "${{ parameters.team }}" },
  volumes: [
    { name: "data", size: { gib: "${{ parameters.gib }}", plusGib: 1 }, class: "${{ parameters.class }}" },
    { name: "more", size: "2Gi", labels: { of: "${{ parameters.team }}" } },
  ],
};

/** More of a request: its program may make pods. */
export const TOKEN = { serviceAccount: { name: "worker", token: true } };

export const ABANDONED = diagnose("Abandoned", "An operator gave it up.");

export interface Claimed extends Stage {
  readonly work: Work;
}

export async function anchored(t: Test, request: object, staging: Staging = {}): Promise<Claimed> {
  const it = await stage(t, { pods: { startsAfterMs: 10, runsMs: 10 }, ...staging });
  await it.publish("run.requested", { run: RUN, ...request } as unknown as CommandData<"run.requested">);
  await it.place();
  return { ...it, work: await it.claim() };
}

/** A run with volumes, claimed for the first time. `more`: in place of what its request says. */
export const withVolumes = (t: Test, staging: Staging = {}, more: object = {}): Promise<Claimed> =>
  anchored(t, { ...REQUEST, ...more }, staging);

export const objects = ({ pocket }: Stage) => ({
  anchors: pocket.objects("configmaps", NAMESPACE),
  claims: pocket.objects("persistentvolumeclaims", NAMESPACE),
  jobs: pocket.jobs(NAMESPACE),
});
export const counts = (it: Stage) => Object.fromEntries(Object.entries(objects(it)).map(([kind, all]) => [kind, all.length]));
export const anchorOf = ({ model }: Stage) => model.tables.runs.get(RUN)?.record.anchors?.at(-1);

/** Creates under the claim, and records the answer as the launcher does. */
export async function create(it: Claimed, work = it.work) {
  const answer = await createUnderAnchor(it.parts, it.cluster, work, never);
  await it.parts.recording({ run: RUN, step: work.attempt.step, n: work.attempt.n, ...answer });
  return answer;
}

/** Sweeps until nothing is due. */
export async function sweepAll(it: Stage): Promise<void> {
  for (let round = 0; round < 5; round++) {
    const due = await it.parts.ledger.takeAnchors({ group: GROUP, most: 9, leaseMs: 2_000 });
    await sweepAnchors(it.parts, it.cluster, due, never);
    await it.clock.sleep(2_000);
  }
}

/** Ends the attempt as its Job did, and takes the hold off. */
export async function end(it: Claimed, how: "complete" | "failed"): Promise<void> {
  const uid = it.attempt().uid;
  if (uid === undefined) throw new TypeError("the attempt has no Job");
  await it.clock.sleep(5_000);
  await it.record({ kind: how, group: GROUP, rv: "9", uid, evidence: { started: "yes" } });
}

export async function release(it: Claimed): Promise<void> {
  await it.cluster.writes.releaseJob(it.attempt().name, it.attempt().uid ?? "", "longshore.dev/unrecorded", {}, never);
  await it.record({ kind: "released", found: "released", begunAtMs: await it.parts.ledger.now() });
}

/** The volumes that are there: name, size and class. */
export const sizes = (it: Stage) =>
  objects(it).claims.map(({ metadata, spec }) => {
    const { resources, storageClassName } = spec as {
      readonly resources: { readonly requests: { readonly storage: string } };
      readonly storageClassName?: string;
    };
    return [metadata.name.split("-")[0], resources.requests.storage, storageClassName];
  });

/** A pod that mounts the first of the volumes. */
export async function makePod(it: Stage, name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
  const claimName = objects(it).claims[0]?.metadata.name ?? "";
  const body = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels },
    spec: { containers: [{ name: "main", image: "busybox" }], volumes: [{ name: "data", persistentVolumeClaim: { claimName } }] },
  };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const { status } = await it.pocket.transport().send({ method: "POST", path, body }, never);
  if (status !== 201) throw new Error(`the pod was answered ${status}`);
}
