/**
 * Makes what owns a run's objects, then the volumes, secret values and large files, then the Job: inside the claim of the first
 * attempt that needs them.
 *
 *   anchor (409: ours by its proof) ──▶ all claims of volumes and the Secret, together or none; the step's large files ──▶ Job
 *
 * The bugs this prevents: an object without an owner, which stays for ever if it lands after its run was cleaned up; ten runs that
 * each hold one volume and wait for their second; and a pod that writes to a volume which a pod of the run's earlier life still has.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { Uid } from "@longshore/contract/ids.ts";
import type { SecretValues } from "@longshore/contract/request/secret-values.ts";
import type { AnchorInput } from "@longshore/domain/anchor/lifecycle.ts";
import { afterCreate, type AttemptInput, type InputOf } from "@longshore/domain/attempt/input.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import { mayCreate } from "@longshore/domain/group/view.ts";
import {
  type AnchorOf, anchorManifest, claimManifests, fileManifests, secretManifest, type StandingAnchor,
} from "@longshore/domain/pod/volumes.ts"; // biome-ignore format: a list of names
import { ANNOTATIONS, LABELS, selectorOfAnchor } from "@longshore/domain/run/marks.ts";
import type { Anchor } from "@longshore/domain/run/record.ts";
import type { StepToRun } from "@longshore/domain/run/step-to-run.ts";
import { at, text } from "@longshore/domain/watch/raw.ts";
import { isUnfinished } from "@longshore/domain/watch/seen.ts";
import type { ApiObject } from "@longshore/kubernetes/objects.ts";
import { CLAIM_BUDGET } from "@longshore/kubernetes/request/claim-budget.ts";
import type { Unread } from "@longshore/kubernetes/request/read.ts";
import type { Created } from "@longshore/kubernetes/request/write.ts";
import type { Entry, Work } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import type { Cluster, Parts } from "../parts.ts";
import { answerOf, createOrAdopt, type Creating, noteNews, ofAnotherFile, putOff, stepOf } from "./create.ts";

type Answer = Pick<Entry, "input" | "anchor">;

/** The anchor is there, or the attempt's answer is known without a Job. */
type Made = { readonly kind: "made"; readonly anchor: StandingAnchor } | { readonly kind: "answered"; readonly answer: Answer };

const answered = (input: AttemptInput, anchor?: AnchorInput): Made => ({
  kind: "answered",
  answer: { input, ...(anchor && { anchor }) },
});

export async function createUnderAnchor(parts: Creating, cluster: Cluster, work: Work, signal: AbortSignal): Promise<Answer> {
  if (work.run.plan.storage?.anchor === undefined) return { input: await createOrAdopt(parts, cluster, work, signal) };
  const { anchor } = work;
  const isPlaced = anchor?.state === "making" || anchor?.state === "standing";
  const isHere = mayCreate(viewOf(parts, cluster.name)) && ofAnotherFile(cluster, work) === undefined;
  if (!isPlaced || !isHere) return { input: putOff(parts, cluster, work) };
  const step = stepOf(parts, cluster, work);
  // No volume is made for a step that cannot run.
  if (step.kind === "refused") return { input: { kind: "refused", claimNo: work.attempt.claimNo, diagnosis: step.diagnosis } };

  const mayGoOn = turnOf(parts, cluster, work);
  const making = { anchor, of: anchorOf(parts, cluster, work, anchor, step), step, mayGoOn };
  const made = await ensure(parts, cluster, work, making, signal);
  if (made.kind === "answered") return made.answer;
  const uid = Uid.parse(made.anchor.uid);
  const under = { anchor: made.anchor, step };
  const input = mayGoOn() ? await createOrAdopt(parts, cluster, work, signal, under) : stopped(parts, cluster, work);
  const isNews = anchor.state === "making" || anchor.uid === undefined;
  return { input, ...(isNews && { anchor: { kind: "stands", uid } }) };
}

const SLOW = diagnose("EndpointUnreachable", "The cluster was too slow to make the run's volumes within one claim.");

