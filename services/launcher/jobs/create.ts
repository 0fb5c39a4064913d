/**
 * Creates an attempt's Job, or adopts what an earlier try created.
 *
 * The bug this prevents: two Jobs for one attempt. The name is deterministic, so a second create meets the first one's Job,
 * which is adopted only if its proof fits. A missing answer is never taken for a refusal.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { Uid } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { nodesShared } from "@longshore/contract/request/volumes.ts";
import { stepsOf } from "@longshore/contract/request/request.ts";
import { afterCreate, type AttemptInput, type CreateAnswer, type GroupNews } from "@longshore/domain/attempt/input.ts";
import { mayCreate, whyNot } from "@longshore/domain/group/view.ts";
import { manifest, type ManifestInput, occupant } from "@longshore/domain/pod/manifest.ts";
import { manifestFrom } from "@longshore/domain/prepared/manifest.ts";
import type { StandingAnchor } from "@longshore/domain/pod/volumes.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import { limitsFor } from "@longshore/domain/run/plan.ts";
import { type StepToRun, stepToRun } from "@longshore/domain/run/step-to-run.ts";
import { isThrottled } from "@longshore/kubernetes/request/guard.ts";
import type { Created } from "@longshore/kubernetes/request/write.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { writeRefused } from "../groups/probe.ts";
import { heard, viewOf } from "../groups/views.ts";
import type { Cluster, Parts } from "../parts.ts";
import { look } from "./look.ts";
import { readPrepared } from "./prepared.ts";

export type Creating = Pick<Parts, "installation" | "ledger" | "keys" | "views" | "timing" | "clock" | "log" | "owner">;

/** The anchor that owns the Job, and the step with its values: they were needed for what else the anchor owns. */
export interface Under {
  readonly anchor: StandingAnchor;
  readonly step: StepToRun;
}

export async function createOrAdopt(
  parts: Creating,
  cluster: Cluster,
  work: Work,
  signal: AbortSignal,
  under?: Under,
): Promise<AttemptInput> {
  const { claimNo } = work.attempt;
  const made = under?.step ?? stepOf(parts, cluster, work);
  if (made.kind === "refused") return { kind: "refused", claimNo, diagnosis: made.diagnosis };
  const asked = work.run.plan.definition?.prepared;
  // Others do not wait at all: the group's pace counts a create from here, before the next ones are claimed.
  const found = asked && (await readPrepared(cluster, work, asked, signal));
  if (found?.kind === "refused") return { kind: "refused", claimNo, diagnosis: found.diagnosis };
  if (found?.kind === "notYet") return putOff(parts, cluster, work, found.diagnosis);
  const input = manifestInput(parts, cluster, work, made, under?.anchor);
  if (input === undefined) return putOff(parts, cluster, work);
  const job = found?.kind === "found" ? manifestFrom(found.prepared, input, cluster.settings.policy) : manifest(input);
  const created = await cluster.writes.createJob(job, signal);
  if (created.kind === "created" && !created.finalizers.includes(HOLD) && work.attempt.notes.hold !== false)
    parts.log.warn("a Job came back without our hold: an admission webhook strips finalizers, so its outcome may be lost", {
      group: cluster.name,
      job: work.attempt.name,
    });
  const { name: group, namespace } = cluster;
  const { placeAgainMs } = parts.timing;
  const after = afterCreate(answerOf(created), { claimNo, group, namespace, nowMs: work.nowMs, placeAgainMs });
  if (after.kind === "look") return await adopt(parts, cluster, work, signal);
  if (after.news !== undefined) await noteNews(parts, cluster, after.news);
  return after.input;
}

/** The attempt's step with its values, as the group's policy judges it. */
export const stepOf = ({ keys }: Pick<Parts, "keys">, cluster: Cluster, { run, request, attempt: { step } }: Work): StepToRun =>
  stepToRun(run, request, step, cluster, keys.childLabels(run.id, step));

/** Nothing was sent: another launcher, or a later turn, may create the Job. */
export function putOff(
  parts: Creating,
  cluster: Cluster,
  work: Work,
  why?: Diagnosis,
): Extract<AttemptInput, { kind: "deferred" }> {
  const view = viewOf(parts, cluster.name);
  const { claimNo } = work.attempt;
  return {
    kind: "deferred",
    claimNo,
    retryAtMs: work.nowMs + parts.timing.placeAgainMs,
    again: true,
    diagnosis: why ?? (mayCreate(view) ? ofAnotherFile(cluster, work) : undefined) ?? whyNot(view, cluster.name),
  };
}

export function answerOf(created: Created): CreateAnswer {
  switch (created.kind) {
    case "created":
      return { ...created, uid: Uid.parse(created.uid) };
    case "unsent":
      return { kind: "unsent", failure: created.failure, heldBack: isThrottled(created.failure) };
    case "unanswered":
      return { kind: "unanswered" };
    case "answered":
      return created;
  }
}

