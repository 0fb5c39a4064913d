/**
 * The launcher's part in preflight: a Job as the launcher would make it, and the launcher's diagnoses of failures.
 *
 * The failure this prevents: a doctor that tries another Job than the launcher creates, or that calls the same trouble by
 * another name.
 */
import { type GroupName, type Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import { classifyCreate, diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import { manifest } from "@longshore/domain/pod/manifest.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import type { Explain } from "@longshore/kubernetes/preflight/preflight.ts";

/** Explains an answer in the words of the launcher's events. */
export function explainIn(group: string, namespace: string): Explain {
  return (to, unread) => {
    if (unread.kind !== "answered") return diagnoseTransport(unread.failure, `The cluster of group "${group}"`);
    const reply = to === "create" ? classifyCreate(unread, { group, namespace }) : undefined;
    return reply === undefined || reply.kind === "exists" ? diagnoseReply(unread, { group, namespace }) : reply.diagnosis;
  };
}

/** A Job as the launcher makes it, for a dry run: the API server's admission judges it, and nothing is stored. */
export function sampleJob(installation: Installation, group: GroupName, namespace: string): object {
  const amounts = { cpu: "10m", memory: "16Mi" };
  return manifest({
    installation,
    group: { name: group, namespace },
    run: { id: RunId.parse("longshore-doctor") },
    step: {
      name: StepName.parse("main"),
      image: "registry.k8s.io/pause:3.10",
      resources: { requests: amounts, limits: amounts },
    },
    attempt: 1,
    generation: 1,
    epoch: 1,
    name: `longshore-doctor-${crypto.randomUUID().slice(0, 8)}`,
    hashOfRun: "doctor",
    proof: "none",
    limits: DEFAULTS,
  });
}