/** The part of a claim after which no create may begin: a longer one would outlive the claim, and another launcher make it again. */
const BEGINS_WITHIN = 1 - CLAIM_BUDGET.postMs / CLAIM_BUDGET.claimMs;

/** Asked before each create: the requests before it may have taken long, and the group may have moved meanwhile. */
function turnOf(parts: Creating, cluster: Cluster, { attempt, nowMs }: Work): () => boolean {
  const lastMs = parts.clock.now() + ((attempt.claimUntilMs ?? nowMs) - nowMs) * BEGINS_WITHIN;
  return () => parts.clock.now() <= lastMs && mayCreate(viewOf(parts, cluster.name));
}

const stopped = (parts: Creating, cluster: Cluster, work: Work): InputOf<"deferred"> =>
  putOff(parts, cluster, work, mayCreate(viewOf(parts, cluster.name)) ? SLOW : undefined);

interface Making {
  readonly anchor: Anchor;
  readonly of: AnchorOf;
  readonly step: Extract<StepToRun, { kind: "rendered" }>;
  readonly mayGoOn: () => boolean;
}

async function ensure(parts: Creating, cluster: Cluster, work: Work, making: Making, signal: AbortSignal): Promise<Made> {
  const { anchor, of, step, mayGoOn } = making;
  const inUse = await usedByEarlier(parts, cluster, work, making, signal);
  if (inUse !== undefined) return answered(inUse);
  if (!mayGoOn()) return answered(stopped(parts, cluster, work));
  const isNew = anchor.state === "making";
  const secrets = secretsFor(parts, work, isNew);
  if (secrets === "gone") return answered({ kind: "refused", claimNo: work.attempt.claimNo, diagnosis: SECRETS_GONE });
  const made = await makeAnchor(parts, cluster, work, making, signal);
  if (made.kind === "answered") return made;
  const news: AnchorInput | undefined = isNew ? { kind: "made", uid: Uid.parse(made.anchor.uid) } : undefined;
  if (!mayGoOn()) return answered(stopped(parts, cluster, work), news);
  const { writes } = cluster;
  const send = (what: string, all: readonly object[], create: (manifest: object, signal: AbortSignal) => Promise<Created>) =>
    all.map(async (manifest) => ({ what, created: await create(manifest, signal) }));
  const created = await Promise.all([
    ...send("volume", isNew ? claimManifests(of, made.anchor, step.volumes) : [], writes.createClaim),
    ...send(
      "Secret of its secret values",
      secrets.map((it) => secretManifest(of, made.anchor, it)),
      writes.createSecret,
    ),
    ...send("ConfigMap of a large file", fileManifests(of, made.anchor, step.step), writes.createFile),
  ]);
  const failure = await worstFailure(parts, cluster, work, created);
  if (failure === undefined) return made;
  if (!isFull(failure)) return answered(failure.input, news);
  const waitMs = Math.min(parts.timing.placeAgainMs * 2 ** (anchor.number - 1), FULL_MOST_MS);
  return answered({ ...failure.input, retryAtMs: Math.max(failure.input.retryAtMs, work.nowMs + waitMs) }, { kind: "noRoom" });
}

/** Each try makes an anchor and volumes, and deletes them again, so a full cluster is asked less and less often. */
const FULL_MOST_MS = 60_000;

const SECRETS_GONE = diagnose(
  "RequestInvalid",
  "The secret values of the run are no longer kept, or were sealed with another key.",
  [],
  "Restart it and give them again, as `with.secretValues`, or publish it with a new id.",
);

/**
 * The secret values that have to be made a Secret: with the anchor, and again in a restart's generation that brought others. A Secret
 * that is there already is our own earlier try.
 */
function secretsFor({ keys }: Creating, { run, attempt, sealed }: Work, isNew: boolean): readonly SecretValues[] | "gone" {
  const { secrets } = run.plan.storage?.anchor ?? {};
  const broughtOthers = attempt.generation > 1 && secrets?.since === attempt.generation;
  if (secrets === undefined || !(isNew || broughtOthers)) return [];
  const values = sealed === undefined ? undefined : keys.openValues(run.id, sealed);
  return values === undefined ? "gone" : [values];
}