export async function noteNews(parts: Creating, cluster: Cluster, news: GroupNews): Promise<void> {
  switch (news.kind) {
    case "writeTaken":
      return void heard(parts, cluster, { kind: "writeTaken" });
    case "writeRefused":
      return await asideOf(parts, cluster, () => writeRefused(parts, cluster, news.diagnosis));
    case "noRoom": {
      const { untilMs, diagnosis } = news;
      return await asideOf(parts, cluster, () => parts.ledger.setGroup(cluster.name, { noRoom: { untilMs, diagnosis } }));
    }
    case "quiet": {
      // The jitter only adds time: nobody comes earlier than the server asked, and not all launchers come in the same instant.
      const untilMs = parts.clock.now() + news.forMs * (1 + parts.clock.random() / 4);
      return void heard(parts, cluster, { kind: "throttled", quiet: { untilMs, why: news.why } });
    }
  }
}

/**
 * If the group's news cannot be written, they are lost. The create's answer must not be lost with them: the create would be in
 * doubt until the fence has passed.
 */
async function asideOf({ log }: Creating, { name: group }: Cluster, note: () => Promise<void>): Promise<void> {
  try {
    await note();
  } catch (error) {
    if (!isTransient(error)) throw error;
    log.warn("news of a group could not be written down", { group, code: error.code, error: error.message });
  }
}

/** The name is taken (409), so this create made nothing. Looks whose Job has the name. */
async function adopt(parts: Creating, cluster: Cluster, work: Work, signal: AbortSignal): Promise<AttemptInput> {
  const { claimNo, name } = work.attempt;
  const seen = await look(parts, cluster, work, signal);
  switch (seen.kind) {
    case "ours":
      return { kind: "created", claimNo, uid: seen.job.uid, rv: seen.job.resourceVersion, group: cluster.name, adopted: true };
    case "missing":
      return {
        kind: "deferred",
        claimNo,
        retryAtMs: work.nowMs + 1_000,
        again: true,
        diagnosis: diagnose("NameConflict", `The name ${name} was taken a moment ago and is free now.`),
      };
    case "foreign":
    case "occupant":
      return {
        kind: "nameTaken",
        claimNo,
        diagnosis: diagnose("NameConflict", `A Job that is not this run's holds the name ${name}.`),
      };
    case "unseen":
      return { kind: "unanswered", claimNo };
  }
}

/** Takes the attempt's name with a Job that can run nothing, so that a create that is still on its way finds it taken. */
export async function occupy(
  parts: Creating,
  cluster: Cluster,
  work: Work,
  signal: AbortSignal,
): Promise<AttemptInput | undefined> {
  const made = stepOf(parts, cluster, work);
  // A restart may have brought values with which the step cannot run, while a create with the earlier ones may still land.
  const nothing = { step: { name: work.attempt.step, image: "longshore-occupant" }, labels: {}, annotations: {}, volumes: [] };
  const input = manifestInput(parts, cluster, work, made.kind === "rendered" ? made : nothing);
  if (input === undefined) return undefined;
  const created = await cluster.writes.createJob(occupant(input), signal);
  return created.kind === "created" ? { kind: "occupied", uid: Uid.parse(created.uid) } : undefined;
}

/**
 * Returns a diagnosis if the attempt was placed under another groups file. Launchers restart one after the other, and the file
 * may name another namespace now: a Job created in the old one would be looked for in the new one, and called gone.
 */
export function ofAnotherFile({ name, namespace }: Cluster, { attempt }: Pick<Work, "attempt">): Diagnosis | undefined {
  const { namespace: placed = namespace } = attempt.notes;
  if (placed === namespace) return undefined;
  const sentence = `It was placed in the namespace "${placed}" of group "${name}"; in this launcher's groups file that is "${namespace}".`;
  return diagnose("GroupMoved", sentence, [], "Give all launchers the same groups file.");
}

function manifestInput(
  { installation, ledger, keys, views }: Creating,
  cluster: Cluster,
  { run, request, attempt }: Work,
  { step, labels, annotations, volumes }: Omit<Extract<StepToRun, { kind: "rendered" }>, "kind">,
  anchor?: StandingAnchor,
): ManifestInput | undefined {
  const view = viewOf({ views }, cluster.name);
  if (!mayCreate(view)) return undefined;
  if (ofAnotherFile(cluster, { attempt }) !== undefined) return undefined;
  const identity = { run: run.id, step: attempt.step, attempt: attempt.n };
  return {
    installation,
    group: { name: cluster.name, namespace: cluster.namespace },
    run: { id: run.id, labels, annotations, traceparent: run.plan.traceparent },
    step,
    attempt: attempt.n,
    slots: attempt.slots,
    generation: attempt.generation,
    epoch: ledger.epoch,
    name: attempt.name,
    hashOfRun: keys.runLabel(run.id),
    proof: keys.prove(identity, { group: cluster.name, namespaceUid: view.namespaceUid }),
    hold: attempt.notes.hold !== false,
    limits: limitsFor(run.plan, attempt.step),
    volumes,
    node: nodesShared(volumes, stepsOf(request)).get(step.name),
    anchor,
    childLabels: keys.childLabels(run.id, attempt.step),
  };
}
