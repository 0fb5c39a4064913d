/**
 * Reads the prepared object that a run is a copy of, at the moment of the launch.
 *
 * The failure this prevents: a person presses Run for what the card showed, and something else runs, or something that its owner had
 * taken away from people. The annotation, the UID and the digest of the template are those of the request, or nothing is created.
 */
import { annotationOf } from "@longshore/contract/group-settings.ts";
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import { notAllowedInPod } from "@longshore/domain/prepared/pod-uses.ts";
import { isPrepared, type PreparedSeen, seePrepared } from "@longshore/domain/prepared/see.ts";
import { at } from "@longshore/domain/watch/raw.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { digestOf } from "../definitions/prepared.ts";
import type { Cluster } from "../parts.ts";

type Read =
  | { readonly kind: "found"; readonly prepared: PreparedSeen }
  /** "notYet": a later turn of the attempt may create the Job. */
  | { readonly kind: "refused" | "notYet"; readonly diagnosis: Diagnosis };

type PreparedPlan = NonNullable<NonNullable<Work["run"]["plan"]["definition"]>["prepared"]>;

const refused = (diagnosis: Diagnosis): Read => ({ kind: "refused", diagnosis });

export async function readPrepared(
  cluster: Cluster,
  { run, attempt }: Work,
  { kind, name, uid, digest }: PreparedPlan,
  signal: AbortSignal,
): Promise<Read> {
  const { deadline: _, ...corrections } = run.plan.with?.[attempt.step] ?? {};
  if (Object.keys(corrections).length > 0)
    return refused(
      diagnose(
        "RequestInvalid",
        `A restart of a prepared ${kind} may correct its parameters and its deadline, and nothing else of it.`,
        Object.keys(corrections),
        "Restart it without these, or have the prepared object changed.",
      ),
    );
  const { discover, policy } = cluster.settings;
  if (discover === undefined)
    return refused(diagnose("DefinitionGone", `The group ${cluster.name} no longer looks for prepared Jobs.`));
  const { reads, name: group, namespace } = cluster;
  const got = kind === "Job" ? await reads.getJob(name, signal) : await reads.getCronJob(name, signal);
  const what = `The ${kind} ${namespace}/${name}`;
  if (got.kind === "missing") return refused(diagnose("DefinitionGone", `${what} is gone.`));
  if (got.kind !== "found") {
    const diagnosis = got.kind === "answered" ? diagnoseReply(got, { group, namespace }) : diagnoseTransport(got.failure);
    return { kind: "notYet", diagnosis };
  }
  const annotation = annotationOf(discover);
  const prepared = seePrepared(got.object.raw, kind, annotation[0]);
  if (prepared === undefined || !isPrepared(got.object.raw, annotation))
    return refused(diagnose("DefinitionGone", `${what} has no annotation ${annotation.join(": ")} any more.`));
  if (prepared.uid !== uid) return refused(diagnose("DefinitionChanged", `${what} was deleted and made anew.`));
  if (digestOf(prepared) !== digest) return refused(diagnose("DefinitionChanged", `${what} runs something else by now.`));
  if (prepared.active > 0 && run.plan.concurrency !== undefined)
    return { kind: "notYet", diagnosis: diagnose("DefinitionBusy", `${what} runs already, and not by Longshore.`) };
  const forbidden = notAllowedInPod(policy, at(prepared.runs, "template", "spec"));
  if (forbidden !== undefined) return refused(diagnose("PolicyRefused", `The group ${group} does not allow ${forbidden}.`));
  return { kind: "found", prepared };
}