const anchorOf = (
  { installation, keys }: Creating,
  cluster: Cluster,
  { run }: Work,
  { number }: Anchor,
  { labels, annotations }: Pick<AnchorOf["run"], "labels" | "annotations">,
): AnchorOf => ({
  installation,
  group: { name: cluster.name, namespace: cluster.namespace },
  run: { id: run.id, labels, annotations },
  hashOfRun: keys.runLabel(run.id),
  number,
  name: keys.anchorName(run.id, number),
});

const standing = ({ keys }: Creating, { run }: Work, { number, name }: AnchorOf, uid: string): StandingAnchor => ({
  number,
  name,
  uid,
  claimName: (volume) => keys.claimName(uid, volume),
  secretName: keys.secretName(uid, run.plan.storage?.anchor?.secrets?.since ?? 1),
  fileName: (content) => keys.fileName(uid, content),
});

async function makeAnchor(
  parts: Creating,
  cluster: Cluster,
  work: Work,
  { anchor, of }: Pick<Making, "anchor" | "of">,
  signal: AbortSignal,
): Promise<Made> {
  const { keys } = parts;
  const stands = (uid: string): Made => ({ kind: "made", anchor: standing(parts, work, of, uid) });
  if (anchor.uid !== undefined) return stands(anchor.uid);
  const identity = { run: work.run.id, number: anchor.number };
  const { namespaceUid = "" } = viewOf(parts, cluster.name);
  const manifest = anchorManifest(of, keys.proveAnchor(identity, { group: cluster.name, namespaceUid }));
  const created = await cluster.writes.createAnchor(manifest, signal);
  if (created.kind === "created") return stands(created.uid);
  const input = await afterFailure(parts, cluster, work, created, "ConfigMap that owns its volumes");
  if (input !== "taken") return answered(input);
  const found = await cluster.reads.getAnchor(of.name, signal);
  if (found.kind === "missing") return answered(putOff(parts, cluster, work, MOMENTARY));
  if (found.kind !== "found") return answered(putOff(parts, cluster, work, whyUnread(found, cluster)));
  if (isAnchorOf(parts, cluster, identity, found.object))
    return found.object.deleting ? answered(putOff(parts, cluster, work)) : stands(found.object.uid);
  const { claimNo } = work.attempt;
  const diagnosis = diagnose("NameConflict", `A ConfigMap that is not this run's holds the name ${of.name}.`);
  return answered({ kind: "nameTaken", claimNo, diagnosis });
}

const MOMENTARY = diagnose("NameConflict", "The name of what owns its volumes was taken a moment ago and is free now.");

/** A run that waits tells why: somebody has to grant the permission. */
const whyUnread = (unread: Unread, { name: group, namespace }: Cluster): Diagnosis =>
  unread.kind === "answered" ? diagnoseReply(unread, { group, namespace }) : diagnoseTransport(unread.failure);

/** True if the object carries a proof over this anchor in this namespace of this cluster. */
export function isAnchorOf(
  parts: Pick<Parts, "keys" | "views">,
  { name: group }: Cluster,
  identity: { readonly run: Work["run"]["id"]; readonly number: number },
  { raw }: ApiObject,
): boolean {
  const { namespaceUid } = viewOf(parts, group);
  const proof = text(at(raw, "metadata", "annotations", ANNOTATIONS.proof));
  return namespaceUid !== undefined && parts.keys.isAnchorProof(proof, identity, { group, namespaceUid });
}

/**
 * Returns the attempt's input for a create that made nothing. A missing permission refuses this run alone: runs without volumes
 * need none of it.
 */
async function afterFailure(
  parts: Creating,
  cluster: Cluster,
  { attempt, nowMs }: Work,
  created: Created,
  what: string,
): Promise<AttemptInput | "taken"> {
  const { name: group, namespace } = cluster;
  const { claimNo } = attempt;
  const after = afterCreate(answerOf(created), {
    claimNo, group, namespace, nowMs, placeAgainMs: parts.timing.placeAgainMs, what,
  }); // biome-ignore format: one call
  if (after.kind === "look") return "taken";
  const { input, news } = after;
  if (input.kind === "deferred" && input.diagnosis.code === "Forbidden")
    return { kind: "refused", claimNo, diagnosis: input.diagnosis };
  // A quota on volumes stops no run that has none.
  if (news !== undefined && news.kind !== "noRoom") await noteNews(parts, cluster, news);
  return input;
}

type Failure<I = InputOf<"refused" | "deferred">> = { readonly input: I; readonly status: number | undefined };

/** True if a quota is full. The cluster also names a quota if it is busy counting, or asks for a pause: it may have room then. */
const isFull = (failure: Failure): failure is Failure<InputOf<"deferred">> =>
  failure.status === 403 && failure.input.kind === "deferred" && failure.input.diagnosis.code === "QuotaExceeded";

/**
 * Returns the answer if not everything is there. A name that is taken is our own earlier create: it holds an HMAC of the anchor's
 * UID. What lands late is owned by the anchor, so its missing answer leaves nothing open.
 */
async function worstFailure(
  parts: Creating,
  cluster: Cluster,
  work: Work,
  all: readonly { readonly what: string; readonly created: Created }[],
): Promise<Failure | undefined> {
  const failures: Failure[] = [];
  for (const { what, created } of all) {
    if (created.kind === "created") continue;
    const input = await afterFailure(parts, cluster, work, created, what);
    if (input === "taken") continue;
    const isAnswer = input.kind === "refused" || input.kind === "deferred";
    failures.push({
      input: isAnswer ? input : putOff(parts, cluster, work, SLOW),
      status: created.kind === "answered" ? created.status : undefined,
    });
  }
  return failures.find(({ input }) => input.kind === "refused") ?? failures.find(isFull) ?? failures[0];
}

/**
 * A pod of an earlier generation may still write: after a lost attempt nobody saw it end. A program with a token may have made pods
 * without the labels of its children, which only a listing of all pods shows.
 */
async function usedByEarlier(
  parts: Creating,
  cluster: Cluster,
  work: Work,
  { anchor: { number, uid }, of: anchorOf, step }: Making,
  signal: AbortSignal,
): Promise<InputOf<"deferred"> | undefined> {
  const { generation, claimNo } = work.attempt;
  if (generation === 1) return undefined;
  const { plan, steps } = work.run;
  const selector = selectorOfAnchor(parts.installation, parts.keys.runLabel(work.run.id), number);
  const madePods = plan.steps.some(({ uses }) => uses?.token === true);
  const claims = uid === undefined ? [] : claimManifests(anchorOf, standing(parts, work, anchorOf, uid), step.volumes);
  const listed = await (madePods
    ? cluster.reads.podsMounting(claims.map(({ metadata }) => metadata.name), signal)
    : cluster.reads.podsWith(selector, signal)); // biome-ignore format: one question
  if (listed.kind !== "listed") return putOff(parts, cluster, work, whyUnread(listed, cluster));
  const user = listed.items.find((it) => {
    const of = text(at(it, "metadata", "annotations", ANNOTATIONS.generation));
    const parent = text(at(it, "metadata", "labels", LABELS.parentStep));
    // Its own pods and their children may be there: they go before their steps end.
    const isOfNow = Number(of) === generation || (parent !== undefined && steps[parent]?.state === "open");
    return !isOfNow && isUnfinished({ phase: text(at(it, "status", "phase")) });
  });
  if (user === undefined) return undefined;
  const name = text(at(user, "metadata", "name")) ?? "";
  const diagnosis = diagnose("VolumeInUse", `The pod ${name} still uses the run's volumes, from before its restart.`);
  return { kind: "deferred", claimNo, diagnosis, retryAtMs: work.nowMs + parts.timing.placeAgainMs };
}
